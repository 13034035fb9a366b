#!/usr/bin/env python3
"""An independent reader of `.sct` files, written from SPEC.md alone.

It shares no code with the project's own reader: that both agree shows that the
specification is sufficient. Standard library only, made for clarity, not for speed.

    python3 read_sct.py FILE.sct      prints the content as JSON

`read(data)` checks a whole file and returns its content, or raises `SctError`, whose text
names the place and the broken rule; `content` turns the result into the JSON form of §14.
Section numbers in this file are those of SPEC.md.
"""

import json
import math
import struct
import sys
from collections import namedtuple

MAGIC = b"\x89SCT\r\n\x1a\n"
GRAPH, TENSORS, PLAN, DATA, NAMES, PREPROCESS, INFO = range(1, 8)
TUNING = 17
SECTIONS = {GRAPH: "graph", TENSORS: "tensors", PLAN: "plan", DATA: "data",
            NAMES: "names", PREPROCESS: "preprocess", INFO: "info", TUNING: "tuning"}
REQUIRED_SECTIONS = (GRAPH, TENSORS, PLAN, DATA)
MAY_IGNORE = 1
FEATURE_I8 = 1
KNOWN_FEATURES = FEATURE_I8
MAX_IDS = 65535
MAX_ELEMENTS = 2 ** 30
NO_BIAS = 0xFFFF
LEAKY_RELU = 3

ACTIVATIONS = ["identity", "relu", "relu6", "leaky_relu", "gelu", "silu", "sigmoid",
               "tanh", "hard_swish"]
POOLS = ["max", "average", "average_with_padding"]
VALUE_TYPES = ["f32", "f16", "bf16", "i8"]
WITH_ACTIVATION = ("conv2d", "linear", "activation", "add")
IN_PLACE = ("activation", "add", "mul", "reshape", "softmax")


class SctError(Exception):
    """The file breaks the specification; nothing of it may be used."""


def check(condition, where, text):
    """Reject the file unless the condition holds."""
    if not condition:
        raise SctError(f"{where}: {text}")


# --- §1 Conventions ------------------------------------------------------------------

def ceil_div(a, b):
    return -(-a // b)


def pad(n, a):
    return ceil_div(n, a) * a


def crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = crc_table()


def crc32c(data):
    """CRC-32C (Castagnoli)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def to_f32(x):
    """The number rounded to binary32."""
    try:
        return struct.unpack("<f", struct.pack("<f", x))[0]
    except OverflowError:
        return math.copysign(math.inf, x)


class Cursor:
    """Reads little-endian fields one after the other, never past the end."""

    def __init__(self, data, where):
        self.data, self.where, self.at = data, where, 0

    def check(self, condition, text):
        check(condition, f"{self.where}, byte {self.at}", text)

    def raw(self, count):
        self.check(count <= len(self.data) - self.at, f"ends before {count} bytes more")
        self.at += count
        return self.data[self.at - count:self.at]

    def array(self, code, count):
        """`count` elements of the type with this letter of the struct module."""
        raw = self.raw(struct.calcsize(code) * count)
        return list(struct.unpack(f"<{count}{code}", raw))

    def one(self, code):
        return self.array(code, 1)[0]

    def finite(self, code="f"):
        number = self.one(code)
        self.check(math.isfinite(number), "number is not finite")
        return number

    def padding(self, multiple=4):
        count = -self.at % multiple
        self.check(not any(self.raw(count)), "padding is not zero")

    def padded(self, code, count):
        elements = self.array(code, count)
        self.padding()
        return elements

    def string(self):
        raw = self.raw(self.one("H"))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.check(False, "text is not UTF-8")

    def rest(self):
        return len(self.data) - self.at

    def end(self):
        self.check(self.rest() == 0, f"{self.rest()} bytes too many")


# --- §2, §3 Container ----------------------------------------------------------------

def read_container(data, limits):
    """§3: checks header, table, layout and checksums; returns features and sections."""
    count, features = read_header(data)
    check_limit(limits, "sections", count)
    table = Cursor(data[64:64 + 32 * count], "section table")
    sections, last_kind, end = {}, 0, 64 + 32 * count
    for _ in range(count):
        kind, flags = table.array("I", 2)
        offset, length = table.array("Q", 2)
        crc, reserved = table.array("I", 2)
        where = f"section {SECTIONS.get(kind, kind)}"
        check(kind > last_kind, where, "kinds do not ascend")
        check(flags & ~MAY_IGNORE == 0 and reserved == 0, where, "reserved bits are not zero")
        check(kind in SECTIONS or flags & MAY_IGNORE, where, "unknown kind")
        check(offset == pad(end, 64), where, "offset is not the one that the layout implies")
        check(offset + length <= len(data) - 64, where, "ends outside the file")
        check(not any(data[end:offset]), where, "bytes in front of it are not zero")
        content = data[offset:offset + length]
        check(crc32c(content) == crc, where, "checksum is wrong")
        sections[kind], last_kind, end = content, kind, offset + length
    for kind in REQUIRED_SECTIONS:
        check(kind in sections, f"section {SECTIONS[kind]}", "is missing")
    check(len(data) == pad(end, 64) + 64, "tail", "file length is not the one implied")
    check(not any(data[end:]), "tail", "is not zero")
    return features, sections


def read_header(data):
    """§3.1 and §2: returns the number of sections and the `required` bits."""
    where = "header"
    check(len(data) >= 64, where, "file is shorter than a header")
    check(data[:8] == MAGIC, where, "magic is wrong")
    major, _minor, header_length = struct.unpack_from("<HHI", data, 8)
    check(major == 1, where, f"major version {major} is unknown")
    check(header_length == 64, where, "header length is not 64")
    length, count, required, _optional, crc = struct.unpack_from("<QIIII", data, 16)
    check(length == len(data), where, f"file has {len(data)} bytes, not {length}")
    table_end = 64 + 32 * count
    check(table_end <= len(data), where, "section table ends outside the file")
    checked = data[:36] + bytes(4) + data[40:table_end]
    check(crc32c(checked) == crc, where, "checksum is wrong")
    check(not any(data[40:64]), where, "reserved bytes are not zero")
    check(required & ~KNOWN_FEATURES == 0, where, f"unknown required bits {required:#x}")
    return count, required


def check_limit(limits, what, number):
    """§11: limits that the caller may set."""
    limit = limits.get(what)
    check(limit is None or number <= limit, "limits", f"{what} {number} above {limit}")


# --- §6, §7 Tensors and encodings ----------------------------------------------------

class Tensor:
    """A weight matrix: an index of blocks (of 1 × 1 mostly) and their values."""

    def __init__(self, entry, where):
        self.code, self.value_code, self.p0, self.p1 = entry.array("B", 4)
        self.rows, self.cols, self.stored = entry.array("I", 3)
        self.offset, self.length = entry.array("Q", 2)
        self.block = (1, 1)
        self.scales = None
        self.values = []    # as stored, in stored order
        self.columns = []   # (block) columns of each (block) row, in stored order
        check(self.code < len(ENCODINGS), where, f"unknown encoding {self.code}")
        check(self.value_code < len(VALUE_TYPES), where, f"unknown value type {self.value_code}")
        check(self.rows >= 1 and self.cols >= 1, where, "has no rows or no columns")
        check(self.stored <= self.rows * self.cols, where, "stores more values than it has")
        check(self.code >= 4 or (self.p0, self.p1) == (0, 0), where, "parameters are not 0")

    @property
    def value_type(self):
        return VALUE_TYPES[self.value_code]

    @property
    def encoding(self):
        name = ENCODINGS[self.code][0]
        return name.format(self.p0, self.p1)

    def read_values(self, payload):
        """§7: the array `values`, with `bf16` widened by hand."""
        if self.value_type == "bf16":
            halves = payload.padded("H", self.stored)
            raw = struct.pack(f"<{self.stored}I", *(half << 16 for half in halves))
            self.values = list(struct.unpack(f"<{self.stored}f", raw))
        else:
            self.values = payload.padded("fe?b"[self.value_code], self.stored)

    def dense(self):
        """All weights as `f32`, row-major."""
        out = [0.0] * (self.rows * self.cols)
        r, c = self.block
        values = iter(self.values)
        for block_row, columns in enumerate(self.columns):
            for column in columns:
                for row in range(block_row * r, block_row * r + r):
                    at = row * self.cols + column * c
                    for j in range(c):
                        value = next(values)
                        out[at + j] = to_f32(value * self.scales[row]) if self.scales else value
        return out


def read_tensors(section, data, features, limits):
    """§6 and §9: all tensors; their payloads fill the data section exactly."""
    cursor = Cursor(section, "section tensors")
    count, reserved = cursor.array("I", 2)
    cursor.check(reserved == 0, "reserved field is not zero")
    cursor.check(count <= MAX_IDS, "too many tensors")
    check_limit(limits, "tensors", count)
    tensors, end = [], 0
    for number in range(count):
        where = f"tensor {number}"
        tensor = Tensor(cursor, where)
        check(tensor.value_type != "i8" or features & FEATURE_I8, where,
              "i8 without its required bit")
        check(tensor.offset == pad(end, 16), where, "payload's offset is not the one implied")
        check(not any(data[end:tensor.offset]), where, "bytes before the payload are not zero")
        end = tensor.offset + tensor.length
        check(end <= len(data), where, "payload ends outside the data section")
        read_payload(tensor, Cursor(data[tensor.offset:end], f"payload of tensor {number}"))
        tensors.append(tensor)
    cursor.end()
    check(end == len(data), "section data", "does not end with the last payload")
    return tensors


def read_payload(tensor, payload):
    """§7: scales, then the arrays of the encoding, and nothing else."""
    if tensor.value_type == "i8":
        tensor.scales = payload.array("f", tensor.rows)
        payload.check(all(map(math.isfinite, tensor.scales)), "scale is not finite")
    ENCODINGS[tensor.code][1](tensor, payload)
    payload.end()


def read_dense(t, payload):
    payload.check(t.stored == t.rows * t.cols, "stored is not rows · cols")
    t.read_values(payload)
    t.columns = [range(t.cols)] * t.rows


def read_csr16(t, payload):
    r, c = t.block
    rows, cols, entries = t.rows // r, t.cols // c, t.stored // (r * c)
    payload.check(cols <= 65536, "too many columns")
    start = read_row_start(payload, rows, entries)
    t.read_values(payload)
    columns = payload.padded("H", entries)
    t.columns = [columns[a:b] for a, b in zip(start, start[1:])]
    for row in t.columns:
        check_ascending(payload, row, cols)


def read_win8(t, payload):
    r, c = t.block
    rows, cols, entries = t.rows // r, t.cols // c, t.stored // (r * c)
    windows = ceil_div(cols, 256)
    counts = payload.padded("H", rows * windows)
    payload.check(sum(counts) == entries, "counts do not add up to stored")
    t.read_values(payload)
    columns = payload.padded("B", entries)
    at = 0
    for row in range(rows):
        t.columns.append([])
        for window, count in enumerate(counts[row * windows:(row + 1) * windows]):
            relative = columns[at:at + count]
            check_ascending(payload, relative, min(256, cols - 256 * window))
            t.columns[-1] += [256 * window + column for column in relative]
            at += count


def read_bitmask(t, payload):
    start = read_row_start(payload, t.rows, t.stored)
    t.read_values(payload)
    width = ceil_div(t.cols, 8)
    masks = payload.padded("B", t.rows * width)
    for row in range(t.rows):
        columns = [8 * i + bit for i, byte in enumerate(masks[row * width:(row + 1) * width])
                   if byte for bit in range(8) if byte >> bit & 1]
        payload.check(not columns or columns[-1] < t.cols, f"unused mask bit set in row {row}")
        payload.check(len(columns) == start[row + 1] - start[row],
                      f"mask of row {row} contradicts row_start")
        t.columns.append(columns)


def read_nm(t, payload):
    n, m = t.p0, t.p1
    payload.check(1 <= n < m <= 16 and t.cols % m == 0, "n and m do not fit")
    groups = t.cols // m
    payload.check(t.stored == t.rows * groups * n, "stored is not rows · cols / m · n")
    t.read_values(payload)
    bits = (m - 1).bit_length()
    width = ceil_div(bits * n * groups, 8)
    packed = payload.padded("B", t.rows * width)
    for row in range(t.rows):
        line = packed[row * width:(row + 1) * width]
        positions = [bit_field(line, i * bits, bits) for i in range(groups * n)]
        payload.check(bit_field(line, groups * n * bits, 7) == 0, "unused position bits are set")
        for group in range(groups):
            check_ascending(payload, positions[group * n:(group + 1) * n], m)
        t.columns.append([i // n * m + p for i, p in enumerate(positions)])


def bit_field(line, at, bits):
    """`bits` bits of the bytes from bit `at` on, the lowest first; 0 behind the end."""
    word = int.from_bytes(line[at // 8:at // 8 + 2], "little")
    return word >> at % 8 & (1 << bits) - 1


def read_block(index):
    """The reader of blocks that are indexed as in csr16 or win8."""
    def read(t, payload):
        r, c = t.block = t.p0, t.p1
        payload.check({r, c} <= {1, 2, 4, 8, 16} and r * c > 1, "block extents do not fit")
        payload.check(t.rows % r == 0 and t.cols % c == 0 and t.stored % (r * c) == 0,
                      "blocks do not divide the matrix")
        index(t, payload)
    return read


def read_row_start(payload, rows, entries):
    start = payload.padded("I", rows + 1)
    payload.check(start[0] == 0 and start[-1] == entries, "row_start contradicts stored")
    payload.check(all(a <= b for a, b in zip(start, start[1:])), "row_start descends")
    return start


def check_ascending(payload, columns, bound):
    payload.check(all(a < b for a, b in zip(columns, columns[1:])), "columns do not ascend")
    payload.check(not columns or columns[-1] < bound, "column out of range")


ENCODINGS = [
    ("dense", read_dense), ("csr16", read_csr16), ("win8", read_win8),
    ("bitmask", read_bitmask), ("nm{}:{}", read_nm),
    ("block{}x{}/csr16", read_block(read_csr16)), ("block{}x{}/win8", read_block(read_win8)),
]


# --- §4, §5 Graph --------------------------------------------------------------------

def read_graph(section, tensors, limits):
    """§4: returns number of inputs, shapes of all values, output ids and nodes."""
    cursor = Cursor(section, "section graph")
    inputs, node_count, output_count, nodes_len = cursor.array("I", 4)
    cursor.check(min(inputs, node_count, output_count) >= 1, "no inputs, nodes or outputs")
    cursor.check(max(inputs + node_count, output_count) <= MAX_IDS, "too many values or outputs")
    check_limit(limits, "values", inputs + node_count)
    shapes = [read_shape(cursor) for _ in range(inputs + node_count)]
    outputs = cursor.padded("H", output_count)
    cursor.check(max(outputs) < len(shapes), "output id out of range")
    cursor.check(cursor.rest() == nodes_len, "nodes_len contradicts the section's length")
    nodes = []
    for number in range(node_count):
        operator, node = read_node(cursor, number, inputs + number)
        check_node(operator, node, f"node {number} ({operator.name})",
                   [shapes[v] for v in node["inputs"]], shapes[inputs + number], tensors)
        nodes.append(node)
    cursor.end()
    return inputs, shapes, outputs, nodes


def read_shape(cursor):
    """§4: a shape; the result holds the dimensions up to the rank."""
    rank, *dims = cursor.array("I", 5)
    cursor.check(1 <= rank <= 4, f"rank {rank}")
    cursor.check(all(d == 1 for d in dims[rank:]), "dimension past the rank is not 1")
    cursor.check(0 < math.prod(dims) < MAX_ELEMENTS, "shape is empty or too large")
    return dims[:rank]


def read_node(outer, number, value):
    """§5: a node record that computes `value`, as in the JSON of §14 but for `scratch`."""
    code, activation, input_count, words = outer.array("B", 4)
    outer.check(code in OPERATORS, f"unknown operator {code} of node {number}")
    operator = OPERATORS[code]
    outer.check(words >= 1, "record is shorter than its head")
    cursor = Cursor(outer.raw(4 * words - 4), f"node {number} ({operator.name}) after its head")
    cursor.check(input_count in operator.inputs, f"{input_count} inputs")
    inputs = cursor.padded("H", input_count)
    cursor.check(max(inputs) < value, "reads a value that does not exist yet")
    cursor.check(activation < len(ACTIVATIONS), f"unknown activation {activation}")
    cursor.check(activation == 0 or operator.name in WITH_ACTIVATION, "takes no activation")
    attributes = {}
    if operator.name in WITH_ACTIVATION:
        attributes["activation"] = {"kind": ACTIVATIONS[activation]}
    if activation == LEAKY_RELU:
        attributes["activation"]["slope"] = cursor.finite()
    attributes.update(read_attributes(cursor, operator.layout))
    cursor.end()
    return operator, {"op": operator.name, "inputs": inputs, "attributes": attributes}


def read_attributes(cursor, layout):
    """§5: the fields `name:type` of a layout, where `2H` is an array of two `u16`."""
    a = {}
    for name, kind in (field.split(":") for field in layout.split()):
        if kind == "shape":
            a[name] = read_shape(cursor)
        else:
            a[name] = cursor.array(kind[-1], int(kind[0])) if kind[1:] else cursor.one(kind)
    if a.get("bias") == NO_BIAS:
        a["bias"] = None
    if "pool" in a:
        cursor.check(a["pool"] < len(POOLS), f"unknown pool kind {a['pool']}")
        a["pool"] = POOLS[a["pool"]]
    return a


def check_node(operator, node, where, operands, shape, tensors):
    """§5: ranks, axis, constants and the shape of the node's value."""
    a = node["attributes"]
    check(all(len(operand) in operator.ranks for operand in operands), where,
          "operator does not take inputs of this rank")
    check(a.get("axis", 0) < len(operands[0]), where, "axis out of range")
    inferred = operator.infer(operands, a, where)
    check(shape == inferred, where, f"shape is {shape}, not {inferred}")
    if operator.name == "conv2d":
        check_constants(a, tensors, a["out_channels"], weight_columns(operands[0][0], a), where)
    if operator.name == "linear":
        check_constants(a, tensors, a["out_features"], operands[0][0], where)


def check_constants(a, tensors, rows, cols, where):
    """§5: dimensions of weight and bias; the bias is a dense `f32` vector."""
    check(a["weight"] < len(tensors), where, "weight id out of range")
    weight = tensors[a["weight"]]
    check((weight.rows, weight.cols) == (rows, cols), where,
          f"weight is {weight.rows} × {weight.cols}, not {rows} × {cols}")
    if a["bias"] is not None:
        check(a["bias"] < len(tensors), where, "bias id out of range")
        bias = tensors[a["bias"]]
        check((bias.rows, bias.cols) == (1, rows), where, "bias has the wrong dimensions")
        check((bias.encoding, bias.value_type) == ("dense", "f32"), where,
              "bias is not dense f32")


def window_extents(image, a, dilation, where):
    """§5: `out(…)` for both directions."""
    extents = []
    for i, n in enumerate(image[1:]):
        k, s, d = a["kernel"][i], a["stride"][i], dilation[i]
        check(min(k, s, d) >= 1, where, "kernel, stride or dilation is 0")
        numerator = n + a["pads"][i] + a["pads"][i + 2] - (k - 1) * d - 1
        check(numerator >= 0, where, "window is larger than the padded input")
        extents.append(numerator // s + 1)
    return extents


def infer_conv2d(operands, a, where):
    channels, groups = operands[0][0], a["groups"]
    check(groups >= 1 and channels % groups == 0 and a["out_channels"] % groups == 0, where,
          "groups do not divide the channels")
    extents = window_extents(operands[0], a, a["dilation"], where)
    check(packed_elements(channels, extents, a) < MAX_ELEMENTS, where, "packed input too large")
    return [a["out_channels"], *extents]


def infer_same(operands, _a, where):
    check(operands[0] == operands[-1], where, "shapes of the inputs differ")
    return operands[0]


def infer_concat(operands, a, where):
    axis, shape = a["axis"], list(operands[0])
    for other in operands:
        check(len(other) == len(shape) and other[:axis] == shape[:axis]
              and other[axis + 1:] == shape[axis + 1:], where, "inputs do not agree")
    shape[axis] = sum(other[axis] for other in operands)
    return shape


def infer_pool(operands, a, where):
    check(all(p < a["kernel"][i % 2] for i, p in enumerate(a["pads"])), where,
          "pad is not less than the kernel's extent")
    return [operands[0][0], *window_extents(operands[0], a, [1, 1], where)]


def infer_reshape(operands, a, where):
    check(math.prod(operands[0]) == math.prod(a["shape"]), where, "number of elements changes")
    return a["shape"]


def infer_pad(operands, a, where):
    rank = len(operands[0])
    check(not any(a["before"][rank:] + a["after"][rank:]), where, "pads an axis past the rank")
    return [sum(extent) for extent in zip(operands[0], a["before"], a["after"])]


def infer_slice(operands, a, where):
    extents, ranges = [], list(zip(a["start"], a["end"], a["step"]))
    for n, (start, end, step) in zip(operands[0], ranges):
        check(start < end <= n and step >= 1, where, "slice out of range")
        extents.append(ceil_div(end - start, step))
    check(all(r == (0, 1, 1) for r in ranges[len(extents):]), where, "slices an axis past the rank")
    return extents


Operator = namedtuple("Operator", "name inputs ranks layout infer")
ANY = range(1, 5)
OPERATORS = {
    1: Operator("conv2d", [1], [3], "weight:H bias:H out_channels:I groups:I kernel:2H "
                "stride:2H dilation:2H pads:4H", infer_conv2d),
    2: Operator("linear", [1], [1, 2], "weight:H bias:H out_features:I",
                lambda operands, a, _where: [a["out_features"], *operands[0][1:]]),
    3: Operator("activation", [1], ANY, "", infer_same),
    4: Operator("add", [2], ANY, "", infer_same),
    5: Operator("mul", [2], ANY, "", infer_same),
    6: Operator("concat", range(1, 9), ANY, "axis:I", infer_concat),
    7: Operator("pool", [1], [3], "pool:I kernel:2H stride:2H pads:4H", infer_pool),
    8: Operator("global_avg_pool", [1], [3], "",
                lambda operands, _a, _where: operands[0][:1]),
    9: Operator("reshape", [1], ANY, "shape:shape", infer_reshape),
    10: Operator("pad", [1], ANY, "before:4H after:4H value:f", infer_pad),
    11: Operator("slice", [1], ANY, "start:4I end:4I step:4I", infer_slice),
    12: Operator("softmax", [1], ANY, "axis:I", infer_same),
}


# --- §8 Plan -------------------------------------------------------------------------

def weight_columns(channels, a):
    return math.prod(a["kernel"]) * (channels // a["groups"])


def packed_elements(channels, extents, a):
    """§8.2: elements of the packed input of a convolution."""
    count = channels
    for extent, k, s, d in zip(extents, a["kernel"], a["stride"], a["dilation"]):
        count *= min(k, s // math.gcd(s, d)) * (extent + (k - 1) * d // s)
    return count


def scratch_bytes(node, shapes, output):
    """§8.2: the scratch memory that the node may have."""
    if node["op"] != "conv2d":
        return 0
    a, channels = node["attributes"], shapes[node["inputs"][0]][0]
    packs = any(a["pads"]) or a["stride"] != [1, 1]
    packed = packed_elements(channels, output[1:], a) if packs else 0
    table = 0 if a["kernel"] == [1, 1] else weight_columns(channels, a)
    return 4 * (packed + table)


def read_plan(section, graph, limits):
    """§8: returns `arena_bytes`, `align` and the pairs per value and per node."""
    inputs, shapes, outputs, nodes = graph
    cursor = Cursor(section, "section plan")
    arena, align = cursor.array("I", 2)
    cursor.check(arena % 4 == 0, "arena_bytes is not a multiple of 4")
    cursor.check(align in (4, 8, 16, 32, 64), f"align is {align}")
    check_limit(limits, "arena_bytes", arena)
    values = [cursor.array("I", 2) for _ in shapes]
    scratch = [cursor.array("I", 2) for _ in nodes]
    cursor.end()
    ranges = [(offset, offset + 4 * math.prod(s)) for (offset, _), s in zip(values, shapes)]
    uses = [last_use for _, last_use in values]
    births = [max(v - inputs, 0) for v in range(len(shapes))]
    check_offsets(values, ranges, scratch, arena, align)
    check_lifetimes(uses, births, nodes, outputs)
    check_values_apart(ranges, uses, births, nodes, inputs)
    for i, node in enumerate(nodes):
        check_scratch(i, scratch[i], scratch_bytes(node, shapes, shapes[inputs + i]),
                      [r for r, birth, use in zip(ranges, births, uses) if birth <= i <= use])
    return arena, align, values, scratch


def overlap(a, b):
    return a[0] < b[1] and b[0] < a[1]


def check_offsets(values, ranges, scratch, arena, align):
    """§8.1, rules 1 and 5."""
    for offset, _ in values + scratch:
        check(offset % align == 0, "plan", f"offset {offset} is not aligned")
    largest = max([end for _, end in ranges] + [offset + count for offset, count in scratch])
    check(largest <= arena, "plan", "range ends beyond the arena")
    check(largest == arena, "plan", "arena_bytes is not the largest end")


def check_lifetimes(uses, births, nodes, outputs):
    """§8.1, rule 2."""
    for v, (use, birth) in enumerate(zip(uses, births)):
        check(birth <= use <= len(nodes), f"plan of value {v}", "last_use out of range")
    for i, node in enumerate(nodes):
        for v in node["inputs"]:
            check(uses[v] >= i, f"plan of value {v}", f"last_use before node {i} reads it")
    for v in outputs:
        check(uses[v] == len(nodes), f"plan of value {v}", "returned value dies too early")


def check_values_apart(ranges, uses, births, nodes, inputs):
    """§8.1, rule 3."""
    for v, range_v in enumerate(ranges):
        for u in range(v):
            if uses[u] < births[v] or not overlap(ranges[u], range_v):
                continue
            step = v - inputs
            in_place = (step >= 0 and u in nodes[step]["inputs"] and uses[u] == step
                        and nodes[step]["op"] in IN_PLACE and ranges[u] == range_v)
            check(in_place, f"plan of value {v}", f"overlaps value {u}")


def check_scratch(i, scratch, full, living):
    """§8.1, rule 4."""
    where = f"scratch of node {i}"
    offset, count = scratch
    check(count in (0, full), where, f"has {count} bytes, not 0 or {full}")
    check(count > 0 or offset == 0, where, "empty, but its offset is not 0")
    for other in living if count else []:
        check(not overlap((offset, offset + count), other), where, "overlaps a living value")


# --- §10 Host sections ---------------------------------------------------------------

def read_names(section, count):
    if section is None:
        return [None] * count
    cursor = Cursor(section, "section names")
    names = [cursor.string() for _ in range(count)]
    cursor.end()
    return names


def read_preprocess(section, channels):
    """How input 0, with so many channels, is prepared."""
    if section is None:
        return None
    cursor = Cursor(section, "section preprocess")
    scale = cursor.finite()
    cursor.check(scale != 0, "scale is 0")
    means, stds = cursor.array("H", 2)
    cursor.check({means, stds} <= {0, 1, channels}, "list does not fit the channels")
    mean = [cursor.finite() for _ in range(means)]
    std = [cursor.finite() for _ in range(stds)]
    cursor.check(0.0 not in std, "std is 0")
    cursor.end()
    return {"scale": scale, "mean": mean, "std": std}


def read_info(section):
    if section is None:
        return []
    cursor = Cursor(section, "section info")
    pairs = []
    while cursor.rest():
        pairs.append([cursor.string(), cursor.string()])
    return pairs


def read_tuning(section, nodes):
    if section is None:
        return None
    cursor = Cursor(section, "section tuning")
    machine, tuned = cursor.string(), []
    while cursor.rest():
        node, vectors = cursor.array("H", 2)
        window, = cursor.array("I", 1)
        cursor.check(node < nodes, f"no node {node}")
        cursor.check(not tuned or node > tuned[-1]["node"], "nodes do not ascend")
        tuned.append({"node": node, "vectors": vectors, "window": window, "kernel": cursor.string()})
    return {"machine": machine, "nodes": tuned}


# --- The whole file ------------------------------------------------------------------

def read(data, limits=None):
    """The checked content of a file as in §14, but with `Tensor` objects, whose weights
    are not unfolded. `limits` may bound (§11) `file_length`, `sections`, `values`,
    `tensors` and `arena_bytes`."""
    data, limits = bytes(data), limits or {}
    check_limit(limits, "file_length", len(data))
    features, sections = read_container(data, limits)
    tensors = read_tensors(sections[TENSORS], sections[DATA], features, limits)
    graph = inputs, shapes, outputs, nodes = read_graph(sections[GRAPH], tensors, limits)
    arena, align, places, scratch = read_plan(sections[PLAN], graph, limits)
    names = read_names(sections.get(NAMES), len(shapes))
    return {
        "align": align,
        "arena_bytes": arena,
        "info": read_info(sections.get(INFO)),
        "inputs": inputs,
        "nodes": [{**node, "scratch": s} for node, s in zip(nodes, scratch)],
        "outputs": outputs,
        "preprocess": read_preprocess(sections.get(PREPROCESS), shapes[0][0]),
        "tensors": tensors,
        "tuning": read_tuning(sections.get(TUNING), len(nodes)),
        "values": [{"shape": shape, "name": name, "offset": offset, "last_use": last_use}
                   for shape, name, (offset, last_use) in zip(shapes, names, places)],
    }


def content(model):
    """The JSON form of §14, with dense weights: may need much more memory than the file."""
    return {**model, "tensors": [
        {"rows": t.rows, "cols": t.cols, "encoding": t.encoding, "values": t.value_type,
         "stored": t.stored, "weights": t.dense()} for t in model["tensors"]]}


def main(arguments):
    if len(arguments) != 1:
        print("usage: read_sct.py FILE.sct", file=sys.stderr)
        return 2
    try:
        with open(arguments[0], "rb") as file:
            model = read(file.read())
    except (SctError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(content(model), sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
