#!/usr/bin/env bash
# The kernels' tests under valgrind's memcheck: accesses outside of allocations, and decisions on values that nobody wrote.
#
# Valgrind knows no AVX-512 and says so through CPUID: the suites run the AVX2 and the portable code, and print that this
# CPU has no avx512. Arguments go to the test binaries, as the name of a test does.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v valgrind > /dev/null; then
  echo "memcheck: valgrind is not installed" >&2
  exit 1
fi
host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
export "CARGO_TARGET_${host}_RUNNER=valgrind --quiet --error-exitcode=1"
cargo test -p unet3p-kernels --tests --locked -- "$@"
