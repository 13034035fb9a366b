"""Makes the golden scores of criteria, from their definitions, with NumPy (2.4 was used) in f64 throughout.

    python make_goldens.py        # in this folder; needs numpy

`golden.json` holds a network of one convolution (two groups) and one linear layer, samples with labels, and the
scores of their weights, in the layout of the weights: [out, in / groups, height, width] and [out, in].
"""

import json

import numpy as np

SAMPLES, CLASSES = 6, 3
INPUT, KERNEL, FILTERS, GROUPS = (4, 4, 4), (3, 2), 4, 2
# One row of zeros above and below, none at the sides; every second column.
PAD, STRIDE = 1, 2
HEIGHT, WIDTH = 4, 2

rng = np.random.default_rng(1)


def draw(*shape):
    """Numbers that are exact in f32."""
    return rng.normal(0, 0.6, shape).astype(np.float32).astype(np.float64)


def patches(x):
    """[groups, positions, inputs of a group * kernel] of one sample, the last axis as in the weights."""
    padded = np.pad(x, ((0, 0), (PAD, PAD), (0, 0)))
    size = INPUT[0] // GROUPS
    found = np.zeros((GROUPS, HEIGHT * WIDTH, size * KERNEL[0] * KERNEL[1]))
    for group in range(GROUPS):
        channels = padded[group * size : (group + 1) * size]
        for y in range(HEIGHT):
            for x0 in range(WIDTH):
                window = channels[:, y : y + KERNEL[0], STRIDE * x0 : STRIDE * x0 + KERNEL[1]]
                found[group, y * WIDTH + x0] = window.ravel()
    return found


def forward(net, x):
    """Patches, hidden values after the ReLU, outputs."""
    columns = patches(x)
    kernels = net["conv.weight"].reshape(GROUPS, FILTERS // GROUPS, -1)
    planes = np.concatenate([kernels[g] @ columns[g].T for g in range(GROUPS)])
    hidden = np.maximum(planes + net["conv.bias"][:, None], 0).ravel()
    return columns, hidden, net["fc.weight"] @ hidden + net["fc.bias"]


def backward(net, columns, hidden, dy):
    """The gradients of both weights."""
    dh = (net["fc.weight"].T @ dy * (hidden > 0)).reshape(GROUPS, FILTERS // GROUPS, -1)
    conv = np.concatenate([dh[g] @ columns[g] for g in range(GROUPS)])
    return {"conv": conv.reshape(net["conv.weight"].shape), "fc": np.outer(dy, hidden)}


def gradients(net, samples, labels, temperature=1.0):
    """The gradient of the cross-entropy of each sample."""
    found = []
    for x, label in zip(samples, labels):
        columns, hidden, y = forward(net, x)
        p = np.exp(y / temperature - np.max(y / temperature))
        p /= p.sum()
        p[label] -= 1
        found.append(backward(net, columns, hidden, p / temperature))
    return found


def mean(parts):
    return {name: np.mean([part[name] for part in parts], axis=0) for name in ("conv", "fc")}


def scored(net, score):
    return {name: score(name, net[f"{name}.weight"]) for name in ("conv", "fc")}


def synflow(net):
    positive = {name: np.abs(values) for name, values in net.items()}
    columns, hidden, y = forward(positive, np.ones(INPUT))
    flow = backward(positive, columns, hidden, np.ones_like(y))
    return scored(positive, lambda name, w: w * flow[name])


def norms(net, samples):
    """The lengths of the columns of the layers' inputs, in the shape of the weights."""
    conv, fc = 0, 0
    for x in samples:
        columns, hidden, _ = forward(net, x)
        conv, fc = conv + (columns**2).sum(axis=1), fc + hidden**2
    shape = net["conv.weight"].shape
    rows = np.repeat(np.sqrt(conv), FILTERS // GROUPS, axis=0)
    return {"conv": rows.reshape(shape), "fc": np.broadcast_to(np.sqrt(fc), net["fc.weight"].shape)}


def ria(name, w, lengths):
    groups = GROUPS if name == "conv" else 1
    size = np.abs(w).reshape(groups, w.shape[0] // groups, -1)
    share = size / size.sum(axis=1, keepdims=True) + size / size.sum(axis=2, keepdims=True)
    return share.reshape(w.shape) * np.sqrt(lengths[name])


def grasp(net, samples, labels, temperature=200.0):
    """w * Hg, by differences along the gradient that are too small for f32."""
    direction = mean(gradients(net, samples, labels, temperature))
    step = 1e-7 / np.sqrt(sum((g**2).sum() for g in direction.values()))
    ends = []
    for sign in (1, -1):
        moved = dict(net)
        for name, g in direction.items():
            moved[f"{name}.weight"] = net[f"{name}.weight"] + sign * step * g
        ends.append(mean(gradients(moved, samples, labels, temperature)))
    return scored(net, lambda name, w: w * (ends[0][name] - ends[1][name]) / (2 * step))


def woodfisher(name, w, each, damping, block=64):
    """The inverses of blocks; the convolution is one, so that the order of its weights does not matter."""
    gradients = np.array([part[name].ravel() for part in each])
    scores = []
    for first in range(0, w.size, block):
        part = gradients[:, first : first + block]
        fisher = damping * np.eye(part.shape[1]) + part.T @ part / len(each)
        scores.append(w.ravel()[first : first + block] ** 2 / (2 * np.diag(np.linalg.inv(fisher))))
    return np.concatenate(scores)


def main():
    group_in = INPUT[0] // GROUPS
    net = {
        "conv.weight": draw(FILTERS, group_in, *KERNEL),
        "conv.bias": draw(FILTERS),
        "fc.weight": draw(CLASSES, FILTERS * HEIGHT * WIDTH),
        "fc.bias": draw(CLASSES),
    }
    samples, labels = draw(SAMPLES, *INPUT), [int(label) for label in rng.integers(0, CLASSES, SAMPLES)]
    each = gradients(net, samples, labels)
    whole = mean(each)
    squares = mean([{name: g**2 for name, g in part.items()} for part in each])
    lengths = norms(net, samples)
    scores = {
        "snip": scored(net, lambda name, w: np.abs(w * whole[name])),
        "grasp": grasp(net, samples, labels),
        "synflow": synflow(net),
        "fisher": scored(net, lambda name, w: w**2 * squares[name] / 2),
        f"fisher:batch={SAMPLES}": scored(net, lambda name, w: w**2 * whole[name] ** 2 / 2),
        "woodfisher:damping=0.1": scored(net, lambda name, w: woodfisher(name, w, each, 0.1)),
        "wanda": scored(net, lambda name, w: np.abs(w) * lengths[name]),
        "ria": scored(net, lambda name, w: ria(name, w, lengths)),
    }

    def numbers(values):
        return [float(f"{value:.9g}") for value in np.ravel(values)]

    golden = {
        "net": {name: numbers(values) for name, values in net.items()},
        "samples": numbers(samples),
        "labels": labels,
        "scores": {
            criterion: {name: numbers(values) for name, values in layers.items()} for criterion, layers in scores.items()
        },
    }
    with open("golden.json", "w") as file:
        json.dump(golden, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
