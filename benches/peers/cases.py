"""What is timed: products, convolutions and networks, each with several sets of weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

import models
from sparsity import DENSE, Weights

from . import graphs

PARTS = ("spmm", "conv", "models")

# M, K, N of W[M,K] X[K,N]: the layers of a transformer, and the 1x1 convolutions of
# MobileNetV1 from the first to the last.
SHAPES = (
    (768, 768, 1),
    (3072, 768, 1),
    (768, 768, 128),
    (3072, 768, 128),
    (768, 3072, 128),
    (64, 32, 12544),
    (128, 128, 3136),
    (256, 256, 784),
    (512, 512, 196),
    (1024, 1024, 49),
)
# Channels and side of the image of ResNet-50's 3x3 convolutions with stride 1.
CONVS = ((64, 56), (128, 28), (256, 14), (512, 7))

PRODUCT_WEIGHTS = (
    DENSE,
    *(Weights(sparsity) for sparsity in (0.7, 0.8, 0.9, 0.95)),
    *(Weights(sparsity, "4x1") for sparsity in (0.5, 0.7, 0.9)),
)
CONV_WEIGHTS = (
    DENSE,
    *(Weights(sparsity) for sparsity in (0.5, 0.7, 0.8, 0.9)),
    *(Weights(sparsity, "4x1") for sparsity in (0.5, 0.7, 0.9)),
)
NETWORK_WEIGHTS = (
    DENSE,
    *(Weights(sparsity) for sparsity in (0.8, 0.9, 0.95)),
    *(Weights(sparsity, "4x1") for sparsity in (0.7, 0.9)),
)

DENSE_FORMS = {
    "onnxruntime": ("matmul", "linear", "conv"),
    "openvino": ("matmul", "linear", "conv"),
}
SPARSE_FORMS = {"deepsparse": ("linear", "conv", "row")}
SEED = 1


@dataclass(frozen=True)
class Job:
    """One problem for one engine. The same problem may come in several forms."""

    engine: str
    weights: Weights
    form: str
    request: dict


@dataclass(frozen=True)
class Case:
    """Jobs whose times are compared. `jobs` writes their files to a folder."""

    part: str
    name: str
    threads: int
    flops: int | None
    jobs: Callable[[Path], list[Job]]


def cases(parts, shapes, networks, models_folder):
    if "spmm" in parts:
        for shape in shapes:
            name = ",".join(map(str, shape))
            yield Case("spmm", name, 1, 2 * int(np.prod(shape)), partial(product_jobs, shape))
    if "conv" in parts:
        for channels, side in CONVS:
            flops = 2 * 9 * channels**2 * side**2
            jobs = partial(conv_jobs, channels, side)
            yield Case("conv", f"3x3, {channels} channels, {side}x{side}", 1, flops, jobs)
    if "models" in parts:
        for network in networks:
            for threads in (1, 2):
                jobs = partial(network_jobs, network, models_folder)
                yield Case("models", f"{network}, threads: {threads}", threads, None, jobs)


def product_jobs(shape, folder):
    m, k, n = shape
    rng = np.random.default_rng(SEED)
    dense = rng.uniform(-1, 1, (m, k)).astype(np.float32)
    x = rng.normal(size=(k, n)).astype(np.float32)
    jobs = []
    for weights in PRODUCT_WEIGHTS:
        values = weights.apply(dense)
        forms = SPARSE_FORMS if weights.sparsity else {**DENSE_FORMS, **SPARSE_FORMS}
        for engine, names in forms.items():
            for form in names:
                request = _product_request(values, x, form, folder, f"{weights}-{form}")
                jobs.append(Job(engine, weights, form, request))
        matrices = {
            "weights": _save(folder / f"{weights}.npy", values),
            "input": _save(folder / "x.npy", x),
        }
        jobs.append(Job("mkl-csr" if weights.sparsity else "mkl", weights, "", matrices))
        jobs.append(Job("secateur", weights, "", _spmm_request(shape, weights)))
    return jobs


def _product_request(values, x, form, folder, name):
    path = folder / f"{name}.onnx"
    graphs.write_product(values, x, form, path)
    return {
        "model": str(path),
        "input": _save(folder / f"x-{form}.npy", graphs.arrange(x, form)),
    }


def _spmm_request(shape, weights):
    """What the example `spmm` takes."""
    m, k, n = shape
    pattern = weights.pattern if weights.sparsity else "dense"
    return {"m": m, "k": k, "n": n, "sparsity": weights.sparsity, "pattern": pattern}


def conv_jobs(channels, side, folder):
    rng = np.random.default_rng(SEED)
    dense = rng.normal(size=(channels, channels, 3, 3)).astype(np.float32)
    x = rng.normal(size=(1, channels, side, side)).astype(np.float32)
    paths = {}
    for weights in CONV_WEIGHTS:
        paths[weights] = folder / f"{weights}.onnx"
        graphs.write_conv(weights.apply(dense), x.shape, paths[weights])
    return _graph_jobs(paths, x, folder)


def network_jobs(network, models_folder, folder):
    models_folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for weights in NETWORK_WEIGHTS:
        paths[weights] = models_folder / f"{network}-{weights}.onnx"
        if not paths[weights].exists():
            models.write(network, weights, models_folder)
    size = models.input_shape(paths[DENSE])
    sample = np.random.default_rng(SEED).normal(size=size).astype(np.float32)
    return _graph_jobs(paths, sample, folder)


def _graph_jobs(paths, x, folder):
    """Dense engines time the dense graph, sparse ones all of them."""
    source = _save(folder / "x.npy", x)
    jobs = []
    for weights, path in paths.items():
        engines = SPARSE_FORMS if weights.sparsity else {**DENSE_FORMS, **SPARSE_FORMS}
        for engine in (*engines, "secateur"):
            jobs.append(Job(engine, weights, "", {"model": str(path), "input": source}))
    return jobs


def _save(path, array):
    np.save(path, array)
    return str(path)
