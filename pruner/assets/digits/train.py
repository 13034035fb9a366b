"""Trains the demo networks on the 8x8 digits: a small CNN in plain NumPy.

    python train.py digits.safetensors cnn.safetensors
    python train.py digits.safetensors tiny.safetensors --width 8

conv 3x3 (1 -> w) + ReLU, conv 3x3 (w -> 2w) + ReLU, max-pool 2x2,
conv 3x3 (2w -> 2w) + ReLU, max-pool 2x2, flatten, linear (8w -> 10).

Rows 0..1436 train, rows 1437..1796 test. The test rows are looked at once,
after the last epoch: the number of epochs is fixed and no epoch is chosen by
its test accuracy. Settings can be compared without them:
`--train-rows 0 1150 --test-rows 1150 1437`.

Tensors are NHWC in here and are written in PyTorch layout (OIHW).
"""

import argparse
import functools
import os

# One thread (set before NumPy loads its BLAS): the result is the same on any number of cores.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
from safetensors.numpy import load_file, save_file

CLASSES = 10


def patches(x):
    """3x3 neighbourhoods, zero-padded: [N, H, W, C] -> [N*H*W, 9*C]."""
    n, h, w, c = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]
    return np.concatenate(shifted, axis=3).reshape(n * h * w, 9 * c)


class Conv:
    """3x3 convolution, stride 1, padding 1. Weight [3, 3, C, O]."""

    def __init__(self, rng, c, o):
        self.weight = rng.normal(0.0, (2 / (9 * c)) ** 0.5, (3, 3, c, o)).astype(np.float32)
        self.bias = np.zeros(o, np.float32)

    def forward(self, x):
        self.columns = patches(x)
        c, o = self.weight.shape[2:]
        y = self.columns @ self.weight.reshape(9 * c, o) + self.bias
        return y.reshape(*x.shape[:3], o)

    def backward(self, grad):
        c, o = self.weight.shape[2:]
        flat = grad.reshape(-1, o)
        self.weight_grad = (self.columns.T @ flat).reshape(self.weight.shape)
        self.bias_grad = flat.sum(axis=0)
        # Of the input: the kernel turned by 180 degrees, channels exchanged.
        turned = self.weight[::-1, ::-1].transpose(0, 1, 3, 2).reshape(9 * o, c)
        return (patches(grad) @ turned).reshape(*grad.shape[:3], c)


class Linear:
    """Weight [O, I], as in PyTorch."""

    def __init__(self, rng, i, o):
        self.weight = rng.normal(0.0, i**-0.5, (o, i)).astype(np.float32)
        self.bias = np.zeros(o, np.float32)

    def forward(self, x):
        self.x = x
        return x @ self.weight.T + self.bias

    def backward(self, grad):
        self.weight_grad = grad.T @ self.x
        self.bias_grad = grad.sum(axis=0)
        return grad @ self.weight


class Relu:
    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, grad):
        return grad * self.mask


class MaxPool:
    """2x2, stride 2."""

    def forward(self, x):
        self.shape = (n, h, w, c) = x.shape
        blocks = x.reshape(n, h // 2, 2, w // 2, 2, c)
        y = blocks.max(axis=(2, 4))
        self.mask = blocks == y[:, :, None, :, None]
        self.share = self.mask.sum(axis=(2, 4), keepdims=True)  # equal maxima share the gradient
        return y

    def backward(self, grad):
        spread = grad[:, :, None, :, None] * self.mask / self.share
        return spread.reshape(self.shape).astype(np.float32)


class Flatten:
    """In the order C, H, W, as PyTorch flattens."""

    def forward(self, x):
        self.shape = x.shape
        return x.transpose(0, 3, 1, 2).reshape(len(x), -1)

    def backward(self, grad):
        n, h, w, c = self.shape
        return grad.reshape(n, c, h, w).transpose(0, 2, 3, 1)


def build(rng, width):
    conv1, conv2 = Conv(rng, 1, width), Conv(rng, width, 2 * width)
    conv3, fc = Conv(rng, 2 * width, 2 * width), Linear(rng, 8 * width, CLASSES)
    layers = [conv1, Relu(), conv2, Relu(), MaxPool(), conv3, Relu(), MaxPool(), Flatten(), fc]
    return {"conv1": conv1, "conv2": conv2, "conv3": conv3, "fc": fc}, layers


def forward(layers, x):
    return functools.reduce(lambda x, layer: layer.forward(x), layers, x)


def shift(rng, x):
    """Moves each image by -1, 0 or 1 pixels in both directions."""
    n, h, w, _ = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    dy, dx = rng.integers(0, 3, (2, n, 1, 1))
    rows, columns = dy + np.arange(h)[:, None], dx + np.arange(w)
    return padded[np.arange(n)[:, None, None], rows, columns]


def train(layers, rng, x, y, epochs, batch=32, rate=0.002, decay=0.05):
    """Adam with decoupled weight decay and a cosine schedule."""
    slots = [(l, p) for l in layers if hasattr(l, "weight") for p in ("weight", "bias")]
    moments = [[np.zeros_like(getattr(l, p)) for _ in range(2)] for l, p in slots]
    step, steps = 0, epochs * (len(x) // batch)
    for epoch in range(epochs):
        order = rng.permutation(len(x))
        total = 0.0
        for start in range(0, len(x) - batch + 1, batch):
            chosen = order[start : start + batch]
            logits = forward(layers, shift(rng, x[chosen]))
            logits = logits - logits.max(axis=1, keepdims=True)
            log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            target = np.eye(CLASSES, dtype=np.float32)[y[chosen]]
            total -= float((target * log_p).sum())
            grad = (np.exp(log_p) - target) / np.float32(batch)
            for layer in reversed(layers):
                grad = layer.backward(grad)
            step += 1
            now = rate * 0.5 * (1.0 + np.cos(np.pi * step / steps))
            for (layer, name), (m, v) in zip(slots, moments):
                value, g = getattr(layer, name), getattr(layer, name + "_grad")
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                direction = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
                if name == "weight":
                    direction = direction + decay * value
                value -= np.float32(now) * direction
        print(f"epoch {epoch + 1:2}  loss {total / (len(x) // batch * batch):.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description="trains the digits demo networks")
    parser.add_argument("data", help="digits.safetensors")
    parser.add_argument("output", help="the .safetensors file to write")
    parser.add_argument("--width", type=int, default=16, help="channels of conv1")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train-rows", type=int, nargs=2, default=(0, 1437))
    parser.add_argument("--test-rows", type=int, nargs=2, default=(1437, 1797))
    args = parser.parse_args()

    data = load_file(args.data)
    x = data["images"].astype(np.float32)[..., None] / np.float32(16)
    y = data["labels"]
    train_rows, test_rows = slice(*args.train_rows), slice(*args.test_rows)
    rng = np.random.default_rng(args.seed)
    named, layers = build(rng, args.width)
    train(layers, rng, x[train_rows], y[train_rows], args.epochs)
    for title, rows in (("train", train_rows), ("test", test_rows)):
        right = (forward(layers, x[rows]).argmax(axis=1) == y[rows]).sum()
        print(f"{title} accuracy {right}/{len(y[rows])} = {right / len(y[rows]):.4f}")

    tensors = {}
    for name, layer in named.items():
        order = (3, 2, 0, 1) if isinstance(layer, Conv) else (0, 1)
        tensors[name + ".weight"] = np.ascontiguousarray(layer.weight.transpose(order))
        tensors[name + ".bias"] = layer.bias
    save_file(tensors, args.output)
    print("parameters", sum(t.size for t in tensors.values()))


if __name__ == "__main__":
    main()
