"""Writes events.tfevents with TensorBoard's own protocol buffers and record writer (pip install tensorboard)."""

import pathlib

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

TIME = 1_700_000_000.25
png = bytes(i * 7 % 256 for i in range(300))
scalars = [("train/loss", 0.125), ("validation/dice_Leber-größe", 0.0), ("x", -1e-3)]
image = Summary.Image(height=40, width=300, colorspace=3, encoded_image_string=png)

with open(pathlib.Path(__file__).with_name("events.tfevents"), "wb") as file:
    writer = RecordWriter(file)
    for event in [
        Event(wall_time=TIME, file_version="brain.Event:2"),
        Event(wall_time=TIME, step=1, session_log=SessionLog(status=SessionLog.START)),
        Event(
            wall_time=TIME,
            step=300,
            summary=Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in scalars]),
        ),
        Event(
            wall_time=TIME,
            step=70_000,
            summary=Summary(value=[Summary.Value(tag="validation/1_a", image=image)]),
        ),
    ]:
        writer.write(event.SerializeToString())
