//! The values of a mask's file, before they are class ids.

use std::collections::HashMap;
use std::path::Path;

use super::table::{MaskColors, hex};
use crate::decode::{self, Color, Samples, Stored, palette_color};
use crate::{Error, Result};

/// Values and colours that a message lists.
pub(super) const MOST_LISTED: usize = 8;
/// Gray values of a palette up to this one are class ids themselves: nobody can tell such grays apart.
const DARKEST: u8 = 32;

/// Values as a mask's file holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawMask {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) values: Vec<u16>,
    /// Whether the values are class ids already, by their colours.
    pub(super) are_ids: bool,
    /// What was dropped or turned.
    pub(super) warnings: Vec<String>,
}

impl RawMask {
    /// Reads the values of a mask. With `colors` they are the ids of its colours; `are_mapped` tells that there is a
    /// table for values.
    pub(super) fn read(path: &Path, colors: Option<&MaskColors>, are_mapped: bool) -> Result<Self> {
        let stored = decode::stored(path)?;
        let mut warnings: Vec<String> = stored.orientation.note().into_iter().collect();
        warnings.extend(check_alpha(path, &stored)?);
        warnings.extend(white_is_zero(&stored, colors.is_some()));
        let values = match colors {
            Some(colors) => ids(path, &stored, colors)?,
            None => values(path, &stored, are_mapped)?,
        };
        if stored.is_lossy {
            warnings.push("is a JPEG, whose compression changes values: masks are safe as PNG".into());
        }
        let (height, width) = (stored.height, stored.width);
        Ok(Self { height, width, values, are_ids: colors.is_some(), warnings })
    }
}

/// How a mask in which 0 is shown white is read.
fn white_is_zero(stored: &Stored, by_colors: bool) -> Option<String> {
    let how = if by_colors {
        "its colours are taken as viewers show them"
    } else {
        "its values are read as they are stored, so that 0, which viewers show white, is the background"
    };
    (stored.color == Color::WhiteIsZero).then(|| format!("is a TIFF in which 0 is white (MinIsWhite): {how}"))
}

/// The stored values, whatever they look like.
fn values(path: &Path, stored: &Stored, are_mapped: bool) -> Result<Vec<u16>> {
    let values: Option<Vec<u16>> = match &stored.color {
        Color::Rgb => match &stored.samples {
            Samples::Eight(samples) => samples.chunks_exact(3).map(equal).collect(),
            Samples::Sixteen(samples) => samples.chunks_exact(3).map(equal).collect(),
        },
        _ => Some(stored.samples.to_numbers()),
    };
    if stored.is_lossy && !are_mapped {
        let all = values.as_deref().unwrap_or(&[]);
        if values.is_none() || all.iter().any(|value| ![0, 255].contains(value)) {
            return Err(Error::file(
                path,
                "is a JPEG, whose compression has changed the values of the mask: save the mask anew as PNG, from a source without compression",
            ));
        }
    }
    if let (Color::Palette(palette), false) = (&stored.color, are_mapped) {
        check_palette(path, palette, &stored.samples)?;
    }
    values.ok_or_else(|| Error::file(path, colors_instead_of_ids(stored)))
}

/// The value of three equal samples.
fn equal<T: Copy + PartialEq + Into<u16>>(pixel: &[T]) -> Option<u16> {
    pixel.iter().all(|sample| *sample == pixel[0]).then(|| pixel[0].into())
}

/// The ids of the colours.
fn ids(path: &Path, stored: &Stored, colors: &MaskColors) -> Result<Vec<u16>> {
    let mut unknown: HashMap<[u8; 3], usize> = HashMap::new();
    let mut ids = Vec::with_capacity(stored.height * stored.width);
    // Neighbours mostly have one colour.
    let mut last = ([0; 3], colors.id([0; 3]));
    if let (Color::Rgb, Samples::Sixteen(samples)) = (&stored.color, &stored.samples)
        && let Some(value) = samples.iter().find(|&&value| value % 257 != 0)
    {
        let problem = format!(
            "has 16-bit colours ({value}) that data.mask_colors cannot name: save the mask with 8 bits"
        );
        return Err(Error::file(path, problem));
    }
    each_color(path, stored, |color| {
        if color != last.0 {
            last = (color, colors.id(color));
        }
        if last.1.is_none() {
            *unknown.entry(color).or_default() += 1;
        }
        ids.push(u16::from(last.1.unwrap_or(0)));
    })?;
    if unknown.is_empty() {
        return Ok(ids);
    }
    let hint = if stored.is_lossy {
        "it is a JPEG, whose compression changes colours: save the mask anew as PNG"
    } else {
        "map them as well, or save the mask without smoothed edges"
    };
    let more = if unknown.len() > 1 { "s" } else { "" };
    let listed = listed(unknown);
    Err(Error::file(
        path,
        format!("has the colour{more} {listed}, which data.mask_colors does not map; {hint}"),
    ))
}

/// Calls `take` with the colour of each pixel as viewers show it, in 8 bits a channel; a gray value fills them.
fn each_color(path: &Path, stored: &Stored, mut take: impl FnMut([u8; 3])) -> Result<()> {
    match (&stored.color, &stored.samples) {
        (Color::Palette(palette), samples) => {
            for number in samples.iter() {
                take(palette_color(path, palette, number)?);
            }
        }
        (Color::Rgb, Samples::Eight(samples)) => {
            samples.chunks_exact(3).for_each(|color| take([color[0], color[1], color[2]]));
        }
        (Color::Rgb, Samples::Sixteen(samples)) => {
            samples.chunks_exact(3).for_each(|color| take([0, 1, 2].map(|c| (color[c] >> 8) as u8)));
        }
        (_, samples) => {
            let highest = u32::from(stored.highest());
            let flip = if stored.color == Color::WhiteIsZero { 255 } else { 0 };
            samples.iter().for_each(|value| take([(u32::from(value) * 255 / highest) as u8 ^ flip; 3]));
        }
    }
    Ok(())
}

/// What to do with a mask of colours.
fn colors_instead_of_ids(stored: &Stored) -> String {
    let mut found: HashMap<[u8; 3], usize> = HashMap::new();
    // Only palettes can fail, and they are no such masks.
    let _ = each_color(Path::new(""), stored, |color| *found.entry(color).or_default() += 1);
    let mut foreground: Vec<[u8; 3]> = found.keys().copied().filter(|color| *color != [0; 3]).collect();
    // In one order for all masks of a dataset, whichever colour is the larger.
    foreground.sort_unstable();
    let pairs = foreground.iter().take(3).zip(1..).map(|(color, id)| format!("\"{}\" = {id}", hex(*color)));
    let example = pairs.collect::<Vec<_>>().join(", ");
    let edges = if found.len() > MOST_LISTED {
        "; so many colours come from smoothed edges or a JPEG, or it is no mask"
    } else {
        ""
    };
    let listed = listed(found);
    format!(
        "holds colours instead of class ids: {listed}; map them to ids of your choice, as data.mask_colors = {{ {example} }}{edges}"
    )
}

/// Colours with their numbers of pixels, the most frequent first.
fn listed(colors: HashMap<[u8; 3], usize>) -> String {
    let mut colors: Vec<([u8; 3], usize)> = colors.into_iter().collect();
    colors.sort_by_key(|&(color, count)| (std::cmp::Reverse(count), color));
    let named = colors.iter().take(MOST_LISTED).map(|&(color, count)| match count {
        1 => format!("{} (1 pixel)", hex(color)),
        count => format!("{} ({count} pixels)", hex(color)),
    });
    let named = named.collect::<Vec<_>>().join(", ");
    match colors.len().saturating_sub(MOST_LISTED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Refuses a palette whose numbers are no class ids as far as can be told.
fn check_palette(path: &Path, palette: &[[u8; 3]], samples: &Samples) -> Result<()> {
    let is_gray = |color: &[u8; 3]| color[0] == color[1] && color[1] == color[2];
    let mut used = [false; 256];
    samples.iter().for_each(|number| used[usize::from(number.min(255))] = true);
    let entries: Vec<(usize, [u8; 3])> =
        palette.iter().copied().enumerate().filter(|&(i, _)| used[i]).collect();
    let same = palette.iter().enumerate().all(|(i, color)| is_gray(color) && usize::from(color[0]) == i);
    let first = palette.first().copied().unwrap_or([0; 3]);
    let remedy = "map the numbers by data.mask_values, or the colours by data.mask_colors";
    if first != [0; 3] && !same {
        let first = if first == [255; 3] { "white".into() } else { hex(first) };
        return Err(Error::file(
            path,
            format!(
                "has a palette that begins with {first} instead of black, so that its numbers may be no class ids: {remedy}"
            ),
        ));
    }
    let are_ids = entries.iter().all(|(_, color)| is_gray(color) && color[0] <= DARKEST);
    let other = entries.iter().find(|(i, color)| usize::from(color[0]) != *i && color[0] > 0);
    match other {
        Some((i, color)) if are_ids => Err(Error::file(
            path,
            format!(
                "has a palette of grays in which number {i} is gray {}, so that either may be the class id: {remedy}",
                color[0]
            ),
        )),
        _ => Ok(()),
    }
}

/// What is to be said of the transparency, which is dropped. A mask that lies in it is refused.
fn check_alpha(path: &Path, stored: &Stored) -> Result<Option<String>> {
    let Some(alpha) = &stored.alpha else { return Ok(None) };
    let alpha = alpha.to_numbers();
    let (Some(&first), Some(&least)) = (alpha.first(), alpha.iter().min()) else { return Ok(None) };
    if alpha.iter().all(|value| *value == first) {
        let hidden = "is transparent everywhere: its colours are read all the same";
        return Ok((first == 0).then(|| hidden.to_owned()));
    }
    let channels = stored.channels();
    let samples = stored.samples.to_numbers();
    let pixels = || samples.chunks_exact(channels);
    let why = if pixels().all(|pixel| pixel == &samples[..channels]) {
        "its colour is the same everywhere and its transparency is not".to_owned()
    } else if let Some((pixel, _)) =
        pixels().zip(&alpha).find(|(pixel, alpha)| **alpha == least && pixel.iter().any(|value| *value > 0))
    {
        let value = pixel.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        format!("transparent pixels have the value {value}, which would count as a class")
    } else {
        return Ok(Some("has a transparency, which is dropped".into()));
    };
    Err(Error::file(
        path,
        format!(
            "seems to hold its mask in the transparency (alpha), which is not read: {why}; save it without transparency, flattened onto black"
        ),
    ))
}
