#!/usr/bin/env bash
# Trains a tiny run in three sittings and reads its event files with TensorBoard itself. Needs Python and the network
# for pip; everything lies in target/tensorboard.
set -euo pipefail
cd "$(dirname "$0")/.."
work=target/tensorboard
mkdir -p "$work"
[ -d "$work/venv" ] || python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tensorboard==2.21.0
cargo build --quiet --locked -p unet3p-cli
"$work/venv/bin/python" scripts/check_tensorboard.py "${CARGO_TARGET_DIR:-target}/debug/unet3p" "$work"
