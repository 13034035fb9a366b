"""Writes the golden outputs of the test models, computed by ONNX Runtime.

    python make_goldens.py ../models ../goldens
    python make_goldens.py ../models OUT --accuracy     # also counts correct test samples

For each model OUT_DIR/<model>.npz with two float32 arrays: `input` (the model's
input, preprocessed) and `output`. Each model runs on one CPU thread, with the
graph optimisations switched off and with all of them; the stored output is the
unoptimised one, and the two have to agree. The same versions (requirements.txt)
on the same processor give the same bytes; another processor may differ in the
last bits of `output`.
"""

import argparse
import gzip
import io
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
from safetensors.numpy import load_file

# Model, data description (or None: seeded random input), samples stored.
MODELS = [
    ("resnet20", "cifar_imagenet_norm.toml", 4),
    ("resnet56", "cifar_imagenet_norm.toml", 4),
    ("resnet8", "cifar_raw.toml", 4),
    ("dscnn_kws", "kws.toml", 4),
    ("vww_96", None, 1),
    ("ad01", None, 4),
]
TOLERANCE = 1e-4
SEED = 1


def read_samples(description):
    """The raw samples (NCHW, numbers as in the file) and labels of a data description."""
    table = tomllib.loads(description.read_text())
    file = description.parent / table["file"]
    if file.name.endswith(".bin.gz"):
        records = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8).reshape(-1, 3073)
        x, labels = records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)
    else:
        tensors = load_file(file)
        x, labels = tensors[table["inputs_key"]], tensors[table["labels_key"]]
        if table.get("layout") == "nhwc":
            x = x.transpose(0, 3, 1, 2)
    return preprocess(x, table.get("preprocess", {})), labels


def preprocess(x, table):
    """(x * scale - mean) / std per channel, computed in float64 and rounded once."""
    channels = (-1, 1, 1)
    mean = np.reshape(table.get("mean", [0.0]), channels)
    std = np.reshape(table.get("std", [1.0]), channels)
    return np.ascontiguousarray((x * float(table.get("scale", 1.0)) - mean) / std, np.float32)


def random_input(model, count):
    rng = np.random.default_rng(SEED)
    if model == "vww_96":  # pixels, 0..1
        return rng.random((count, 3, 96, 96), np.float32)
    return rng.standard_normal((count, 640), np.float32)


def session(path, level):
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def write_npz(path, arrays):
    """As np.savez (entries stored, not compressed), with a fixed date: the same bytes each time."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(name + ".npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_STORED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content.getvalue())


def main():
    parser = argparse.ArgumentParser(description="writes the golden outputs of the test models")
    parser.add_argument("models", type=Path, metavar="MODELS_DIR")
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--accuracy", action="store_true", help="run all test samples too")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    for model, data, count in MODELS:
        path = args.models / f"{model}.onnx"
        plain = session(path, ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
        fast = session(path, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
        if data:
            samples, labels = read_samples(args.models / "data" / data)
            x = samples[:count]
        else:
            x = random_input(model, count)

        output = plain.run(["output"], {"input": x})[0]
        difference = np.abs(output - fast.run(["output"], {"input": x})[0]).max()
        assert difference <= TOLERANCE, f"{model}: optimised and plain differ by {difference}"
        write_npz(args.out / f"{model}.npz", {"input": x, "output": output})
        print(f"{model}: input {x.shape}, output {output.shape}, optimised differs {difference:.1e}")

        if data and args.accuracy:
            right = sum(
                int((plain.run(["output"], {"input": samples[i : i + 50]})[0].argmax(axis=1)
                     == labels[i : i + 50]).sum())
                for i in range(0, len(samples), 50)
            )
            print(f"{model}: {right}/{len(samples)} = {100 * right / len(samples):.1f} % correct")


if __name__ == "__main__":
    main()
