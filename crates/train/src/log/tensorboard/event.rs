//! TensorBoard's events as protocol buffers: the few fields that a run needs.
//!
//! Numbers of fields are those of TensorBoard's `compat/proto/event.proto` and `summary.proto`.

/// The version of event files that TensorBoard expects in their first event.
const FILE_VERSION: &str = "brain.Event:2";
/// `SessionLog.SessionStatus.START`.
const START: u64 = 1;
/// `Summary.Image.colorspace` of RGB.
const RGB: u64 = 3;

/// A message under construction. Fields are added in the order of their numbers, as other writers do.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn key(&mut self, field: u64, wire_type: u64) {
        self.push_varint(field << 3 | wire_type);
    }

    fn push_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(mut self, field: u64, value: u64) -> Self {
        self.key(field, 0);
        self.push_varint(value);
        self
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        self.key(field, 2);
        self.push_varint(value.as_ref().len() as u64);
        self.0.extend(value.as_ref());
        self
    }

    fn message(self, field: u64, value: Self) -> Self {
        self.bytes(field, value.0)
    }
}

/// An event's head: seconds since 1970 and the step.
fn event(time: f64, step: usize) -> Message {
    Message::default().double(1, time).varint(2, step as u64)
}

/// The first event of a file.
pub(super) fn version(time: f64) -> Vec<u8> {
    Message::default().double(1, time).bytes(3, FILE_VERSION).0
}

/// A session begins with `step`: what TensorBoard has of this step and later ones, from files of earlier sessions, is
/// not valid any more.
pub(super) fn start(time: f64, step: usize) -> Vec<u8> {
    event(time, step).message(7, Message::default().varint(1, START)).0
}

/// Numbers by their tags.
pub(super) fn scalars(time: f64, step: usize, values: &[(&str, f64)]) -> Vec<u8> {
    let value = |&(tag, value): &(&str, f64)| Message::default().bytes(1, tag).float(2, value as f32);
    let summary = values.iter().map(value).fold(Message::default(), |all, value| all.message(1, value));
    event(time, step).message(5, summary).0
}

/// An RGB picture as PNG.
pub(super) fn image(time: f64, step: usize, tag: &str, [height, width]: [usize; 2], png: &[u8]) -> Vec<u8> {
    let image = Message::default().varint(1, height as u64).varint(2, width as u64);
    let image = image.varint(3, RGB).bytes(4, png);
    let value = Message::default().bytes(1, tag).message(4, image);
    event(time, step).message(5, Message::default().message(1, value)).0
}

#[cfg(test)]
mod tests {
    use super::super::record::write_record;
    use super::*;

    /// Written by TensorBoard's own writer: `tests/golden/generate.py`.
    const GOLDEN: &[u8] = include_bytes!("../../../tests/golden/events.tfevents");

    #[test]
    fn every_byte_is_as_tensorboard_writes_it() {
        let time = 1_700_000_000.25;
        let png: Vec<u8> = (0..300).map(|i| (i * 7 % 256) as u8).collect();
        let values = [("train/loss", 0.125), ("validation/dice_Leber-größe", 0.0), ("x", -1e-3)];
        let mut file = Vec::new();
        for data in [
            version(time),
            start(time, 1),
            scalars(time, 300, &values),
            image(time, 70_000, "validation/1_a", [40, 300], &png),
        ] {
            write_record(&mut file, &data).unwrap();
        }
        assert_eq!(file, GOLDEN);
    }
}
