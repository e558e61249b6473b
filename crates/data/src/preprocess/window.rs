//! The values that become 0 and 1.

use serde::{Deserialize, Serialize};

/// The values that become 0 and 1, with everything outside clamped: `[low, high]` for all channels, or one such pair
/// for each.
///
/// ```
/// use unet3p_data::Window;
/// let ct_and_pet: Window = serde_json::from_str("[[-200, 250], [0, 10]]")?;
/// assert_eq!(ct_and_pet.of(1), [0.0, 10.0]);
/// assert_eq!(Window::from([0.0, 1.0]).of(1), [0.0, 1.0]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Window {
    /// One for all channels.
    Shared([f64; 2]),
    /// One for each channel.
    PerChannel(Vec<[f64; 2]>),
}

impl Window {
    /// The lower and the higher value of a channel; of one that has none, the last channel's.
    pub fn of(&self, channel: usize) -> [f64; 2] {
        match self {
            Self::Shared(window) => *window,
            Self::PerChannel(windows) => {
                windows.get(channel).or(windows.last()).copied().unwrap_or([0.0, 1.0])
            }
        }
    }

    /// Why it cannot be that of so many channels; nothing where it can.
    pub(crate) fn problem(&self, channels: usize) -> Option<String> {
        let windows = match self {
            Self::Shared(window) => std::slice::from_ref(window),
            Self::PerChannel(windows) => windows.as_slice(),
        };
        let ordered = |[low, high]: &[f64; 2]| low < high && low.is_finite() && high.is_finite();
        if !windows.iter().all(ordered) {
            return Some("a lower and a higher HU value are needed".into());
        }
        let fits = matches!(self, Self::Shared(_)) || windows.len() == channels;
        (!fits).then(|| format!("one pair [low, high], or one for each of {channels} channels, is needed"))
    }
}

impl From<[f64; 2]> for Window {
    fn from(window: [f64; 2]) -> Self {
        Self::Shared(window)
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shared([low, high]) => write!(f, "[{low}, {high}]"),
            Self::PerChannel(windows) => {
                let windows = windows.iter().map(|&window| Self::Shared(window).to_string());
                write!(f, "[{}]", windows.collect::<Vec<_>>().join(", "))
            }
        }
    }
}
