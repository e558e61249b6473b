# Lists the recipes.
default:
    @just --list

# Everything that a change must pass
ci:
    .ci/run

# All tests
test *ARGS:
    cargo test --workspace --locked {{ARGS}}

# Formats the code
fmt:
    cargo fmt --all

# Lints; warnings are errors
clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The kernels' tests under valgrind, on the instruction sets that it knows: portable and AVX2 (a few minutes)
memcheck *ARGS:
    scripts/memcheck.sh {{ARGS}}

# Kills commands at N random moments each, fills the disk, cuts inputs; then what exists is whole and the rerun ends with the
# same bits (N = 10: two minutes; the binary is UNET3P or target/release/unet3p)
crash N *ARGS:
    scripts/crash.py {{N}} {{ARGS}}

# Damaged files for every reader, for so many minutes
fuzz MINUTES *READERS:
    cargo run --profile fuzz --locked -p unet3p-fuzz -- --seconds "$(( {{MINUTES}} * 60 ))" --seed "$(date +%s)" {{READERS}}

# Checks that need the software that others use: TensorBoard reads what a run writes, ONNX Runtime and OpenVINO run what is
# exported
peers:
    scripts/check_tensorboard.sh
    scripts/check_onnx.sh

# Builds the documentation; warnings are errors
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Segments the README's sample slice into out/
sample:
    cargo run --release --locked -p unet3p-cli -- predict -i docs/images/ct_slice.png -o out --overlay --overwrite

# Trains the bundled liver model from nothing, in the folder WORK (about forty minutes on 2 cores)
liver-model WORK:
    scripts/liver_ct.sh {{WORK}}

# The paper's ablation on the bundled model's scans, in the folder WORK (about forty minutes on 2 cores)
ablation WORK:
    scripts/ablation.py {{WORK}}
