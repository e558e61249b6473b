#!/usr/bin/env bash
# Exports networks of every variant and encoder, and holds ONNX Runtime and OpenVINO to them. Needs Python and the network
# for pip; everything lies in target/onnx.
set -euo pipefail
cd "$(dirname "$0")/.."
work=target/onnx
mkdir -p "$work"
[ -d "$work/venv" ] || python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 safetensors==0.8.0
cargo run --quiet --locked -p unet3p-convert --example onnx_cases -- "$work/cases"
"$work/venv/bin/python" scripts/check_onnx.py "$work/cases"
