"""Times Secateur and its peers in one run and writes a dated record."""

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path

import models

from . import cases, machine, report
from .engines import BENCHES, Programs
from .libraries import LIBRARIES
from .rounds import run_case

REPOSITORY = BENCHES.parent
RELEASE = REPOSITORY / "target" / "release"
ENGINES = (*LIBRARIES, "secateur")


def arguments():
    parser = argparse.ArgumentParser(prog="peers", description=__doc__)
    add = parser.add_argument
    add("--only", nargs="+", choices=cases.PARTS, default=cases.PARTS, help="parts to time")
    add("--shapes", nargs="+", type=shape, default=cases.SHAPES, metavar="M,K,N")
    add("--networks", nargs="+", choices=models.NETWORKS, default=models.NETWORKS)
    add("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    add("--rounds", type=int, default=10)
    add("--cores", nargs="+", type=int, default=[1, 0], help="one thread runs on the first")
    add("--models", type=path, default=REPOSITORY / "target" / "models", help="folder")
    add("--secateur", type=path, default=RELEASE / "secateur")
    add("--spmm", type=path, default=RELEASE / "examples" / "spmm")
    python = BENCHES / ".venv-deepsparse" / "bin" / "python"
    add("--deepsparse-python", type=path, default=python)
    add("-o", "--output", type=path, help="FILE.json; the tables go beside it")
    add("--force", action="store_true", help="replace the record if it exists")
    return parser.parse_args()


def path(text):
    """Workers have another working folder. Links stay: a virtual environment is one."""
    return Path(text).absolute()


def shape(text):
    m, k, n = map(int, text.split(","))
    return m, k, n


def revision():
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main():
    args = arguments()
    record = {
        "date": datetime.date.today().isoformat(),
        "machine": machine.describe(),
        "rounds": args.rounds,
        "versions": {},
        "cases": [],
    }
    name = f"{record['date']}-{machine.slug(record['machine']['cpu'])}.json"
    output = args.output or BENCHES / "record" / name
    if output.exists() and not args.force:
        sys.exit(f"{output} exists; --force replaces it")
    programs = Programs(args.deepsparse_python, args.secateur, args.spmm)
    for case in cases.cases(args.only, args.shapes, args.networks, args.models):
        print(f"{case.part}: {case.name}", file=sys.stderr)
        peak = machine.peak_gflops(args.cores[0])
        results, versions, missing = run_case(case, args.engines, programs, args.cores, args.rounds)
        for engine, reason in missing.items():
            print(f"{engine} is left out: {reason}", file=sys.stderr)
        record["versions"] |= {engine: v or revision() for engine, v in versions.items()}
        record["cases"].append(
            {
                "part": case.part,
                "name": case.name,
                "threads": case.threads,
                "flops": case.flops,
                "peak_gflops": peak,
                "missing": sorted(missing),
                "results": results,
            }
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(record, indent=1) + "\n")
    output.with_suffix(".md").write_text(report.markdown(record))
    print(output)


if __name__ == "__main__":
    main()
