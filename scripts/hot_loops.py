#!/usr/bin/env python3
"""Checks the inner loops of six AVX-512 panel kernels: scripts/hot_loops.py [--bless] [--exact] [BINARY]

A spilled sum or a bounds check in one of them passes every test and costs much of the speed; it
shows only in the machine code. Properties that hold for any good compilation must hold; a listing
in runtime/listings that merely differs (another compiler) is shown, and fails only with --exact.
"""
import argparse, difflib, os, pathlib, re, subprocess, sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# In mangled names, old and new, and in demangled ones.
FUNCTIONS = re.compile(r"panel7kernels6avx512|panel::kernels::avx512")
# What an iteration is made of; of what is not named here, it has none (a store is a spilled sum).
KERNELS = {
    "dense_8x48": {"FMAs": 24, "vector loads": 3, "broadcasts from memory": 8},
    "pair_2x128": {"FMAs": 32, "FMAs from memory": 32, "broadcasts from memory": 1, "other loads": 1},
    # A column that both rows have, and one of each.
    "pair_mixed_2x128": {"FMAs": 32, "FMAs from memory": 16, "vector loads": 8, "broadcasts from memory": 1, "other loads": 1},
    "direct2_2x192": {"FMAs": 24, "vector loads": 12, "broadcasts from memory": 2, "other loads": 1},
    # Two stacked entries, and two others; lines of two vectors.
    "direct_mixed_1x224": {"FMAs": 56, "FMAs from memory": 32, "vector loads": 12, "broadcasts from memory": 1, "other loads": 1},
    "direct_1x224": {"FMAs": 56, "FMAs from memory": 56, "broadcasts from memory": 1, "other loads": 1},
}
LOADS = ("FMAs from memory", "vector loads", "broadcasts from memory", "other loads")
COUNTED = ("FMAs", "broadcasts from registers", "stores") + LOADS
# Not counted with the rest: a loop has to be recognised in spite of them.
FORBIDDEN = {"stack references": r".*%[re]sp|push|pop", "calls": "call", "other jumps": "j"}


def functions(lines):
    """The kernels' functions, lists of (address, instruction), from lines as objdump writes them."""
    body = None
    for line in lines:
        if head := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            if body:
                yield body
            body = [] if FUNCTIONS.search(head[1]) else None
        elif body is not None and (found := re.match(r"\s*([0-9a-f]+):\t(.*)", line)):
            body.append((int(found[1], 16), " ".join(re.sub("[#<].*", "", found[2]).split())))
    yield body or []


def innermost_loops(body):
    """Loops without a loop inside. (Other jumps and calls are to be reported, not overlooked.)"""
    index = {address: i for i, (address, _) in enumerate(body)}
    back = []
    for end, (_, text) in enumerate(body):
        target = re.match(r"j\w+ ([0-9a-f]+)$", text)
        start = index.get(int(target[1], 16)) if target else None
        if start is not None and start <= end:
            back.append((start, end))
    for start, end in back:
        if not any(start <= s and e < end for s, e in back):
            # Padding is not work.
            yield [text for _, text in body[start:end + 1] if "nop" not in text]


def count(loop):
    counts = dict.fromkeys(COUNTED, 0)
    for text in loop:
        name, _, operands = text.partition(" ")
        memory = "(" in operands and not name.startswith(("lea", "prefetch"))
        wide = "%zmm" in operands
        if wide and re.match(r"vfmadd\d+ps$", name):
            counts["FMAs"] += 1
            counts["FMAs from memory"] += memory
        elif wide and re.match(r"vp?broadcast", name):
            counts["broadcasts from memory" if memory else "broadcasts from registers"] += 1
        elif memory and "sp" not in operands:
            store = operands.endswith((")", "}")) and not name.startswith(("cmp", "test"))
            counts["stores" if store else "vector loads" if wide else "other loads"] += 1
    return counts


def faults(loop, expected):
    for what, pattern in FORBIDDEN.items():
        bad = [text for text in loop[:-1] if re.match(pattern, text)]
        if len(bad) > expected.get(what, 0):
            yield f"{len(bad)} {what}: {'; '.join(bad[:3])}"
    for what, number in count(loop).items():
        if number != expected.get(what, 0):
            yield f"{number} {what} instead of {expected.get(what, 0)}"


def listing(name, loop):
    """The loop without addresses, registers numbered as they appear (r0d is the low half of r0, r0w of that)."""
    numbers = {"v": {}, "r": {}}

    def rename(found):
        vector, number, before, old, new, after = found.groups()
        numbered = numbers["v" if vector else "r"]
        shown = numbered.setdefault(number or old or new, len(numbered))
        half = {"e": "d", "": "w"}.get(before, after or "")
        return f"{vector or 'r'}{shown}{half}"

    registers = r"%(?:([xyz])mm(\d+)|([re]?)([a-d]x|[sd]i|[sb]p)|r(\d+)([dwb]?))\b"
    # A base of %r13 or %rbp needs a displacement, even if it is zero.
    lines = [re.sub(r"^(j\w+) [0-9a-f]+$", r"\1 end", text).replace(" 0x0(", " (") for text in loop[:-1]] + [f"{loop[-1].split()[0]} loop"]
    n, code = count(loop), "".join(f"    {re.sub(registers, rename, text)}\n" for text in lines)
    # A broadcast from a general register takes a port that a multiply-add could have had.
    loads, work = sum(n[what] for what in LOADS), n["FMAs"] + n["broadcasts from registers"]
    return (f"# f32_panel_{name}__avx512, per iteration: {n['FMAs']} FMAs + {work - n['FMAs']} vpbroadcastd: "
            f"{work / 2:g} cycles at 2 per cycle; {loads} loads: {loads / 2:g} cycles at 2 per cycle. "
            f"Bound: {max(work, loads) / 2:g} cycles.\nloop:\n{code}")


parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
parser.add_argument("binary", nargs="?", help="a release binary with the kernels (default: the example spmm)")
parser.add_argument("--bless", action="store_true", help="rewrite the listings")
parser.add_argument("--exact", action="store_true", help="fail if a listing differs")
options = parser.parse_args()
binary = options.binary or ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release/examples/spmm"
if not options.binary and not binary.exists():
    subprocess.run("cargo build --release -p secateur-runtime --example spmm".split(), cwd=ROOT, check=True)
# Read as it comes: the disassembly of a whole program is large.
with subprocess.Popen(["objdump", "-d", "--no-show-raw-insn", binary], stdout=subprocess.PIPE, text=True) as dump:
    loops = [loop for body in functions(dump.stdout) for loop in innermost_loops(body)]
if dump.returncode or not loops:
    sys.exit(f"no AVX-512 panel kernels found in {binary} (not for x86-64, or stripped?)")
failed = False
for name, expected in KERNELS.items():
    # The loop most like it, and the shortest of those.
    loop = min(loops, key=lambda it: (sum(abs(n - expected.get(what, 0)) for what, n in count(it).items()), len(it)))
    text, golden = listing(name, loop), ROOT / "runtime/listings" / f"{name}.s"
    before = golden.read_text() if golden.exists() else ""
    if found := list(faults(loop, expected)):
        failed = True
        print(f"{name}: FAILED, the loop most like it has", *found, "", text, sep="\n  ")
    elif options.bless:
        golden.write_text(text)
    elif before != text:
        failed |= options.exact
        sys.stdout.writelines(difflib.unified_diff(before.splitlines(True), text.splitlines(True), golden.name, "now"))
        print(f"{name}: properties hold, but the listing differs (another compiler?); --bless accepts it")
    else:
        print(f"{name}: ok")
sys.exit(failed)
