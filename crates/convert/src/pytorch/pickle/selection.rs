//! Where the state dict lies in what was saved.

use std::collections::HashSet;

use super::{CheckpointError, Class, Machine, Object, Value};
use crate::pytorch::tensor::TensorClaim;

/// The names under which training scripts and Lightning keep the weights, the likeliest first.
const ENTRIES: [&str; 3] = ["state_dict", "model_state_dict", "model"];

impl<'a> Machine<'a> {
    /// The names and descriptions of the tensors in `root`, or in the entry of it that holds the weights.
    pub(super) fn tensors_of(
        &self,
        root: Value<'a>,
    ) -> Result<Vec<(&'a str, TensorClaim<'a>)>, CheckpointError> {
        let pairs = match self.object(root) {
            Some(Object::Dict(pairs)) => pairs,
            Some(&Object::Inert(Some(class))) => return Err(whole_object(class)),
            Some(_) => return Err(not_a_state_dict("it holds no dictionary")),
            None => return Err(not_a_state_dict("it holds a single value")),
        };
        for entry in ENTRIES {
            // As in Python, the last of two values of a key counts.
            let value =
                pairs.iter().rev().find(|(key, _)| matches!(key, Value::Text(text) if *text == entry));
            match value.and_then(|&(_, value)| self.object(value)) {
                Some(Object::Dict(nested)) => {
                    if let Some(other) = self.other_weights(pairs, nested) {
                        return Err(not_a_state_dict(format!(
                            "it holds two sets of weights, `{entry}` and `{other}`, and nothing says which is wanted: \
                             save that one alone, as torch.save(checkpoint[\"{entry}\"], path)"
                        )));
                    }
                    return self.tensors_in(nested, &format!(" in `{entry}`"));
                }
                Some(&Object::Inert(Some(class))) => return Err(whole_object(class)),
                _ => {}
            }
        }
        let nowhere =
            format!(", and it has no dictionary {}", ENTRIES.map(|name| format!("`{name}`")).join(", "));
        self.tensors_in(pairs, &nowhere)
    }

    /// The key of another dictionary with tensors alone, some of the names of `chosen`: an average of the weights, for example.
    fn other_weights(
        &self,
        pairs: &[(Value<'a>, Value<'a>)],
        chosen: &[(Value<'a>, Value<'a>)],
    ) -> Option<&'a str> {
        let text = |value: Value<'a>| if let Value::Text(text) = value { Some(text) } else { None };
        let names: HashSet<&str> = chosen.iter().filter_map(|&(key, _)| text(key)).collect();
        pairs.iter().find_map(|&(key, value)| {
            let Some(Object::Dict(others)) = self.object(value) else { return None };
            let is_tensor =
                |&(_, value): &(_, Value<'a>)| matches!(self.object(value), Some(Object::Tensor(_)));
            let shares = others.iter().any(|&(key, _)| text(key).is_some_and(|key| names.contains(key)));
            let is_chosen = std::ptr::eq(others.as_slice(), chosen);
            (!is_chosen && shares && others.iter().all(is_tensor)).then(|| text(key)).flatten()
        })
    }

    /// The tensors of a dictionary that has nothing else; `place` ends the sentence about what it has.
    fn tensors_in(
        &self,
        pairs: &[(Value<'a>, Value<'a>)],
        place: &str,
    ) -> Result<Vec<(&'a str, TensorClaim<'a>)>, CheckpointError> {
        let tensors = pairs.iter().map(|&(key, value)| {
            let Value::Text(key) = key else {
                return Err(not_a_state_dict(format!("a key is not a text{place}")));
            };
            match self.object(value) {
                Some(Object::Tensor(claim)) => Ok((key, claim.clone())),
                _ => Err(not_a_state_dict(format!("its entry `{key}` is not a tensor of weights{place}"))),
            }
        });
        tensors.collect()
    }

    fn object(&self, value: Value<'a>) -> Option<&Object<'a>> {
        match value {
            Value::Object(index) => Some(&self.arena[index]),
            _ => None,
        }
    }
}

fn not_a_state_dict(reason: impl Into<String>) -> CheckpointError {
    CheckpointError::NotAStateDict(reason.into())
}

fn whole_object(class: Class<'_>) -> CheckpointError {
    CheckpointError::WholeObject { module: class.module.into(), name: class.name.into() }
}
