#!/usr/bin/env python3
"""Writes networks, dense or pruned, as ONNX files.

MobileNetV1 and ResNet-50 have random weights: only the architectures are real, which is
all that timing needs. Batch norms are folded (every convolution has a bias). The small
networks are those of the project's tests. The first convolution, depthwise ones and the
classifier stay dense, as is usual.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from sparsity import UNSTRUCTURED, Weights, block_shape

TEST_MODELS = Path(__file__).resolve().parent.parent / "tests" / "models"
OPSET = 13
IR_VERSION = 8
SEED = 1
IMAGE = (1, 3, 224, 224)
CLASSES = 1000
# Variance of the weights times their number per output. A rectifier halves the second
# moment of what it gets, a linear output keeps it.
RECTIFIED = 2.0
LINEAR = 1.0
# The branches of a residual network add up; small ones keep the sum near its start.
RESIDUAL = 0.1


class Builder:
    """Nodes and constants of a network in the making. A value is (name, channels)."""

    def __init__(self, weights):
        self.weights = weights
        self.rng = np.random.default_rng(SEED)
        self.nodes = []
        self.constants = {}

    def conv(self, x, name, out, kernel, stride=1, groups=1, gain=RECTIFIED, prunable=True):
        source, channels = x
        values = self._random((out, channels // groups, kernel, kernel), gain)
        if prunable:
            values = self.weights.apply(values)
        inputs = [source, self._constant(f"{name}.weight", values), self._bias(name, out)]
        self._node(
            "Conv",
            inputs,
            name,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
            group=groups,
        )
        return name, out

    def relu(self, x):
        name = f"{x[0]}.relu"
        self._node("Relu", [x[0]], name)
        return name, x[1]

    def relu6(self, x):
        name = f"{x[0]}.relu6"
        bounds = [self._constant("zero", np.float32(0)), self._constant("six", np.float32(6))]
        self._node("Clip", [x[0], *bounds], name)
        return name, x[1]

    def add(self, a, b, name):
        self._node("Add", [a[0], b[0]], name)
        return name, a[1]

    def max_pool(self, x, name):
        self._node("MaxPool", [x[0]], name, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        return name, x[1]

    def classifier(self, x):
        """Global average, then a dense linear layer."""
        self._node("GlobalAveragePool", [x[0]], "pool")
        self._node("Flatten", ["pool"], "features", axis=1)
        values = self._random((CLASSES, x[1]), LINEAR)
        inputs = ["features", self._constant("fc.weight", values), self._bias("fc", CLASSES)]
        self._node("Gemm", inputs, "logits", transB=1)

    def model(self, name):
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, IMAGE)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, CLASSES))],
            self.constants.values(),
        )
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)

    def _random(self, shape, gain):
        deviation = np.sqrt(gain / np.prod(shape[1:]))
        return self.rng.normal(0, deviation, shape).astype(np.float32)

    def _bias(self, name, size):
        return self._constant(f"{name}.bias", self.rng.normal(0, 0.1, size).astype(np.float32))

    def _constant(self, name, value):
        self.constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def _node(self, op, inputs, name, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))


def mobilenetv1(net):
    """MobileNetV1 1.0/224: depthwise separable convolutions."""
    x = net.relu6(net.conv(("input", 3), "conv0", 32, 3, stride=2, prunable=False))
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    blocks += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    for index, (out, stride) in enumerate(blocks, 1):
        depthwise = net.conv(x, f"dw{index}", x[1], 3, stride, groups=x[1], prunable=False)
        x = net.relu6(net.conv(net.relu6(depthwise), f"pw{index}", out, 1))
    net.classifier(x)


def resnet50(net):
    """ResNet-50 v1.5: the stride is in the 3x3 convolution of a block."""
    x = net.relu(net.conv(("input", 3), "conv1", 64, 7, stride=2, prunable=False))
    x = net.max_pool(x, "maxpool")
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], 1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            x = bottleneck(net, x, f"layer{stage}.{block}", width, stride)
    net.classifier(x)


def bottleneck(net, x, name, width, stride):
    out = 4 * width
    shortcut = x
    if x[1] != out:
        shortcut = net.conv(x, f"{name}.downsample", out, 1, stride, gain=LINEAR)
    y = net.relu(net.conv(x, f"{name}.conv1", width, 1))
    y = net.relu(net.conv(y, f"{name}.conv2", width, 3, stride))
    y = net.conv(y, f"{name}.conv3", out, 1, gain=RESIDUAL)
    return net.relu(net.add(y, shortcut, f"{name}.add"))


RANDOM = {"mobilenetv1": mobilenetv1, "resnet50": resnet50}
STORED = ("resnet56", "resnet8", "dscnn_kws", "vww_96", "ad01")
NETWORKS = (*RANDOM, *STORED)


def stored(network, weights):
    """A network of the tests, for one sample, with its weights pruned where blocks divide them."""
    model = onnx.load(TEST_MODELS / f"{network}.onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    constants = {constant.name: constant for constant in model.graph.initializer}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    for node in layers[1:-1]:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if attributes.get("group", 1) > 1:
            continue
        constant = constants[node.input[1]]
        values = numpy_helper.to_array(constant)
        # Outputs first, as in convolutions.
        transposed = node.op_type == "Gemm" and not attributes.get("transB", 0)
        values = values.T if transposed else values
        rows, cols = block_shape(weights.pattern)
        if values.shape[0] % rows or values.shape[1] % cols:
            continue
        values = weights.apply(values)
        values = np.ascontiguousarray(values.T if transposed else values)
        constant.CopyFrom(numpy_helper.from_array(values, constant.name))
    return model


def input_shape(path):
    """The shape of a network's input."""
    (value,) = onnx.load(path, load_external_data=False).graph.input
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def write(network, weights, folder):
    """Builds, checks and runs one model; returns its path, which says all that is in it."""
    path = folder / f"{network}-{weights}.onnx"
    if network in STORED:
        onnx.save(stored(network, weights), path)
        return path
    net = Builder(weights)
    RANDOM[network](net)
    model = net.model(path.stem)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    check_outputs(path)
    return path


def check_outputs(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(SEED).normal(size=IMAGE).astype(np.float32)
    (logits,) = session.run(None, {"input": image})
    deviation = float(logits.std())
    if not 1e-2 < deviation < 1e2:
        raise ValueError(f"{path}: outputs are not sane, their deviation is {deviation}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+", choices=NETWORKS)
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.0], help="0 is dense")
    parser.add_argument("--pattern", default=UNSTRUCTURED, help="unstructured or RxC")
    parser.add_argument("-o", "--output", type=Path, default=Path("."), help="folder")
    args = parser.parse_args()
    if not all(0 <= sparsity < 1 for sparsity in args.sparsity):
        parser.error("a sparsity is at least 0 and below 1")
    args.output.mkdir(parents=True, exist_ok=True)
    for network in args.networks:
        for sparsity in args.sparsity:
            print(write(network, Weights(sparsity, args.pattern), args.output))


if __name__ == "__main__":
    main()
