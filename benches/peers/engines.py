"""The processes that are timed, all behind the same three calls: load, time, close."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BENCHES = Path(__file__).resolve().parent.parent
CLOSE_SECONDS = 10


class EngineError(Exception):
    """An engine is not there, does not take a problem, or has died."""


@dataclass(frozen=True)
class Timing:
    """Of one visit to an engine. `cpus` is how many cores it had on average, if it says so."""

    median_us: float
    min_us: float
    cpus: float | None = None


@dataclass(frozen=True)
class Programs:
    """Where the engines are."""

    deepsparse_python: Path
    secateur: Path
    spmm: Path

    def open(self, name, case, cores):
        """Starts an engine for the jobs of a case, on as many cores as the case has threads."""
        cores = cores[: case.threads]
        if len(cores) < case.threads:
            raise EngineError("too few cores were given")
        if name != "secateur":
            python = self.deepsparse_python if name == "deepsparse" else Path(sys.executable)
            return Library(name, python, case.threads, cores)
        if case.part == "spmm":
            return SpmmExample(self.spmm, cores)
        return BenchCommand(self.secateur, cores)


def pinned(cores):
    """What a child does first to stay on these cores, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    return lambda: os.sched_setaffinity(0, cores)


def existing(program):
    if not program.exists():
        raise EngineError(f"{program.name} is not there")
    return program


class JsonLines:
    """A child that answers every line with a line, both JSON objects."""

    def __init__(self, command, cores, **options):
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=pinned(cores),
            **options,
        )

    def ask(self, request):
        try:
            self.child.stdin.write(json.dumps(request) + "\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            pass  # The missing answer says it.
        line = self.child.stdout.readline()
        if not line:
            raise EngineError(f"ended with exit code {self.child.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise EngineError(reply["error"])
        return reply

    def close(self):
        try:
            self.child.communicate(timeout=CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.communicate()


class Library:
    """A worker process around a Python package."""

    def __init__(self, name, python, threads, cores):
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "MKL_THREADING_LAYER": "SEQUENTIAL",
            "NM_DISABLE_ANALYTICS": "1",
        }
        command = [existing(python), "-m", "peers.worker", name, str(threads)]
        self.lines = JsonLines(
            command, cores, cwd=BENCHES, env=environment, stderr=subprocess.DEVNULL
        )
        self.version = self.lines.ask({"version": True})["version"]

    def load(self, request):
        """A handle, and the norm of the result."""
        reply = self.lines.ask({"load": request})
        return reply["handle"], reply["norm"]

    def time(self, handle, repeat):
        return Timing(**self.lines.ask({"time": handle, "repeat": repeat}))

    def close(self):
        self.lines.close()


class SpmmExample:
    """The example `spmm` of the runtime: one product per line of stdin.

    Asked {"m", "k", "n", "sparsity", "pattern": "dense" | "unstructured" | "RxC", "repeat"},
    it answers {"median_us", "min_us"}: of `repeat` runs on weights prepared before.
    """

    version = None

    def __init__(self, program, cores):
        self.lines = JsonLines([existing(program)], cores)

    def load(self, request):
        return request, None

    def time(self, handle, repeat):
        reply = self.lines.ask({**handle, "repeat": repeat})
        return Timing(reply["median_us"], reply["min_us"])

    def close(self):
        self.lines.close()


class BenchCommand:
    """`secateur bench`, one process per visit, on a `.sct` file beside the ONNX file.

    It does not say the shortest time; the 10th percentile stands for it.
    """

    version = None

    def __init__(self, program, cores):
        self.program = existing(program)
        self.cores = cores

    def load(self, request):
        source = Path(request["model"])
        target = source.with_suffix(".sct")
        newest = max(path.stat().st_mtime for path in (source, self.program))
        if not target.exists() or target.stat().st_mtime < newest:
            self._run("convert", source, "-o", target, "--force", "--tune")
        return target, None

    def time(self, handle, repeat):
        threads = str(len(self.cores))
        reply = self._run(
            "bench", handle, "--runs", str(repeat), "--seconds", "0", "--threads", threads
        )
        return Timing(reply["median_us"], reply["p10_us"])

    def close(self):
        pass

    def _run(self, *arguments):
        command = [self.program, *arguments, "--json", "--quiet"]
        done = subprocess.run(
            command, capture_output=True, text=True, preexec_fn=pinned(self.cores), check=False
        )
        if done.returncode != 0:
            raise EngineError(f"secateur {arguments[0]}: {done.stderr.strip()}")
        return json.loads(done.stdout)
