"""Runs the jobs of a case in rounds, so that a drift of the machine hits all alike."""

import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sparsity import DENSE

from .cases import Job
from .engines import EngineError

VISIT_SECONDS = 0.03
MIN_REPEAT = 3
MAX_REPEAT = 500
# Engines sum in different orders; a wrong result differs by far more.
NORM_TOLERANCE = 1e-3


@dataclass
class Timed:
    """A job, the engine that has loaded it, and one timing per round."""

    job: Job
    engine: object
    handle: object
    repeat: int
    visits: list = field(default_factory=list)


def run_case(case, names, programs, cores, rounds):
    """The results of a case, the versions of its engines, and why any is missing."""
    versions, missing = {}, {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        jobs = [job for job in case.jobs(Path(folder)) if job.engine in names]
        engines = {}
        for name in dict.fromkeys(job.engine for job in jobs):
            try:
                engines[name] = programs.open(name, case, cores)
            except EngineError as error:
                missing[name] = str(error)
                continue
            stack.callback(engines[name].close)
            versions[name] = engines[name].version
        timed = load(jobs, engines)
        for _ in range(rounds):
            visit(timed)
    return results(timed), versions, missing


def load(jobs, engines):
    timed, norms = [], {}
    for job in jobs:
        engine = engines.get(job.engine)
        if engine is None:
            continue
        try:
            handle, norm = engine.load(job.request)
            if norm is not None:
                check_norm(norm, norms.setdefault(job.weights, norm))
            first = engine.time(handle, MIN_REPEAT)
        except EngineError as error:
            warn(job, error)
            continue
        repeat = round(VISIT_SECONDS * 1e6 / first.median_us)
        timed.append(Timed(job, engine, handle, min(max(repeat, MIN_REPEAT), MAX_REPEAT)))
    return timed


def check_norm(norm, expected):
    if not abs(norm - expected) <= NORM_TOLERANCE * expected:
        raise EngineError(f"the norm of the result is {norm}, not {expected}")


def visit(timed):
    """One round. What fails is left out from then on."""
    for entry in list(timed):
        try:
            entry.visits.append(entry.engine.time(entry.handle, entry.repeat))
        except EngineError as error:
            warn(entry.job, error)
            timed.remove(entry)


def warn(job, error):
    print(f"{job.engine}, {job.weights}, {job.form or 'as it is'}: {error}", file=sys.stderr)


def results(timed):
    medians = {id(entry): [visit.median_us for visit in entry.visits] for entry in timed}
    dense = [e for e in timed if e.job.weights == DENSE and e.job.engine != "secateur"]
    best = min((medians[id(entry)] for entry in dense), key=np.median, default=None)
    return [result(entry, medians[id(entry)], best) for entry in timed]


def result(entry, medians, best_dense):
    low, middle, high = np.percentile(medians, [10, 50, 90])
    cpus = [visit.cpus for visit in entry.visits if visit.cpus is not None]
    speedup = None
    if best_dense:
        speedup = float(np.median(np.divide(best_dense, medians)))
    return {
        "engine": entry.job.engine,
        "sparsity": entry.job.weights.sparsity,
        "pattern": entry.job.weights.pattern if entry.job.weights.sparsity else "dense",
        "form": entry.job.form,
        "median_us": float(middle),
        "min_us": min(visit.min_us for visit in entry.visits),
        "spread": float((high - low) / middle),
        "speedup": speedup,
        "cpus": float(np.median(cpus)) if cpus else None,
        "rounds_us": medians,
    }
