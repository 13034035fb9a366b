#!/usr/bin/env bash
# Do masks belong to the first weights? LeNet-300-100 in five rounds to 90 % zeros, seven times, each run but the first
# with one difference; `secateur masks` compares what they keep.
#
#   benches/accuracy/similarity.sh DIR mnist-train.toml mnist-test.toml
#
# Claim: with another order of the data, masks overlap (Jaccard) more than twice as much as by chance; with other first
# weights they overlap in the hidden layers as by chance, to 0.02.
set -euo pipefail
[ $# = 3 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }
secateur=${SECATEUR:-secateur}
dir=$1 train=$2 test=$3
recipe=$(dirname "$0")/iterative.toml
mkdir -p "$dir"

# NAME, then what is different: runs that are there are not made again.
run() {
  local name=$1
  shift
  if [ ! -e "$dir/$name/report.json" ]; then
    "$secateur" prune --recipe "$recipe" --train "$train" --data "$test" --run "$dir/$name" --quiet \
      --set seed=1 --set prune.sparsity=0.9 --set schedule.rounds=5 --set schedule.between=rewind \
      --set retrain.epochs=2 --set retrain.schedule=cosine "$@"
  fi
}

run first
run order --set seed=2 "$dir/first/initial.toml"
run other --set seed=3
run new-weights --set schedule.between=reinit
run kept-weights --set schedule.between=keep
run uniform --set prune.scope=uniform
run random --set prune.criterion=random

cd "$dir"
"$secateur" masks first order other new-weights kept-weights uniform random --svg similarity.svg --quiet | tee masks.txt
"$secateur" masks first order other --json --quiet >masks.json
python3 - <<'CHECK'
import json, sys
pairs = {pair["second"]: pair for pair in json.load(open("masks.json"))["pairs"] if pair["first"] == "first"}
for name, pair in pairs.items():
    for part in (*pair["layers"], pair["all"]):
        print(f"{name} {part['name']}: {part['jaccard']:.3f}, by chance {part['chance']:.3f}")
order, hidden = pairs["order"]["all"], pairs["other"]["layers"][:-1]
holds = order["jaccard"] > 2 * order["chance"] and all(abs(h["jaccard"] - h["chance"]) < 0.02 for h in hidden)
print("E4: holds" if holds else "E4: DOES NOT HOLD")
sys.exit(not holds)
CHECK
