//! The `--device` option.

use std::fmt;
use std::str::FromStr;

use candle_core::utils::{cuda_is_available, metal_is_available};
use candle_core::{Device, DeviceLocation};

use crate::failure::Failure;

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceChoice {
    /// The first GPU that this binary was built for and that answers, else the CPU.
    Auto,
    Cpu,
    Cuda(usize),
    Metal,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "use auto, cpu, cuda, cuda:N (N = 0, 1, ...) or metal".to_string();
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => {
                let index = text.strip_prefix("cuda:").ok_or_else(wrong)?;
                index.parse().map(Self::Cuda).map_err(|_| wrong())
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl DeviceChoice {
    /// What names a device that is open.
    pub(crate) fn of(device: &Device) -> Self {
        match device.location() {
            DeviceLocation::Cpu => Self::Cpu,
            DeviceLocation::Cuda { gpu_id } => Self::Cuda(gpu_id),
            DeviceLocation::Metal { .. } => Self::Metal,
        }
    }

    /// The device.
    ///
    /// # Errors
    /// A kind of device that this binary was not built for is wrong usage; one that does not answer, a failed run.
    pub(crate) fn open(self) -> Result<Device, Failure> {
        let not_built = |feature: &str| {
            Failure::usage(format!(
                "--device {self}: this unet3p was built without {feature}; \
                 use --device cpu, or build it with --features {feature}"
            ))
        };
        let no_answer = |e| Failure::run(format!("--device {self}: the device cannot be opened: {e}"));
        match self {
            Self::Auto => Ok(auto()),
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(_) if !cuda_is_available() => Err(not_built("cuda")),
            Self::Cuda(index) => Device::new_cuda(index).map_err(no_answer),
            Self::Metal if !metal_is_available() => Err(not_built("metal")),
            Self::Metal => Device::new_metal(0).map_err(no_answer),
        }
    }
}

/// The best device at hand. A GPU that does not answer is no error here, yet worth a word.
fn auto() -> Device {
    let opened = if cuda_is_available() {
        Device::new_cuda(0)
    } else if metal_is_available() {
        Device::new_metal(0)
    } else {
        Ok(Device::Cpu)
    };
    opened.unwrap_or_else(|e| {
        log::warn!("the GPU cannot be opened, computing on the CPU: {e}");
        Device::Cpu
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for name in ["auto", "cpu", "cuda:0", "cuda:12", "metal"] {
            let choice: DeviceChoice = name.parse().unwrap();
            assert_eq!(choice.to_string(), name);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }
}
