#!/usr/bin/env bash
# Runs cargo for another target: scripts/cross.sh TARGET COMMAND [ARGS…]
#
#   scripts/cross.sh thumbv6m-none-eabi build -p secateur-runtime --no-default-features
#
# Uses the toolchain's own standard library for TARGET, which rustup adds where it can. Without
# one, the first rustc in PATH that has the standard library's sources (Debian: rustc-web,
# cargo-web and rust-web-src) compiles it. CROSS_BUILD_STD=1 asks for that at once.
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: $0 TARGET COMMAND [ARGS…]" >&2
  exit 2
fi
target=$1 command=$2
shift 2

# Prints the first file or folder SYSROOT/lib/rustlib/$1 that a rustc in PATH has.
in_sysroots() {
  local rustc path
  for rustc in $(type -ap rustc); do
    for path in "$("$rustc" --print sysroot)"/lib/rustlib/$1; do
      if [ -e "$path" ]; then
        echo "$path"
        return
      fi
    done
  done
  return 1
}

has_std() {
  [ -e "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]
}

add_std() {
  [ -n "$(type -p rustup)" ] && timeout 300 rustup target add "$target" >&2 && has_std
}

# The first rustc in PATH that has the standard library's sources.
rustc_with_sources() {
  local rustc
  for rustc in $(type -ap rustc); do
    if [ -e "$("$rustc" --print sysroot)/lib/rustlib/src/rust/library/core" ]; then
      echo "$rustc"
      return
    fi
  done
  echo "$0: no standard library for $target, and no rustc in PATH has its sources" >&2
  return 1
}

variable=CARGO_TARGET_$(tr a-z.- A-Z__ <<<"$target")
case $target in
  aarch64-unknown-linux-gnu)
    export "${variable}_LINKER=aarch64-linux-gnu-gcc"
    export "${variable}_RUNNER=${CROSS_RUNNER:-qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu}"
    parts=std,panic_abort,test features=
    ;;
  *)
    # Distributions leave rust-lld out of their rustc.
    linker=$(in_sysroots '*/bin/rust-lld' || type -p ld.lld) || {
      echo "$0: neither rust-lld nor ld.lld is installed" >&2
      exit 1
    }
    export "${variable}_LINKER=$linker"
    parts=core,alloc,compiler_builtins features=compiler-builtins-mem
    ;;
esac

if [ -z "${CROSS_BUILD_STD:-}" ] && { has_std || add_std; }; then
  exec cargo "$command" --target "$target" "$@"
fi

rustc=$(rustc_with_sources)
tools=$(dirname "$rustc")
export RUSTC=$rustc RUSTDOC=$tools/rustdoc RUSTC_BOOTSTRAP=1
exec "$tools/cargo" "$command" --target "$target" \
  -Zbuild-std="$parts" ${features:+-Zbuild-std-features="$features"} "$@"
