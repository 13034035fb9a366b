"""ONNX files of one operator, in the forms in which an engine may be fastest."""

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 13
IR_VERSION = 8


def arrange(x, form):
    """The input X[K,N] as a form of the product W[M,K] X[K,N] wants it."""
    k, n = x.shape
    if form == "matmul":
        return x
    if form == "linear":
        return np.ascontiguousarray(x.T)
    if form == "conv":
        return x.reshape(1, k, *near_square(n))
    if form == "row":
        return x.reshape(1, k, 1, n)
    raise ValueError(f"unknown form {form!r}")


def write_product(weights, x, form, path):
    """W[M,K] X[K,N], the input given as `form` has it.

    matmul: W X. linear: the transposed input times the transposed weights.
    conv: a 1x1 convolution of an image as square as possible; row: of one row.
    """
    m, k = weights.shape
    arranged = arrange(x, form).shape
    if form == "matmul":
        _write("MatMul", ["weights", "x"], weights, arranged, (m, arranged[1]), path)
    elif form == "linear":
        _write("MatMul", ["x", "weights"], weights.T, arranged, (arranged[0], m), path)
    else:
        write_conv(weights.reshape(m, k, 1, 1), arranged, path)


def write_conv(weights, input_shape, path):
    """A convolution that keeps the size of the image."""
    out, _, kernel, _ = weights.shape
    batch, _, *image = input_shape
    attributes = {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4}
    inputs = ["x", "weights"]
    _write("Conv", inputs, weights, input_shape, (batch, out, *image), path, **attributes)


def near_square(count):
    """(height, width) of `count` pixels, as near to a square as they divide."""
    height = next(h for h in range(math.isqrt(count), 0, -1) if count % h == 0)
    return height, count // height


def _write(op, inputs, weights, input_shape, output_shape, path, **attributes):
    graph = helper.make_graph(
        [helper.make_node(op, inputs, ["y"], name="y", **attributes)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(np.ascontiguousarray(weights), "weights")],
    )
    opset = [helper.make_opsetid("", OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION), path)
