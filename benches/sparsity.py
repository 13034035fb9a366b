"""Which weights of a layer are zero, and magnitude pruning by a pattern of blocks."""

import re
from dataclasses import dataclass

import numpy as np

UNSTRUCTURED = "unstructured"


@dataclass(frozen=True)
class Weights:
    """What is zero: a fraction of the blocks of a pattern."""

    sparsity: float = 0.0
    pattern: str = UNSTRUCTURED

    def __str__(self):
        """As in the names of files: `dense`, `90-4x1`."""
        return f"{100 * self.sparsity:g}-{self.pattern}" if self.sparsity else "dense"

    def apply(self, values):
        return prune(values, self.sparsity, self.pattern) if self.sparsity else values


DENSE = Weights()


def block_shape(pattern):
    """(output channels, input channels) of the blocks of `pattern`."""
    if pattern == UNSTRUCTURED:
        return 1, 1
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", pattern)
    if not match:
        raise ValueError(f"pattern {pattern!r} is neither {UNSTRUCTURED!r} nor RxC")
    return int(match[1]), int(match[2])


def prune(values, sparsity, pattern):
    """A copy of `values` ([out, in, ...kernel]) without the blocks of smallest L1 norm.

    A block is R consecutive output channels by C consecutive input channels at one
    kernel position. What stays is scaled up so that the energy of the tensor stays,
    which keeps the activations of deep random networks finite.
    """
    rows, cols = block_shape(pattern)
    out, inp = values.shape[:2]
    if out % rows or inp % cols:
        raise ValueError(f"blocks of {pattern} do not divide weights of shape {values.shape}")
    blocks = values.reshape(out // rows, rows, inp // cols, cols, -1)
    norms = np.abs(blocks).sum(axis=(1, 3))
    smallest_first = np.argsort(norms, axis=None)
    keep = np.ones(norms.size, dtype=values.dtype)
    keep[smallest_first[: round(sparsity * norms.size)]] = 0
    keep = keep.reshape(norms.shape)[:, None, :, None, :]
    pruned = (blocks * keep).reshape(values.shape)
    return pruned * np.sqrt(np.square(values).sum() / np.square(pruned).sum())
