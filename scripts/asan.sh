#!/usr/bin/env bash
# The kernels' tests under AddressSanitizer: accesses outside of allocations, on every instruction set of this CPU, which
# valgrind does not have (scripts/memcheck.sh). The toolchain's own sanitizer is used: x86-64 and ARM Linux have it, and
# RUSTC_BOOTSTRAP lets a stable compiler take the flag. Arguments go to the test binaries, as the name of a test does.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(rustc -vV | sed -n 's/^host: //p')
runtime="$(rustc --print sysroot)/lib/rustlib/$target/lib"
if ! compgen -G "$runtime/*rt.asan.a" > /dev/null; then
  echo "asan: this toolchain has no AddressSanitizer for $target ($runtime)" >&2
  exit 1
fi
# a target that is named keeps the flag from build scripts and macros
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address ${RUSTFLAGS:-}"
cargo test -p unet3p-kernels --tests --locked --target "$target" --target-dir target/asan -- "$@"
