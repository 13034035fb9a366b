"""A process that runs one library: `python -m peers.worker LIBRARY THREADS`.

It answers each line of stdin, a JSON object, with a line on stdout:

    {"load": REQUEST}           {"handle": number, "norm": of the result}
    {"time": HANDLE, "repeat"}  {"median_us", "min_us", "cpus": that it had on average}
    {"version": true}           {"version": text}

or with {"error": text}. It may run in another Python than the one that asks, one with
an older numpy, and uses nothing outside this package.
"""

import gc
import json
import os
import statistics
import sys
import time
from importlib.metadata import version

import numpy as np

from peers.libraries import LIBRARIES


def measure(run, repeat):
    """Times of single runs, after one that warms the caches again."""
    run()
    times = []
    cpu_start = time.process_time_ns()
    for _ in range(repeat):
        start = time.perf_counter_ns()
        run()
        times.append(time.perf_counter_ns() - start)
    return {
        "median_us": statistics.median(times) / 1e3,
        "min_us": min(times) / 1e3,
        "cpus": (time.process_time_ns() - cpu_start) / sum(times),
    }


def answer(library, loaded, request):
    if "load" in request:
        problem = library.load(request["load"])
        problem.run()
        loaded.append(problem)
        norm = float(np.linalg.norm(problem.result().astype(np.float64)))
        return {"handle": len(loaded) - 1, "norm": norm}
    if "time" in request:
        return measure(loaded[request["time"]].run, request["repeat"])
    return {"version": version(library.package)}


def main(name, threads):
    # Libraries print banners: they get stderr instead.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    gc.disable()
    library = LIBRARIES[name](int(threads))
    loaded = []
    for line in sys.stdin:
        try:
            reply = answer(library, loaded, json.loads(line))
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
