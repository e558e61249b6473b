//! The Python objects that a pickle may name.

use candle_core::DType;

/// A module and a name in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Class<'a> {
    pub(super) module: &'a str,
    pub(super) name: &'a str,
}

/// Modules that act on the machine, and functions that run what they are given. No training run saves them.
const REFUSED_MODULES: [&str; 19] = [
    "os",
    "posix",
    "nt",
    "sys",
    "subprocess",
    "pty",
    "shutil",
    "socket",
    "ctypes",
    "importlib",
    "runpy",
    "code",
    "webbrowser",
    "pickle",
    "_pickle",
    "marshal",
    "multiprocessing",
    "commands",
    "pip",
];

/// What data may need of Python's built-in names. (Enumerations are pickled through `getattr`.)
const BUILTINS: [&str; 18] = [
    "bool",
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "getattr",
    "int",
    "list",
    "long",
    "object",
    "range",
    "set",
    "slice",
    "str",
    "tuple",
    "type",
];

impl Class<'_> {
    /// Whether the file is to be refused for naming it. A courtesy to whoever would load the file in Python next:
    /// nothing here depends on it, because nothing is ever called.
    pub(super) fn is_refused(self) -> bool {
        // From protocol 4 on a name may have several parts, as `hub.load` of `torch`: each may be a module.
        let (inner, name) = self.name.rsplit_once('.').unwrap_or(("", self.name));
        let in_hub = self.module.starts_with("torch.hub") || inner.split('.').next() == Some("hub");
        let refused = match self.module.split('.').next().unwrap_or_default() {
            "builtins" | "__builtin__" => !BUILTINS.contains(&self.name),
            "torch" => in_hub || name == "load",
            module => REFUSED_MODULES.contains(&module),
        };
        refused || inner.split('.').any(|part| REFUSED_MODULES.contains(&part))
    }
}

/// A global as this reader takes it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Global<'a> {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(DType),
    /// Outside the allow-list: it stands for itself and is never more than a name.
    Foreign(Class<'a>),
}

impl<'a> Global<'a> {
    pub(super) fn find(class: Class<'a>) -> Self {
        match (class.module, class.name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "FloatStorage") => Self::Storage(DType::F32),
            ("torch", "DoubleStorage") => Self::Storage(DType::F64),
            ("torch", "HalfStorage") => Self::Storage(DType::F16),
            ("torch", "BFloat16Storage") => Self::Storage(DType::BF16),
            ("torch", "LongStorage") => Self::Storage(DType::I64),
            _ => Self::Foreign(class),
        }
    }
}
