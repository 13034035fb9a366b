#!/usr/bin/env bash
# Builds the example firmware and runs it under QEMU: scripts/firmware.sh [BOARD…]
#
# Boards: microbit (Cortex-M0) and an386 (Cortex-M4F); both without arguments. MODEL=FILE chooses
# the model file. Prints what the board prints, then the flash and RAM that its program takes.
set -euo pipefail

root=$(realpath "$(dirname "$0")/..")
package=$root/examples/firmware
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-$package/target}")
MODEL=$(realpath -e "${MODEL:-$package/model.sct}")
export CARGO_TARGET_DIR MODEL

run_board() {
  local board=$1 target machine elf symbols text data bss
  case $board in
    microbit) target=thumbv6m-none-eabi machine=microbit ;;
    an386) target=thumbv7em-none-eabihf machine=mps2-an386 ;;
    *)
      echo "$0: unknown board $board (microbit, an386)" >&2
      return 2
      ;;
  esac
  echo "board $board"
  BOARD=$board "$root/scripts/cross.sh" "$target" build --release --locked \
    --manifest-path "$package/Cargo.toml"
  elf=$CARGO_TARGET_DIR/$target/release/secateur-firmware

  # The link has already failed if a panic is left; this looks from the outside.
  symbols=$(nm --demangle "$elf")
  if grep -i panic <<<"$symbols"; then
    echo "$0: panic code is left in $elf" >&2
    return 1
  fi

  timeout 120 qemu-system-arm -machine "$machine" -nographic -monitor none -serial null \
    -semihosting-config enable=on,target=native -kernel "$elf"

  # GNU nm and size read Arm files whatever machine they were built for.
  read -r text data bss _ < <(size "$elf" | tail -n 1)
  echo "flash $((text + data)), of which model $(stat -c %s "$MODEL")"
  echo "ram $((data + bss)) without stack"
}

if [ $# -eq 0 ]; then
  set -- microbit an386
fi
for board in "$@"; do
  run_board "$board"
done
