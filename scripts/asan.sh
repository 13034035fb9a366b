#!/usr/bin/env bash
# Runs tests of the runtime under AddressSanitizer: scripts/asan.sh [CARGO TEST ARGUMENTS…]
#
# All of them, except the one that counts allocations and the doc tests. Kernels read and write
# through pointers; the suites give them slices that end where their memory does.
#
# The sanitizer is unstable, so a stable compiler has to be told that it may: RUSTC_BOOTSTRAP.
# Its own standard library will do.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# = 0 ]; then
  set -- --lib
  for suite in runtime/tests/*.rs; do
    suite=$(basename "$suite" .rs)
    [ "$suite" = alloc ] || set -- "$@" --test "$suite"
  done
fi

# Only the first and the last byte of a vector are checked: no vector may reach across a redzone.
export ASAN_OPTIONS="redzone=256:${ASAN_OPTIONS:-}"
# With a target of its own, build scripts and macros are not instrumented.
target=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="${RUSTFLAGS:-} -Zsanitizer=address"
exec cargo test --target "$target" -p secateur-runtime --features parallel "$@"
