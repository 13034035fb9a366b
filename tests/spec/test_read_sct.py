#!/usr/bin/env python3
"""Tests of the independent reader `read_sct.py`.

    python3 test_read_sct.py [GOLDEN_DIR]

compares every golden file with its JSON, checks that no damaged byte and no truncation
is accepted, and that files whose checksums are right but which break a rule of SPEC.md
are rejected for that rule. Exit code 1 if a test fails.
"""

import copy
import json
import pathlib
import random
import struct
import sys

import read_sct
from read_sct import DATA, GRAPH, INFO, NAMES, PLAN, PREPROCESS, TENSORS, SctError

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN_DIR = HERE / "../../format/tests/golden"
DENSE, CSR16, WIN8, BITMASK, NM, BLOCK_CSR16, BLOCK_WIN8 = range(7)
F32, F16, BF16, I8 = range(4)


# --- A minimal writer, so that every field can be set wrongly --------------------------

def pack(code, *numbers):
    return struct.pack(f"<{len(numbers)}{code}", *numbers)


def shape(*dims):
    return pack("I", len(dims), *dims, *[1] * (4 - len(dims)))


def node(code, inputs, attributes=b"", activation=0):
    ids = pack("H", *inputs) + bytes(len(inputs) % 2 * 2)
    words = 1 + len(ids + attributes) // 4
    return pack("B", code, activation, len(inputs), words) + ids + attributes


def conv2d(inputs, weight, out_channels, groups=1, kernel=(1, 1), stride=(1, 1),
           dilation=(1, 1), pads=(0, 0, 0, 0)):
    return node(1, inputs, pack("H", weight, 0xFFFF) + pack("I", out_channels, groups)
                + pack("H", *kernel, *stride, *dilation, *pads))


def linear(inputs, weight, out_features, bias=0xFFFF, **more):
    return node(2, inputs, pack("H", weight, bias) + pack("I", out_features), **more)


def pool(kernel_and_stride, pads=(0, 0, 0, 0), kind=0):
    return node(7, [0], pack("I", kind) + pack("H", *kernel_and_stride, *pads))


def slice_(start, end, step, other_step=1):
    """A slice along the first axis of a vector."""
    return node(11, [0], pack("I", start, 0, 0, 0, end, 1, 1, 1, step, 1, 1, other_step))


def container(sections, required=0, optional=0, minor=0):
    """§3: a file of `(kind, flags, content)`, with the right layout and checksums."""
    table, body, end = b"", b"", 64 + 32 * len(sections)
    start = end
    for kind, flags, content in sections:
        body += bytes(-end % 64) + content
        end = start + len(body)
        table += pack("I", kind, flags) + pack("Q", end - len(content), len(content))
        table += pack("I", read_sct.crc32c(content), 0)
    body += bytes(-end % 64 + 64)
    head = (read_sct.MAGIC + pack("H", 1, minor) + pack("I", 64)
            + pack("Q", start + len(body)) + pack("I", len(sections), required, optional))
    return sealed(head + bytes(28) + table + body)


def sealed(data):
    """The file with the header's checksum made right."""
    end = 64 + 32 * struct.unpack_from("<I", data, 24)[0]
    crc = read_sct.crc32c(data[:36] + bytes(4) + data[40:end])
    return data[:36] + pack("I", crc) + data[40:]


def split(data):
    """The sections `[kind, flags, content]` of a right file."""
    result = []
    for i in range(struct.unpack_from("<I", data, 24)[0]):
        kind, flags, offset, length = struct.unpack_from("<IIQQ", data, 64 + 32 * i)
        result.append([kind, flags, data[offset:offset + length]])
    return result


def versions(data):
    """`required` and `optional` bits and minor version, as `container` takes them."""
    return *struct.unpack_from("<II", data, 28), struct.unpack_from("<H", data, 10)[0]


class Model:
    """The parts of a small model: x [8] → linear, `y` = W · x, [2] → relu, in place."""

    def __init__(self):
        self.inputs = 1
        self.shapes = [shape(8), shape(2), shape(2)]
        self.outputs = [2]
        self.nodes = [linear([0], 0, 2), node(3, [1], activation=1)]
        self.tensors = [[DENSE, F16, 0, 0, 2, 8, 16, EXAMPLES["dense"][4]]]
        self.arena, self.align = 40, 4
        self.values = [(0, 0), (32, 1), (32, 2)]
        self.scratch = [(0, 0), (0, 0)]
        self.required = self.optional = self.minor = 0
        self.extra = []

    def weight(self, code, value_type, p0, p1, stored, payload, rows=2, cols=8):
        self.tensors[0] = [code, value_type, p0, p1, rows, cols, stored, payload]

    def sections(self):
        records = b"".join(self.nodes)
        graph = (pack("I", self.inputs, len(self.nodes), len(self.outputs), len(records))
                 + b"".join(self.shapes) + pack("H", *self.outputs)
                 + bytes(len(self.outputs) % 2 * 2) + records)
        tensors, data = pack("I", len(self.tensors), 0), b""
        for *bytes4, rows, cols, stored, payload in self.tensors:
            data += bytes(-len(data) % 16)
            tensors += pack("B", *bytes4) + pack("I", rows, cols, stored)
            tensors += pack("Q", len(data), len(payload))
            data += payload
        plan = pack("I", self.arena, self.align)
        plan += b"".join(pack("I", *pair) for pair in self.values + self.scratch)
        return [(GRAPH, 0, graph), (TENSORS, 0, tensors), (PLAN, 0, plan),
                (DATA, 0, data)] + self.extra

    def file(self):
        return container(self.sections(), self.required, self.optional, self.minor)


def conv_model():
    """x [1, 2, 2] → conv2d 1 → 1 with a 3 × 3 kernel, pads 1 and scratch memory."""
    m = Model()
    m.shapes = [shape(1, 2, 2), shape(1, 2, 2)]
    m.outputs, m.nodes = [1], [conv2d([0], 0, 1, kernel=(3, 3), pads=(1, 1, 1, 1))]
    m.weight(DENSE, F32, 0, 0, 9, pack("f", *range(9)), rows=1, cols=9)
    m.arena, m.values, m.scratch = 32 + 100, [(0, 0), (16, 1)], [(32, 100)]
    return m


def pointwise_model(stride=1, scratch=0):
    """x [1, 4, 4] → conv2d with a 1 × 1 kernel: no table of offsets."""
    m, extent = conv_model(), 4 // stride
    m.shapes = [shape(1, 4, 4), shape(1, extent, extent)]
    m.nodes = [conv2d([0], 0, 1, stride=(stride, stride))]
    m.weight(DENSE, F32, 0, 0, 1, pack("f", 1), rows=1, cols=1)
    m.values = [(0, 0), (64, 1)]
    end = 64 + 4 * extent * extent
    m.scratch, m.arena = [(end if scratch else 0, scratch)], end + scratch
    return m


def preprocess(scale, mean, std):
    """The section for the small model, whose input has 8 channels."""
    return section(PREPROCESS, pack("f", scale) + pack("H", len(mean), len(std))
                   + pack("f", *mean, *std))


def two_inputs_with(means):
    """Channels: 2 of input 0, 3 of input 1."""
    numbers = pack("f", 1) + pack("H", means, 0) + pack("f", *[1] * means)
    return changed(two_inputs(), extra=[(PREPROCESS, 1, numbers)])


def one_node(record, before, after):
    """A model of one node without constants, between two values of the given shapes."""
    m = Model()
    m.shapes, m.nodes, m.outputs, m.tensors = [shape(*before), shape(*after)], [record], [1], []
    sizes = [4 * read_sct.math.prod(s) for s in (before, after)]
    m.arena, m.values, m.scratch = sum(sizes), [(0, 0), (sizes[0], 1)], [(0, 0)]
    return m


# --- The examples of §7: encoding, p0, p1, stored, payload ------------------------------

H = bytes.fromhex
EXAMPLES = {
    "dense": (DENSE, 0, 0, 16, H("0000003C000000000000000000400042"
                                 "00BC0000000000000000000000000000")),
    "csr16": (CSR16, 0, 0, 4, H("000000000300000004000000 003C0040004200BC 0100060007000000")),
    "win8": (WIN8, 0, 0, 4, H("03000100 003C0040004200BC 01060700")),
    "bitmask": (BITMASK, 0, 0, 4, H("000000000300000004000000 003C0040004200BC C2010000")),
    "nm2:4": (NM, 2, 4, 8, H("0000003C00400042 00BC000000000000 E4440000")),
    "block2x2/csr16": (BLOCK_CSR16, 2, 2, 8, H("0000000002000000 0000003C00BC0000"
                                               "0040004200000000 00000300")),
    "block2x2/win8": (BLOCK_WIN8, 2, 2, 8, H("02000000 0000003C00BC0000"
                                             "0040004200000000 00030000")),
}
EXAMPLE_WEIGHTS = [0, 1, 0, 0, 0, 0, 2, 3, -1, 0, 0, 0, 0, 0, 0, 0]
I8_PAYLOAD = H("0000803F0000003F 02000100 7FC07F00 00010100")


def with_payload(encoding, old="", new="", **entry):
    """The model with the example's weights, hex `old` of the payload replaced once."""
    m, (code, p0, p1, stored, payload) = Model(), EXAMPLES[encoding]
    assert payload.hex().count(old.lower()) >= 1
    payload = H(payload.hex().replace(old.lower(), new, 1))
    m.weight(code, F16, entry.get("p0", p0), entry.get("p1", p1),
             entry.get("stored", stored), payload)
    return m


def changed(m, **fields):
    for name, value in fields.items():
        setattr(m, name, value)
    return m


def i8_model(payload=I8_PAYLOAD, required=1):
    m = changed(Model(), required=required, shapes=[shape(3), shape(2), shape(2)], arena=20,
                values=[(0, 0), (12, 1), (12, 2)])
    m.weight(WIN8, I8, 0, 0, 3, payload, cols=3)
    return m


def two_inputs():
    """Inputs [2] and [3, 5] → relu of the first."""
    return changed(Model(), inputs=2, shapes=[shape(2), shape(3, 5), shape(2)], tensors=[],
                   nodes=[node(3, [0], activation=1)], values=[(0, 0), (8, 0), (68, 1)],
                   scratch=[(0, 0)], arena=76)


def with_bias(code, value_type, rows, cols, stored, payload):
    m = changed(Model(), nodes=[linear([0], 0, 2, bias=1), node(3, [1], activation=1)])
    m.tensors.append([code, value_type, 0, 0, rows, cols, stored, payload])
    return m


def leaky(slope):
    slope = pack("f", slope)
    return changed(Model(), nodes=[linear([0], 0, 2), node(3, [1], slope, activation=3)])


def text(*strings):
    return b"".join(pack("H", len(s)) + s for s in strings)


def section(kind, content, flags=1):
    return changed(Model(), extra=[(kind, flags, content)])


def edited(kind, at, code, *numbers):
    """The small model's file with numbers of one section overwritten."""
    sections = [list(s) for s in Model().sections()]
    content, new = next(s for s in sections if s[0] == kind)[2], pack(code, *numbers)
    sections[kind - 1][2] = content[:at] + new + content[at + len(new):]
    return container(sections)


def longer(kind):
    return container([(k, f, c + bytes(4 * (k == kind))) for k, f, c in Model().sections()])


def flipped(data, at, mask):
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1:]


def with_tensor(*entry):
    return changed(Model(), tensors=[entry])


def header(at, code, number):
    data, new = Model().file(), pack(code, number)
    return sealed(data[:at] + new + data[at + len(new):])


def edited_gap():
    """A right file but for one of the bytes between two payloads."""
    m = with_bias(DENSE, F32, 1, 2, 2, bytes(8))
    m.weight(CSR16, F16, 0, 0, 4, EXAMPLES["csr16"][4])
    sections = m.sections()
    sections[3] = (DATA, 0, flipped(sections[3][2], 28, 1))
    return container(sections)


NAN = float("nan")
ACCEPTED = {
    "small model": Model(), "convolution": conv_model(), "i8": i8_model(),
    "minor version": changed(Model(), minor=7),
    "optional bits": changed(Model(), optional=0x80000000),
    "two inputs": two_inputs(),
    "unneeded required bit": changed(Model(), required=1),
    "unknown section, may be ignored": section(99, b"abc"),
    "known section with the other flag": section(INFO, b"", flags=0),
    "no scratch": changed(conv_model(), scratch=[(0, 0)], arena=32),
    "last_use after the last use": changed(Model(), values=[(0, 1), (32, 1), (32, 2)]),
    "in place over a graph input": changed(one_node(node(3, [0]), (2,), (2,)), arena=8,
                                           values=[(0, 0), (0, 1)]),
    "1 × 1 kernel": pointwise_model(),
    "1 × 1 kernel with stride": pointwise_model(2, 16),
    "1 × 1 kernel, nothing granted": pointwise_model(2),
    "pad by −∞": one_node(node(10, [0], pack("H", 1, *[0] * 7) + pack("f", -read_sct.math.inf)),
                          (2,), (3,)),
    "slice": one_node(slice_(0, 3, 2), (4,), (2,)),
    "two unknown sections": changed(Model(), minor=9, extra=[(99, 1, b"a"), (2 ** 32 - 1, 1, b"")]),
    "names": section(NAMES, text(b"", b"\0", b"\0")),
    "info": section(INFO, text(b"k", b"", b"k", b"")),
    "preprocess": preprocess(-2, [0], [-1]),
    "preprocess without lists": preprocess(1, [], []),
    "preprocess of each channel": preprocess(1, [0] * 8, [1] * 8),
    "preprocess of input 0": two_inputs_with(2),
    "last window cut": one_node(pool([2, 2, 2, 2]), (1, 5, 5), (1, 2, 2)),
    "weights that are not finite": with_payload("csr16", "003C", "007e"),
    "dense bias": with_bias(DENSE, F32, 1, 2, 2, pack("f", 1, 2)),
}
REJECTED = {  # name: (model or file, part of the message)
    # §2, §3
    "magic": (header(0, "B", 0x88), "magic"),
    "major version": (header(8, "H", 2), "major version"),
    "header length": (header(12, "I", 96), "header length"),
    "file length": (header(16, "Q", 1), "file has"),
    "section count": (header(24, "I", 5), "section"),
    "huge section count": (Model().file()[:24] + b"\xff" * 4 + Model().file()[28:], "table ends"),
    "required bits": (changed(Model(), required=2), "required"),
    "reserved header": (header(63, "B", 1), "reserved"),
    "reserved flag": (section(99, b"", flags=3), "reserved"),
    "reserved table field": (header(64 + 28, "I", 1), "reserved"),
    "section checksum": (header(64 + 24, "I", 1), "checksum"),
    "section outside": (header(64 + 3 * 32 + 16, "Q", 2 ** 63), "ends outside"),
    "section offset": (header(64 + 8, "Q", 256), "layout"),
    "shorter than a header": (b"\x89SCT", "shorter"),
    "header checksum": (flipped(Model().file(), 36, 1), "checksum"),
    "gap not zero": (flipped(Model().file(), 300, 1), "in front of it"),
    "tail not zero": (Model().file()[:-1] + b"\1", "tail"),
    "unknown section": (section(99, b"", flags=0), "unknown kind"),
    "reserved flag of a later version": (
        changed(Model(), minor=9, extra=[(99, 5, b"")]), "reserved"),
    "reserved header of a later version": (sealed(
        changed(Model(), minor=9).file()[:40] + b"\1" + Model().file()[41:]), "reserved"),
    "order": (container(Model().sections()[::-1]), "ascend"),
    "repeated kind": (container([(GRAPH, 0, b"")] + Model().sections()), "ascend"),
    "kind 0": (container([(0, 1, b"")] + Model().sections()), "ascend"),
    "longer tail": (header(16, "Q", len(Model().file()) + 64) + bytes(64), "file length"),
    # §4
    "no inputs": (edited(GRAPH, 0, "I", 0), "no inputs"),
    "no nodes": (edited(GRAPH, 4, "I", 0), "no inputs, nodes"),
    "too many values": (edited(GRAPH, 0, "I", 65534), "too many values"),
    "nodes_len": (edited(GRAPH, 12, "I", 4), "nodes_len"),
    "rank 0": (edited(GRAPH, 16, "I", 0), "rank"),
    "rank 5": (edited(GRAPH, 16, "I", 5), "rank"),
    "dimension past the rank": (edited(GRAPH, 24, "I", 2), "past the rank"),
    "dimension 0": (edited(GRAPH, 20, "I", 0), "empty or too large"),
    "2^30 elements": (edited(GRAPH, 20, "I", 2 ** 30), "empty or too large"),
    "output id": (changed(Model(), outputs=[3]), "output id"),
    "padding of the outputs": (edited(GRAPH, 16 + 3 * 20 + 2, "H", 1), "padding"),
    # §5
    "operator 13": (changed(Model(), nodes=[linear([0], 0, 2), node(13, [1])]), "unknown operator"),
    "activation 9": (changed(Model(), nodes=[linear([0], 0, 2), node(3, [1], activation=9)]),
                     "unknown activation"),
    "activation of mul": (one_node(node(5, [0, 0], activation=1), (2,), (2,)), "no activation"),
    "inputs of add": (one_node(node(4, [0]), (2,), (2,)), "inputs"),
    "inputs of concat": (one_node(node(6, [0] * 9, pack("I", 0)), (2,), (18,)), "inputs"),
    "value too early": (changed(Model(), nodes=[linear([1], 0, 2), node(3, [1])]), "not exist yet"),
    "empty record": (edited(GRAPH, 16 + 3 * 20 + 4 + 3, "B", 0), "shorter than its head"),
    "slope": (leaky(NAN), "finite"),
    "longer record": (changed(Model(), nodes=[linear([0], 0, 2), node(3, [1], bytes(4))]),
                      "too many"),
    "weight id": (changed(Model(), nodes=[linear([0], 1, 2), node(3, [1])]), "weight id"),
    "bias id": (changed(Model(), nodes=[linear([0], 0, 2, bias=1), node(3, [1])]), "bias id"),
    "bias in f16": (with_bias(DENSE, F16, 1, 2, 2, bytes(4)), "dense f32"),
    "bias not dense": (with_bias(BITMASK, F32, 1, 2, 0, bytes(12)), "dense f32"),
    "bias length": (with_bias(DENSE, F32, 1, 3, 3, bytes(12)), "bias has"),
    "shape": (changed(Model(), shapes=[shape(8), shape(2), shape(2, 1)]), "shape is"),
    "weight dimensions": (changed(Model(), shapes=[shape(7), shape(2), shape(2)]), "weight is"),
    "groups": (changed(conv_model(), nodes=[conv2d([0], 0, 1, groups=2)]), "groups"),
    "stride 0": (changed(conv_model(), nodes=[conv2d([0], 0, 1, stride=(0, 1))]), "is 0"),
    "window too large": (changed(conv_model(), nodes=[conv2d([0], 0, 1, kernel=(3, 3))]), "window"),
    "rank of conv2d": (one_node(conv2d([0], 0, 1), (2, 2), (2, 2)), "rank"),
    "pool kind": (one_node(pool([1, 1, 1, 1], kind=3), (1, 2, 2), (1, 2, 2)), "pool kind"),
    "pad of pool": (one_node(pool([1, 1, 1, 1], pads=[1, 0, 0, 0]), (1, 2, 2), (1, 3, 2)),
                    "less than the kernel"),
    "packed input": (changed(conv_model(), nodes=[conv2d([0], 0, 1, pads=[65535] * 4)]), "packed"),
    "shapes of add": (changed(Model(), shapes=[shape(8), shape(2), shape(2)], nodes=[
        linear([0], 0, 2), node(4, [0, 1])]), "inputs differ"),
    "shapes of concat": (changed(Model(), shapes=[shape(8), shape(2), shape(16, 2)], nodes=[
        linear([0], 0, 2), node(6, [0, 1], pack("I", 1))]), "axis"),
    "ranks of concat": (changed(two_inputs(), nodes=[node(6, [0, 1], pack("I", 0))]), "agree"),
    "softmax axis": (one_node(node(12, [0], pack("I", 1)), (2,), (2,)), "axis"),
    "concat axis": (one_node(node(6, [0], pack("I", 1)), (2,), (2,)), "axis"),
    "reshape": (one_node(node(9, [0], shape(3)), (2,), (3,)), "number of elements"),
    "pad past the rank": (one_node(node(10, [0], pack("H", 0, 1, *[0] * 6) + bytes(4)), (2,), (2,)),
                          "past the rank"),
    "slice": (one_node(slice_(0, 3, 1), (2,), (3,)), "slice"),
    "slice step 0": (one_node(slice_(0, 2, 0), (2,), (2,)), "slice"),
    "slice step past the rank": (one_node(slice_(0, 2, 1, 2), (2,), (2,)), "past the rank"),
    "slice shape": (one_node(slice_(0, 3, 2), (4,), (1,)), "shape is"),
    # §6, §7, §9
    "tensors reserved": (edited(TENSORS, 4, "I", 1), "reserved"),
    "too many tensors": (edited(TENSORS, 0, "I", 65536), "too many"),
    "gap between payloads": (edited_gap(), "before the payload"),
    "encoding 7": (edited(TENSORS, 8, "B", 7), "unknown encoding"),
    "value type 4": (edited(TENSORS, 9, "B", 4), "unknown value type"),
    "parameter of dense": (edited(TENSORS, 10, "B", 1), "parameters"),
    "rows 0": (edited(TENSORS, 12, "I", 0), "no rows"),
    "stored above": (edited(TENSORS, 20, "I", 17), "stores more"),
    "dense stored": (edited(TENSORS, 20, "I", 15), "stored is not"),
    "payload offset": (edited(TENSORS, 24, "Q", 16), "offset"),
    "payload outside": (edited(TENSORS, 32, "Q", 36), "ends outside"),
    "payload too short": (edited(TENSORS, 32, "Q", 28), "ends before"),
    "payload too long": (with_payload("csr16", "07000000", "0700000000000000"), "too many"),
    "i8 without its bit": (i8_model(required=0), "required bit"),
    "i8 scale": (i8_model(pack("f", NAN) + I8_PAYLOAD[4:]), "scale"),
    "payload padding": (i8_model(I8_PAYLOAD[:15] + b"\1" + I8_PAYLOAD[16:]), "padding"),
    "csr16 row_start begins": (with_payload("csr16", "0000000003", "0100000003"), "row_start"),
    "csr16 row_start descends": (with_payload("csr16", "0300000004", "0500000004"), "descends"),
    "csr16 stored": (with_payload("csr16", stored=3), "row_start"),
    "csr16 columns unsorted": (with_payload("csr16", "01000600", "06000100"), "ascend"),
    "csr16 column twice": (with_payload("csr16", "01000600", "06000600"), "ascend"),
    "csr16 column": (with_payload("csr16", "060007", "060008"), "out of range"),
    "csr16 width": (with_tensor(CSR16, F16, 0, 0, 1, 65537, 0, bytes(8)), "too many columns"),
    "win8 counts": (with_payload("win8", "03000100", "03000200"), "counts"),
    "win8 columns unsorted": (with_payload("win8", "010607", "060107"), "ascend"),
    "win8 column": (with_payload("win8", "010607", "010608"), "out of range"),
    "bitmask": (with_payload("bitmask", "c201", "c203"), "mask"),
    "bitmask unused bit": (with_tensor(BITMASK, F16, 0, 0, 1, 3, 1, H(
        "0000000001000000 003C0000 08000000")), "unused mask bit"),
    "nm unused bit": (with_tensor(NM, F16, 1, 2, 1, 2, 1, H("003C0000 02000000")),
                      "unused position"),
    "nm parameters": (with_payload("nm2:4", p0=4), "n and m"),
    "nm m": (with_payload("nm2:4", p1=3), "n and m"),
    "nm stored": (with_payload("nm2:4", stored=7), "stored is not"),
    "nm positions": (with_payload("nm2:4", "e444", "e144"), "ascend"),
    "block extents": (with_payload("block2x2/csr16", p0=3), "block extents"),
    "block 1 × 1": (with_payload("block2x2/csr16", p0=1, p1=1), "block extents"),
    "block divides": (with_payload("block2x2/csr16", p0=4), "do not divide"),
    "block column": (with_payload("block2x2/csr16", "00000300", "00000400"), "out of range"),
    "block columns unsorted": (with_payload("block2x2/win8", "00030000", "03000000"), "ascend"),
    "longer graph": (longer(GRAPH), "nodes_len"), "longer tensors": (longer(TENSORS), "too many"),
    "longer plan": (longer(PLAN), "too many"), "longer data": (longer(DATA), "last payload"),
    # §8
    "align": (changed(Model(), align=2), "align"),
    "offset not aligned": (changed(Model(), align=64), "not aligned"),
    "arena too small": (changed(Model(), arena=36), "beyond the arena"),
    "arena too large": (changed(Model(), arena=44), "largest end"),
    "arena not a multiple of 4": (changed(Model(), arena=41), "multiple of 4"),
    "last_use too early": (changed(Model(), values=[(0, 0), (32, 0), (32, 2)]), "before node 1"),
    "last_use too late": (changed(Model(), values=[(0, 3), (32, 1), (32, 2)]), "out of range"),
    "output dies": (changed(Model(), values=[(0, 0), (32, 1), (32, 1)]), "dies too early"),
    "overlap": (changed(Model(), values=[(0, 0), (28, 1), (28, 2)], arena=36), "overlaps"),
    "not in place": (changed(Model(), values=[(0, 0), (32, 1), (36, 2)], arena=44), "overlaps"),
    "in place, input lives on": (changed(Model(), values=[(0, 0), (32, 2), (32, 2)]), "overlaps"),
    "scratch overlaps": (changed(conv_model(), scratch=[(28, 100)], arena=128), "living"),
    "scratch size": (changed(conv_model(), scratch=[(32, 96)], arena=128), "bytes, not"),
    "scratch offset": (changed(conv_model(), scratch=[(32, 0)], arena=32), "offset is not 0"),
    "scratch of a 1 × 1 kernel": (pointwise_model(1, 4), "bytes, not"),
    "scratch of a 1 × 1 kernel with stride": (pointwise_model(2, 20), "bytes, not"),
    "scratch of linear": (changed(Model(), scratch=[(40, 4), (0, 0)], arena=44), "bytes, not"),
    # §10
    "too few names": (section(NAMES, text(b"x", b"y")), "ends before"),
    "too many names": (section(NAMES, text(b"x", b"y", b"z", b"")), "too many"),
    "name not UTF-8": (section(NAMES, text(b"x", b"\xff", b"z")), "UTF-8"),
    "info key alone": (section(INFO, text(b"key")), "ends before"),
    "preprocess scale": (preprocess(NAN, [], []), "finite"),
    "preprocess scale 0": (preprocess(-0.0, [], []), "scale is 0"),
    "preprocess mean": (preprocess(1, [NAN], []), "finite"),
    "preprocess std": (preprocess(1, [], [read_sct.math.inf]), "finite"),
    "preprocess std 0": (preprocess(1, [], [-0.0]), "std"),
    "preprocess list of 2": (preprocess(1, [0, 0], []), "channels"),
    "preprocess list of 9": (preprocess(1, [], [1] * 9), "channels"),
    "preprocess of input 1": (two_inputs_with(3), "channels"),
    "preprocess longer": (section(PREPROCESS, pack("f", 1) + bytes(8)), "too many"),
}


# --- The tests --------------------------------------------------------------------------

class Tests:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, ok, name, text=""):
        self.passed += bool(ok)
        self.failed += not ok
        if not ok:
            print(f"FAILED {name}: {text}")

    def rejects(self, name, data, fragment=""):
        """One test: reading raises SctError, and the message has the fragment."""
        self.check(*self.outcome(name, data, fragment))

    @staticmethod
    def outcome(name, data, fragment=""):
        try:
            read_sct.read(data)
        except SctError as error:
            return fragment in str(error), name, f"other reason: {error}"
        except Exception as error:  # pylint: disable=broad-except
            return False, name, f"raised {error!r}"
        return False, name, "was accepted"

    def all_rejected(self, name, files):
        """One test for many files."""
        bad = [o for o in (self.outcome(i, data) for i, data in files) if not o[0]]
        self.check(not bad, name, f"{len(bad)} of them, first: {bad[:1]}")


def file_of(model):
    return model if isinstance(model, bytes) else model.file()


def f32_bits(weights):
    return struct.pack(f"<{len(weights)}f", *weights)


def same_content(content, expected):
    """Equal, and the weights bit by bit (so that 0 and −0 differ)."""
    return content == expected and all(
        f32_bits(a["weights"]) == f32_bits(b["weights"])
        for a, b in zip(content["tensors"], expected["tensors"]))


def test_basics(tests):
    tests.check(read_sct.crc32c(b"123456789") == 0xE3069283, "CRC-32C of digits")
    tests.check(read_sct.crc32c(bytes(32)) == 0x8A9136AA, "CRC-32C of zeros")
    for name in EXAMPLES:
        model = read_sct.read(with_payload(name).file())
        tensor = read_sct.content(model)["tensors"][0]
        tests.check((tensor["encoding"], tensor["weights"]) == (name, EXAMPLE_WEIGHTS), name)
    positions = [0, 3, 1, 7, 2, 5]  # of 3 bits, so that some lie in two bytes
    word = sum(position << 3 * i for i, position in enumerate(positions))
    model = changed(Model(), shapes=[shape(24), shape(1), shape(1)], nodes=[
        linear([0], 0, 1), node(3, [1])], values=[(0, 0), (96, 1), (96, 2)], arena=100)
    model.tensors = [[NM, F32, 2, 8, 1, 24, 6, pack("f", *range(1, 7)) + pack("I", word)]]
    weights = read_sct.content(read_sct.read(model.file()))["tensors"][0]["weights"]
    where = [8 * (i // 2) + position for i, position in enumerate(positions)]
    tests.check([weights[at] for at in where] == [*range(1, 7)] and sum(weights) == 21,
                "nm2:8", weights)
    weights = read_sct.content(read_sct.read(i8_model().file()))["tensors"][0]["weights"]
    tests.check(weights == [127, -64, 0, 0, 63.5, 0], "i8 example", weights)


def test_rules(tests):
    for name, model in ACCEPTED.items():
        try:
            read_sct.read(file_of(model))
            tests.check(True, name)
        except SctError as error:
            tests.check(False, f"accept {name}", error)
    for name, (model, fragment) in REJECTED.items():
        tests.rejects(f"reject {name}", file_of(model), fragment)
    sections = Model().sections()
    for i in range(4):
        tests.rejects(f"missing section {i + 1}", container(sections[:i] + sections[i + 1:]),
                      "is missing")
    for name in ("file_length", "sections", "values", "tensors", "arena_bytes"):
        try:
            read_sct.read(Model().file(), {name: 0})
            tests.check(False, f"limit {name}", "was ignored")
        except SctError as error:
            tests.check("limits" in str(error), f"limit {name}", error)


def test_golden(tests, path):
    data = path.read_bytes()
    expected = json.loads(path.with_suffix(".json").read_text("utf-8"))
    try:
        content = read_sct.content(read_sct.read(data))
        different = [key for key in expected if content.get(key) != expected[key]]
        tests.check(same_content(content, expected), path.name, f"differs in {different}")
    except SctError as error:
        tests.check(False, path.name, error)
        return
    tests.check(container(split(data), *versions(data)) == data,
                f"{path.name}: the layout is the only one")
    tests.all_rejected(f"{path.name}: each byte damaged",
                       ((at, flipped(data, at, 1 + at % 255)) for at in range(len(data))))
    tests.all_rejected(f"{path.name}: truncated", ((n, data[:n]) for n in range(len(data))))
    tests.all_rejected(f"{path.name}: truncated, length and checksum right", (
        (n, sealed(data[:16] + pack("Q", n) + data[24:n])) for n in range(512, len(data), 4)))
    test_resealed(tests, path.name, data)


def test_resealed(tests, name, data):
    """Damage behind right checksums: accepted or SctError, but nothing else."""
    numbers, sections, failures = random.Random(1), split(data), []
    places = [(i, at) for i, s in enumerate(sections) for at in range(len(s[2]))]
    for i, at in places:
        damaged = copy.deepcopy(sections)
        damaged[i][2] = flipped(damaged[i][2], at, numbers.randrange(1, 256))
        try:
            read_sct.read(container(damaged, *versions(data)))
        except SctError:
            pass
        except Exception as error:  # pylint: disable=broad-except
            failures.append((i, at, repr(error)))
    tests.check(not failures, f"{name}: damaged behind right checksums", failures[:3])


def main(arguments):
    tests = Tests()
    folder = pathlib.Path(arguments[0]) if arguments else GOLDEN_DIR
    test_basics(tests)
    test_rules(tests)
    golden = sorted(folder.glob("*.sct"))
    tests.check(golden, "golden files", f"none in {folder}")
    for path in golden:
        test_golden(tests, path)
    print(f"{tests.passed} passed, {tests.failed} failed")
    return 1 if tests.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
