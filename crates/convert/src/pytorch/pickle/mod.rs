//! A pickle machine with the instructions of plain data, of the protocols 2 to 5, and the globals of a state dict.
//!
//! Every other global is an inert placeholder (see [`super`]); nothing is ever called.
//!
//! Objects live in one arena and values refer to them by index, so neither sharing nor deep nesting
//! leads to recursion, and memory grows with the bytes read.

mod globals;
mod objects;
mod selection;

use std::collections::HashMap;

use globals::{Class, Global};

use super::CheckpointError;
use super::tensor::{StorageClaim, TensorClaim};

/// Most instructions executed. A tensor takes about 30, so this is room for 30,000 tensors.
const MAX_OPS: usize = 1 << 20;

/// Most tuples and dictionaries open at once; a state dict has 3.
const MAX_DEPTH: usize = 32;

/// What lies on the stack. Text borrows from the pickle.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    None,
    Bool,
    Int(i64),
    /// A number that cannot be a size: a float, or an integer of more than eight bytes.
    Number,
    Text(&'a str),
    Global(Global<'a>),
    /// Index of an object in the arena.
    Object(usize),
}

#[derive(Debug)]
enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Storage(StorageClaim<'a>),
    Tensor(TensorClaim<'a>),
    /// What takes no part in a state dict: a list, or with its class a placeholder. It holds nothing.
    Inert(Option<Class<'a>>),
}

/// Reads the names and descriptions of the tensors out of `data.pkl`.
pub(super) fn state_dict<'a>(data: &'a [u8]) -> Result<Vec<(&'a str, TensorClaim<'a>)>, CheckpointError> {
    let mut machine = Machine {
        data,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        arena: Vec::new(),
    };
    let root = machine.run()?;
    machine.tensors_of(root)
}

struct Machine<'a> {
    data: &'a [u8],
    /// The next byte to read.
    at: usize,
    stack: Vec<Value<'a>>,
    /// Stack heights at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    arena: Vec<Object<'a>>,
}

impl<'a> Machine<'a> {
    /// Executes the pickle and returns what it leaves on the stack.
    fn run(&mut self) -> Result<Value<'a>, CheckpointError> {
        for _ in 0..MAX_OPS {
            let offset = self.at;
            let opcode = self.byte()?;
            match opcode {
                0x80 => {
                    let found = self.byte()?;
                    if !(2..=5).contains(&found) {
                        return Err(CheckpointError::Protocol { found });
                    }
                }
                0x95 => self.frame()?,
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.global(module, name)?;
                }
                0x93 => self.stack_global()?,
                b'(' => self.mark()?,
                b')' => self.push_object(Object::Tuple(Vec::new())),
                b'}' => self.push_object(Object::Dict(Vec::new())),
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push_object(Object::Tuple(items));
                }
                0x85..=0x87 => self.short_tuple(usize::from(opcode - 0x84))?,
                b']' | 0x8f => self.push_object(Object::Inert(None)),
                b'a' => {
                    self.pop()?;
                    self.extend_list()?;
                }
                b'e' | 0x90 => {
                    self.pop_to_mark()?;
                    self.extend_list()?;
                }
                0x91 => {
                    self.pop_to_mark()?;
                    self.push_object(Object::Inert(None));
                }
                b'N' => self.stack.push(Value::None),
                0x88 | 0x89 => self.stack.push(Value::Bool),
                b'K' => {
                    let value = self.byte()?;
                    self.stack.push(Value::Int(value.into()));
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(value.into()));
                }
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(value.into()));
                }
                0x8a => self.long()?,
                b'G' => {
                    self.bytes(8)?;
                    self.stack.push(Value::Number);
                }
                0x8c | b'X' | 0x8d => {
                    let length = self.length(opcode)?;
                    let text = self.text(length)?;
                    self.stack.push(Value::Text(text));
                }
                b'C' | b'B' | 0x8e | 0x96 => {
                    let length = self.length(opcode)?;
                    self.bytes(length)?;
                    self.push_object(Object::Inert(None));
                }
                0x94 => {
                    let slot = u32::try_from(self.memo.len()).map_err(|_| self.damaged("a full memo"))?;
                    self.memoise(slot)?;
                }
                b'q' => {
                    let slot = self.byte()?;
                    self.memoise(slot.into())?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.memoise(slot)?;
                }
                b'h' => {
                    let slot = self.byte()?;
                    self.recall(slot.into())?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.recall(slot)?;
                }
                b'Q' => self.persistent_id()?,
                b'R' => self.reduce()?,
                0x81 => self.new_object()?,
                0x92 => {
                    self.pop()?;
                    self.new_object()?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.extend_dict(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.extend_dict(&items)?;
                }
                b'b' => self.build()?,
                b'.' => return self.stop(),
                _ => return Err(CheckpointError::ForbiddenOpcode { opcode, offset }),
            }
        }
        Err(self.damaged(format!("more than {MAX_OPS} instructions")))
    }

    // Reading the pickle's bytes.

    fn damaged(&self, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::Pickle { offset: self.at, reason: reason.into() }
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], CheckpointError> {
        let rest = &self.data[self.at..];
        let Some(bytes) = rest.get(..count) else {
            return Err(self.damaged(format!("it ends {} bytes early", count - rest.len())));
        };
        self.at += count;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, CheckpointError> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CheckpointError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    /// The length before a text or bytes, of one, four or eight bytes.
    fn length(&mut self, opcode: u8) -> Result<usize, CheckpointError> {
        let length = match opcode {
            0x8c | b'C' => u64::from(self.byte()?),
            b'X' | b'B' => u64::from(u32::from_le_bytes(self.array()?)),
            _ => u64::from_le_bytes(self.array()?),
        };
        usize::try_from(length).map_err(|_| self.damaged(format!("a text of {length} bytes")))
    }

    /// A frame tells how many of the next bytes belong together, which nobody needs who has them all.
    fn frame(&mut self) -> Result<(), CheckpointError> {
        let length = u64::from_le_bytes(self.array()?);
        let rest = (self.data.len() - self.at) as u64;
        if length > rest {
            return Err(self.damaged(format!("it ends {} bytes early", length - rest)));
        }
        Ok(())
    }

    fn text(&mut self, length: usize) -> Result<&'a str, CheckpointError> {
        let bytes = self.bytes(length)?;
        std::str::from_utf8(bytes).map_err(|_| self.damaged("a text that is not UTF-8"))
    }

    fn line(&mut self) -> Result<&'a str, CheckpointError> {
        let length = self.data[self.at..].iter().position(|&byte| byte == b'\n');
        let length = length.ok_or_else(|| self.damaged("a line without an end"))?;
        let line = self.text(length)?;
        self.at += 1;
        Ok(line)
    }

    // The stack, the memo and the arena.

    /// Takes the top of the stack, never reaching below the innermost open mark.
    fn pop(&mut self) -> Result<Value<'a>, CheckpointError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.damaged("a value is missing on the stack"));
        }
        self.stack.pop().ok_or_else(|| self.damaged("an empty stack"))
    }

    fn peek(&self) -> Result<Value<'a>, CheckpointError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack[floor..].last().copied().ok_or_else(|| self.damaged("a value is missing on the stack"))
    }

    fn mark(&mut self) -> Result<(), CheckpointError> {
        if self.marks.len() == MAX_DEPTH {
            return Err(self.damaged(format!("nested more than {MAX_DEPTH} deep")));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, CheckpointError> {
        let mark = self.marks.pop();
        let mark = mark.ok_or_else(|| self.damaged("a mark is missing on the stack"))?;
        Ok(self.stack.drain(mark..).collect())
    }

    fn push_object(&mut self, object: Object<'a>) {
        self.stack.push(Value::Object(self.arena.len()));
        self.arena.push(object);
    }

    fn memoise(&mut self, slot: u32) -> Result<(), CheckpointError> {
        let value = self.peek()?;
        self.memo.insert(slot, value);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<(), CheckpointError> {
        let value = self.memo.get(&slot).copied();
        let value = value.ok_or_else(|| self.damaged(format!("nothing is stored as {slot}")))?;
        self.stack.push(value);
        Ok(())
    }

    fn tuple(&self, value: Value<'a>) -> Result<&[Value<'a>], CheckpointError> {
        match value {
            Value::Object(index) => match &self.arena[index] {
                Object::Tuple(items) => Ok(items),
                _ => Err(self.damaged("a tuple was expected")),
            },
            _ => Err(self.damaged("a tuple was expected")),
        }
    }
}
