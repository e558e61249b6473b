//! The instructions that build objects, each with the checks of its arguments.

use super::{CheckpointError, Class, Global, Machine, Object, Value};
use crate::pytorch::tensor::{MAX_RANK, StorageClaim, TensorClaim};

impl<'a> Machine<'a> {
    pub(super) fn short_tuple(&mut self, count: usize) -> Result<(), CheckpointError> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push_object(Object::Tuple(items));
        Ok(())
    }

    /// An integer in two's complement of any length; eight bytes are all a size can need.
    pub(super) fn long(&mut self) -> Result<(), CheckpointError> {
        let length = usize::from(self.byte()?);
        let bytes = self.bytes(length)?;
        if length > 8 {
            self.stack.push(Value::Number);
            return Ok(());
        }
        let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut extended = [if negative { 0xff } else { 0 }; 8];
        extended[..length].copy_from_slice(bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(extended)));
        Ok(())
    }

    /// A global whose names lie on the stack.
    pub(super) fn stack_global(&mut self) -> Result<(), CheckpointError> {
        let (name, module) = (self.pop()?, self.pop()?);
        let (Value::Text(module), Value::Text(name)) = (module, name) else {
            return Err(self.damaged("a global whose name is not a text"));
        };
        self.global(module, name)
    }

    pub(super) fn global(&mut self, module: &'a str, name: &'a str) -> Result<(), CheckpointError> {
        let class = Class { module, name };
        if class.is_refused() {
            return Err(CheckpointError::ForbiddenGlobal { module: module.into(), name: name.into() });
        }
        self.stack.push(Value::Global(Global::find(class)));
        Ok(())
    }

    /// A storage: the tuple ("storage", type, key, device, number of elements). One of a type that weights never
    /// have is inert, as the state of a random number generator.
    pub(super) fn persistent_id(&mut self) -> Result<(), CheckpointError> {
        let id = self.pop()?;
        let &[
            Value::Text("storage"),
            Value::Global(kind),
            Value::Text(key),
            Value::Text(_),
            Value::Int(elements),
        ] = self.tuple(id)?
        else {
            return Err(self.damaged("a persistent id that is not a storage"));
        };
        let elements = self.size(elements)?;
        let storage = match kind {
            Global::Storage(dtype) => Object::Storage(StorageClaim { dtype, key, elements }),
            Global::Foreign(class) => Object::Inert(Some(class)),
            _ => return Err(self.damaged("a storage without a type")),
        };
        self.push_object(storage);
        Ok(())
    }

    /// A call: of the ordered dictionary without arguments, of a tensor's constructor, or of a placeholder, which
    /// gives a placeholder.
    pub(super) fn reduce(&mut self) -> Result<(), CheckpointError> {
        let arguments = self.pop()?;
        let callable = self.pop()?;
        let arguments = self.tuple(arguments)?;
        match callable {
            Value::Global(Global::OrderedDict) if arguments.is_empty() => {
                self.push_object(Object::Dict(Vec::new()));
            }
            Value::Global(Global::RebuildTensor) => {
                let tensor = self.rebuild_tensor(arguments)?;
                self.push_object(tensor);
            }
            Value::Global(Global::RebuildParameter) => match arguments.first() {
                Some(&Value::Object(index))
                    if matches!(self.arena[index], Object::Tensor(_) | Object::Inert(Some(_))) =>
                {
                    self.stack.push(Value::Object(index));
                }
                _ => return Err(self.damaged("a parameter without a tensor")),
            },
            Value::Global(Global::Foreign(class)) => self.push_object(Object::Inert(Some(class))),
            Value::Object(index) if matches!(self.arena[index], Object::Inert(Some(_))) => {
                self.stack.push(callable);
            }
            _ => return Err(self.damaged("a call that a state dict does not need")),
        }
        Ok(())
    }

    /// An object of a class, with the arguments of its `__new__`.
    pub(super) fn new_object(&mut self) -> Result<(), CheckpointError> {
        let arguments = self.pop()?;
        self.tuple(arguments)?;
        let Value::Global(Global::Foreign(class)) = self.pop()? else {
            return Err(self.damaged("an object that a state dict does not need"));
        };
        self.push_object(Object::Inert(Some(class)));
        Ok(())
    }

    /// (storage, offset, shape, strides, requires_grad, hooks, optional metadata)
    fn rebuild_tensor(&self, arguments: &[Value<'a>]) -> Result<Object<'a>, CheckpointError> {
        let &[Value::Object(storage), Value::Int(offset), shape, strides, Value::Bool, _, ..] = arguments
        else {
            return Err(self.damaged("a tensor with arguments of other types or number"));
        };
        let storage = match &self.arena[storage] {
            Object::Storage(storage) => storage,
            Object::Inert(Some(class)) => return Ok(Object::Inert(Some(*class))),
            _ => return Err(self.damaged("a tensor without a storage")),
        };
        let claim = TensorClaim {
            storage: *storage,
            offset: self.size(offset)?,
            shape: self.sizes(shape)?,
            strides: self.sizes(strides)?,
        };
        if claim.shape.len() != claim.strides.len() {
            return Err(self.damaged("a tensor whose shape and strides differ in length"));
        }
        Ok(Object::Tensor(claim))
    }

    fn sizes(&self, value: Value<'a>) -> Result<Vec<usize>, CheckpointError> {
        let items = self.tuple(value)?;
        if items.len() > MAX_RANK {
            return Err(self.damaged(format!("a tensor of {} dimensions", items.len())));
        }
        let sizes = items.iter().map(|item| match *item {
            Value::Int(size) => self.size(size),
            _ => Err(self.damaged("a size that is not a number")),
        });
        sizes.collect()
    }

    fn size(&self, value: i64) -> Result<usize, CheckpointError> {
        usize::try_from(value).map_err(|_| self.damaged(format!("the size {value}")))
    }

    /// What is added to a list is dropped: no list takes part in a state dict.
    pub(super) fn extend_list(&self) -> Result<(), CheckpointError> {
        match self.peek()? {
            Value::Object(index) if matches!(self.arena[index], Object::Inert(_)) => Ok(()),
            _ => Err(self.damaged("a list was expected")),
        }
    }

    /// Adds keys and values, in turn, to the dictionary on top of the stack; a placeholder drops them.
    pub(super) fn extend_dict(&mut self, items: &[Value<'a>]) -> Result<(), CheckpointError> {
        if !items.len().is_multiple_of(2) {
            return Err(self.damaged("a dictionary's key without its value"));
        }
        let Value::Object(index) = self.peek()? else {
            return Err(self.damaged("a dictionary was expected"));
        };
        match &mut self.arena[index] {
            Object::Dict(pairs) => pairs.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            Object::Inert(Some(_)) => {}
            _ => return Err(self.damaged("a dictionary was expected")),
        }
        Ok(())
    }

    /// Sets attributes of an object. The only ones in a state dict are `_metadata`, the module
    /// versions on the dictionary itself, which describe no tensor. A placeholder drops them.
    pub(super) fn build(&mut self) -> Result<(), CheckpointError> {
        let state = self.pop()?;
        let is_dict =
            |value| matches!(value, Value::Object(index) if matches!(self.arena[index], Object::Dict(_)));
        let target = self.peek()?;
        match target {
            Value::Object(index) if matches!(self.arena[index], Object::Inert(Some(_))) => Ok(()),
            _ if is_dict(state) && is_dict(target) => Ok(()),
            _ => Err(self.damaged("attributes of an object that is not a dictionary")),
        }
    }

    pub(super) fn stop(&mut self) -> Result<Value<'a>, CheckpointError> {
        let root = self.pop()?;
        if !self.stack.is_empty() || !self.marks.is_empty() || self.at != self.data.len() {
            return Err(self.damaged("it stops before its end"));
        }
        Ok(root)
    }
}
