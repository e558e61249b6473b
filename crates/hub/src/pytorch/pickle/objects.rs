//! The instructions that build objects, each with the checks of its arguments.

use super::{CheckpointError, Global, Machine, Object, Value};
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

    /// A number in two's complement of any length; eight bytes are all a size can need.
    pub(super) fn long(&mut self) -> Result<(), CheckpointError> {
        let length = usize::from(self.byte()?);
        let bytes = self.bytes(length)?;
        if length > 8 {
            return Err(self.damaged(format!("a number of {length} bytes")));
        }
        let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut extended = [if negative { 0xff } else { 0 }; 8];
        extended[..length].copy_from_slice(bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(extended)));
        Ok(())
    }

    pub(super) fn global(&mut self) -> Result<(), CheckpointError> {
        let module = self.line()?;
        let name = self.line()?;
        let Some(global) = Global::find(module, name) else {
            return Err(CheckpointError::ForbiddenGlobal {
                module: module.to_owned(),
                name: name.to_owned(),
            });
        };
        self.stack.push(Value::Global(global));
        Ok(())
    }

    /// A storage: the tuple ("storage", type, key, device, number of elements).
    pub(super) fn persistent_id(&mut self) -> Result<(), CheckpointError> {
        let id = self.pop()?;
        let &[
            Value::Text("storage"),
            Value::Global(Global::Storage(dtype)),
            Value::Text(key),
            Value::Text(_),
            Value::Int(elements),
        ] = self.tuple(id)?
        else {
            return Err(self.damaged("a persistent id that is not a storage"));
        };
        let elements = self.size(elements)?;
        self.push_object(Object::Storage(StorageClaim { dtype, key, elements }));
        Ok(())
    }

    /// A call: of the ordered dictionary without arguments, or of a tensor's constructor.
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
                self.push_object(Object::Tensor(tensor));
            }
            Value::Global(Global::RebuildParameter) => match arguments.first() {
                Some(&Value::Object(index)) if matches!(self.arena[index], Object::Tensor(_)) => {
                    self.stack.push(Value::Object(index));
                }
                _ => return Err(self.damaged("a parameter without a tensor")),
            },
            _ => return Err(self.damaged("a call that a state dict does not need")),
        }
        Ok(())
    }

    /// (storage, offset, shape, strides, requires_grad, hooks, optional metadata)
    fn rebuild_tensor(&self, arguments: &[Value<'a>]) -> Result<TensorClaim<'a>, CheckpointError> {
        let &[Value::Object(storage), Value::Int(offset), shape, strides, Value::Bool, _, ..] = arguments
        else {
            return Err(self.damaged("a tensor with arguments of other types or number"));
        };
        let Object::Storage(storage) = &self.arena[storage] else {
            return Err(self.damaged("a tensor without a storage"));
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
        Ok(claim)
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

    /// Adds keys and values, in turn, to the dictionary on top of the stack.
    pub(super) fn extend_dict(&mut self, items: &[Value<'a>]) -> Result<(), CheckpointError> {
        if !items.len().is_multiple_of(2) {
            return Err(self.damaged("a dictionary's key without its value"));
        }
        let Value::Object(index) = self.peek()? else {
            return Err(self.damaged("a dictionary was expected"));
        };
        let Object::Dict(pairs) = &mut self.arena[index] else {
            return Err(self.damaged("a dictionary was expected"));
        };
        pairs.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        Ok(())
    }

    /// Sets attributes of an object. The only ones in a state dict are `_metadata`, the module
    /// versions on the dictionary itself, which describe no tensor.
    pub(super) fn build(&mut self) -> Result<(), CheckpointError> {
        let state = self.pop()?;
        let target = self.peek()?;
        for value in [state, target] {
            let Value::Object(index) = value else {
                return Err(self.damaged("attributes of an object that is not a dictionary"));
            };
            if !matches!(self.arena[index], Object::Dict(_)) {
                return Err(self.damaged("attributes of an object that is not a dictionary"));
            }
        }
        Ok(())
    }

    pub(super) fn stop(&mut self) -> Result<Value<'a>, CheckpointError> {
        let root = self.pop()?;
        if !self.stack.is_empty() || !self.marks.is_empty() || self.at != self.data.len() {
            return Err(self.damaged("it stops before its end"));
        }
        Ok(root)
    }

    pub(super) fn tensors_of(
        mut self,
        root: Value<'a>,
    ) -> Result<Vec<(&'a str, TensorClaim<'a>)>, CheckpointError> {
        let Value::Object(root) = root else {
            return Err(CheckpointError::NotAStateDict("it holds a single value".into()));
        };
        let Object::Dict(pairs) = std::mem::replace(&mut self.arena[root], Object::Tuple(vec![])) else {
            return Err(CheckpointError::NotAStateDict("it holds no dictionary".into()));
        };
        let tensors = pairs.into_iter().map(|(key, value)| {
            let Value::Text(key) = key else {
                return Err(CheckpointError::NotAStateDict("a key is not a text".into()));
            };
            match value {
                Value::Object(index) => match &self.arena[index] {
                    Object::Tensor(claim) => Ok((key, claim.clone())),
                    _ => Err(not_a_tensor(key)),
                },
                _ => Err(not_a_tensor(key)),
            }
        });
        tensors.collect()
    }
}

fn not_a_tensor(key: &str) -> CheckpointError {
    CheckpointError::NotAStateDict(format!("its entry `{key}` is not a tensor"))
}
