"""What the times were measured on."""

import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .engines import pinned

PEAK_SOURCE = Path(__file__).with_name("peak.c")
FEATURES = re.compile(r"avx|fma|f16c|sse4_2|amx|bf16|asimd|sve|neon|i8mm")


def describe():
    info = _cpu_info()
    flags = (info.get("flags") or info.get("Features") or "").split()
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "family_model_stepping": [info.get(k) for k in ("cpu family", "model", "stepping")],
        "features": [flag for flag in flags if FEATURES.search(flag)],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def slug(cpu):
    """A CPU's name as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", cpu.lower()).strip("-")


def peak_gflops(core):
    """f32 multiply-adds of one core, the best of many bursts; None without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peak"
        command = [compiler, "-O2", "-march=native", PEAK_SOURCE, "-o", program]
        subprocess.run(command, check=True)
        run = subprocess.run(
            [program], capture_output=True, text=True, check=True, preexec_fn=pinned([core])
        )
    return float(run.stdout)


def _cpu_info():
    """The first processor of /proc/cpuinfo; empty where there is none."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text().split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
