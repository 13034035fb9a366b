#!/usr/bin/env bash
# Makes the example firmware's model: scripts/firmware_model.sh OUT.sct
set -euo pipefail

cd "$(dirname "$0")/.."
cargo run --quiet --release -p secateur -- --quiet prune pruner/assets/digits/tiny.toml -o "$1" \
  --sparsity 0.5 --scratch none --align 4 --strip
