#!/usr/bin/env python3
"""Reads blobs as docs/blob-format.md describes them, and knows nothing else.

    python3 tests/decoder/decode.py models/*.tddpm

Prints a line of JSON for each file: its description, its layers with what they
hold (arrays as CRC-32 of their bytes, convolutions' weights as that of `i8` in
canonical order, or null where no `i8` weights give what is stored), and how many
parameters it has; or `error`, with what is wrong and where. Ends with 1 if any
file was refused. Needs Python 3.9, and no packages.
"""

import json
import math
import struct
import sys
import zlib

SAME, DOWN, UP, POINTWISE = "same", "down", "up", "pointwise"
LAYOUTS = ("direct", "winograd", "phases", "int4")
PREDICTIONS = ("epsilon", "x0", "v")


class Refused(Exception):
    """What is wrong, and where."""

    def __init__(self, where, what):
        super().__init__(f"{where}: {what}")
        self.where, self.what = where, what


def need(condition, where, what):
    if not condition:
        raise Refused(where, what)


class Reader:
    """Takes one value after the other from a blob."""

    def __init__(self, blob, at):
        self.blob, self.at = blob, at
        self.where = "info"

    def need(self, condition, what):
        need(condition, self.where, what)

    def take(self, count):
        self.need(self.at + count <= len(self.blob), f"ends at byte {self.at}")
        self.at += count
        return self.blob[self.at - count : self.at]

    def unpack(self, code):
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def u8(self):
        return self.unpack("B")

    def f32(self):
        return self.unpack("f")

    def varint(self, bits):
        value = 0
        for shift in range(0, bits, 7):
            byte = self.u8()
            value |= (byte & 127) << shift
            if byte < 128:
                self.need(value < 1 << bits, f"more than {bits} bits before byte {self.at}")
                self.need(byte or not shift, f"a byte too many before byte {self.at}")
                return value
        raise Refused(self.where, f"more than {bits} bits before byte {self.at}")

    def i32(self):
        z = self.varint(32)
        return -(z // 2) - 1 if z % 2 else z // 2

    def bool(self):
        byte = self.u8()
        self.need(byte < 2, f"{byte} is no bool, before byte {self.at}")
        return byte == 1

    def bytes(self):
        return self.take(self.varint(32))

    def choice(self, names):
        index = self.varint(32)
        self.need(index < len(names), f"no alternative {index} before byte {self.at}")
        return names[index]


def open_header(blob):
    """Checks the header; returns the topology's CRC."""
    need(len(blob) >= 32, "header", f"{len(blob)} bytes where 32 are needed")
    magic, version, zero, arch, length, body_crc, zeros, crc = struct.unpack("<8sHHIIIII", blob[:32])
    need(magic == b"tinyddpm", "header", "not a tiny-ddpm model")
    need(version == 2, "header", f"version {version}, only 2 is known")
    need(crc == zlib.crc32(blob[:28]), "header", "damaged header")
    need(zero == 0 and zeros == 0, "header", "a byte that must be 0 is not")
    length += 32
    need(len(blob) == length, "header", f"{len(blob)} bytes where {length} are needed")
    need(body_crc == zlib.crc32(blob[32:]), "header", "damaged body")
    return arch


def read_info(r):
    name = r.bytes()
    try:
        name = name.decode()
    except UnicodeDecodeError as error:
        raise Refused("info", f"name: {error}") from error
    topology = {"image_size": r.u8(), "patch": r.u8(), "levels": []}
    for i in range(r.varint(32)):
        r.need(i < 4, "more than 4 levels")
        topology["levels"].append({"channels": r.varint(16), "attention": r.bool()})
    topology.update(blocks=r.u8(), mid_attention=r.bool(), heads=r.u8(), group_channels=r.u8())
    topology.update(time_features=r.varint(16), embedding=r.varint(16), classes=r.varint(16))
    schedule = {"kind": r.choice(("linear", "cosine"))}
    if schedule["kind"] == "linear":
        schedule.update(beta_start=r.unpack("d"), beta_end=r.unpack("d"))
    return {
        "name": name,
        "topology": topology,
        "schedule": schedule,
        "timesteps": r.varint(16),
        "prediction": r.choice(PREDICTIONS),
        "packing": r.u8(),
        "recommended": {"steps": r.varint(16), "guidance": r.f32(), "eta": r.f32()},
    }


def points(t):
    return t["image_size"] == 0


def sides(t):
    return 1 if points(t) else t["image_size"] // t["patch"]


def check_topology(t):
    where = "topology"
    limits = {
        "image_size": (0, 64),
        "patch": (1, 8),
        "blocks": (1, 4),
        "heads": (1, 255),
        "group_channels": (1, 255),
        "time_features": (2, 512),
        "embedding": (1, 512),
        "classes": (0, 256),
    }
    for field, (low, high) in limits.items():
        value = t[field]
        need(low <= value <= high, where, f"{field} is {value}: must be {low} to {high}")
    need(t["image_size"] % t["patch"] == 0, where, "patch does not divide image_size")
    need(t["time_features"] % 2 == 0, where, "time_features is odd")
    need(t["levels"], where, "no levels")
    if points(t):
        need(len(t["levels"]) == 1, where, "points have one level")
        attention = t["mid_attention"] or t["levels"][0]["attention"]
        need(not attention, where, "points have no attention")
    side, last = sides(t), len(t["levels"]) - 1
    for i, level in enumerate(t["levels"]):
        channels, group = level["channels"], t["group_channels"]
        at, positions = f"level {i}", side * side
        need(1 <= channels <= 256, where, f"{at}: {channels} channels: must be 1 to 256")
        need(channels % group == 0, where, f"{at}: group_channels does not divide {channels}")
        need(positions * group <= 65536, where, f"{at}: groups of more than 65536 values")
        if level["attention"] or (i == last and t["mid_attention"]):
            need(channels % t["heads"] == 0, where, f"{at}: heads do not divide {channels}")
            need(positions <= 256, where, f"{at}: attention between {positions} positions")
        need(i == last or side % 2 == 0, where, f"{at}: side {side} is odd")
        side //= 2
    need(macs(t) <= 2**31, where, f"{macs(t)} multiply-accumulates a run: at most 2^31")


def macs(t):
    """Multiply-accumulates of one run."""
    embedding, blocks, levels = t["embedding"], t["blocks"], t["levels"]
    taps = 1 if points(t) else 9
    values = t["patch"] if points(t) else t["patch"] ** 2

    def conv(side, inputs, outputs, taps=taps):
        return side**2 * taps * inputs * outputs

    def block(side, inputs, outputs):
        shortcut = conv(side, inputs, outputs, 1) if inputs != outputs else 0
        return shortcut + conv(side, inputs, outputs) + embedding * outputs + conv(side, outputs, outputs)

    def attention(side, channels):
        return 4 * conv(side, channels, channels, 1) + 2 * side**4 * channels

    side, before = sides(t), levels[0]["channels"]
    total = (t["time_features"] + embedding) * embedding
    total += conv(side, 9 * values if points(t) else values, before) + conv(side, before, values)
    for i, level in enumerate(levels):
        channels = level["channels"]
        if i > 0:
            total += conv(side // 2, before, before) + conv(side, channels, before)
            side //= 2
        total += block(side, before, channels) + (blocks - 1) * block(side, channels, channels)
        total += blocks * block(side, 2 * channels, channels)
        if level["attention"]:
            total += 2 * blocks * attention(side, channels)
        before = channels
    total += 2 * block(side, before, before)
    return total + (attention(side, before) if t["mid_attention"] else 0)


def topology_bytes(t):
    """The shortest encoding."""

    def varint(value):
        return bytes([value]) if value < 128 else bytes([value % 128 | 128]) + varint(value // 128)

    out = bytes([t["image_size"], t["patch"], len(t["levels"])])
    for level in t["levels"]:
        out += varint(level["channels"]) + bytes([level["attention"]])
    out += bytes([t["blocks"], t["mid_attention"], t["heads"], t["group_channels"]])
    return out + b"".join(varint(t[f]) for f in ("time_features", "embedding", "classes"))


def check_schedule(schedule, timesteps):
    where = "schedule"
    need(1 <= timesteps <= 4000, where, f"T is {timesteps}: must be 1 to 4000")
    if schedule["kind"] == "linear":
        first, last = schedule["beta_start"], schedule["beta_end"]
        in_order = 1e-12 <= first <= last < 1
        need(in_order, where, "betas must satisfy 1e-12 <= beta_1 <= beta_T < 1")
        alpha_bar = 1.0
        for t in range(timesteps):
            alpha_bar *= 1 - (first + (last - first) * (t / max(timesteps - 1, 1)))
        need(alpha_bar >= 1e-30, where, "alpha_bar_T is below 1e-30")


def numbers(code, data):
    return struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data)


def direct(o, k, row):
    """The place of weight `k` of `row`, of output `o`."""
    return ((o // 2) * ceil4(row) // 4 + k // 4) * 8 + (0, 4, 2, 6)[k % 4] + o % 2


def wide(block, o, k, row):
    return (block * ceil4(row) // 4 + k // 4) * 16 + k % 2 * 8 + o % 4 * 2 + k % 4 // 2


def ceil4(x):
    return -(-x // 4) * 4


def stored_numbers(r, layout, data):
    """A layout's numbers in the order in which they lie; int4 as the direct layout's."""
    if layout == "int4":
        r.need(all(b & 15 != 8 and b >> 4 != 8 for b in data), "a weight of -8")
        expanded = bytearray()
        for i in range(0, len(data), 4):
            expanded += bytes(b << 4 & 240 for b in data[i : i + 4])
            expanded += bytes(b & 240 for b in data[i : i + 4])
        return numbers("b", bytes(expanded))
    values = numbers("b" if layout == "direct" else "h", data)
    limit = {"direct": 127, "winograd": 1143, "phases": 508}[layout]
    r.need(all(-limit <= v <= limit for v in values), f"a weight beyond {limit}")
    return values


def product(a, g, b):
    """The matrix a g bT."""
    half = [[sum(x * y for x, y in zip(row, column)) for column in zip(*g)] for row in a]
    return [[sum(x * y for x, y in zip(row, other)) for other in b] for row in half]


L = ((2, 0, 0), (1, 1, 1), (1, -1, 1), (0, 0, 2))
M = ((1, 0, 0, 0), (0, 1, -1, 0), (0, 0, 0, 1))
A = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))
# Of each tap along an axis: (phase, place) with signs.
PHASES = (((1, 0, 0),), ((1, 1, 0), (-1, 0, 0)), ((1, 1, 1),))


def winograd_kernel(v, o, c, inputs, outputs):
    """The kernel of a Winograd table, and whether the table is the kernel's."""
    at = [wide(o // 4 * 16 + f, o, c, inputs) for f in range(16)]
    u = [[v[at[4 * r + s]] for s in range(4)] for r in range(4)]
    g = [[x // 4 for x in row] for row in product(M, u, M)]
    return g, product(L, g, L) == u, at


def phases_kernel(v, o, c, inputs, outputs):
    at = {
        (d, e, r, s): wide(
            (2 * d + e) * (ceil4(outputs) // 4) + o // 4, o, (2 * r + s) * inputs + c, 4 * inputs
        )
        for d in (0, 1)
        for e in (0, 1)
        for r in (0, 1)
        for s in (0, 1)
    }
    p = {place: v[index] for place, index in at.items()}
    g = [
        [
            sum(
                sign * other * p[d, e, r, s]
                for sign, d, r in PHASES[i]
                for other, e, s in PHASES[j]
            )
            for j in range(3)
        ]
        for i in range(3)
    ]
    exact = all(
        product(A[d], g, A[e]) == [[p[d, e, r, s] for s in (0, 1)] for r in (0, 1)]
        for d in (0, 1)
        for e in (0, 1)
    )
    return g, exact, at.values()


def canonical(layout, v, outputs, taps, inputs):
    """Weights in canonical order; None where none give what is stored."""
    row = taps * inputs
    if layout in ("direct", "int4"):
        first = [direct(0, k, row) for k in range(row)]
        starts = [direct(o, 0, row) for o in range(outputs)]
        weights = [v[start + k] for start in starts for k in first]
        used, exact = weights, True
    else:
        kernel = winograd_kernel if layout == "winograd" else phases_kernel
        weights, used, exact = [0] * (outputs * row), [], True
        for o in range(outputs):
            for c in range(inputs):
                g, same, places = kernel(v, o, c, inputs, outputs)
                exact = exact and same
                used += [v[place] for place in places]
                for n in range(9):
                    weights[o * row + n * inputs + c] = g[n // 3][n % 3]
        exact = exact and all(-127 <= w <= 127 for w in weights)
    # Other places hold 0.
    exact = exact and sum(map(bool, used)) == sum(map(bool, v))
    return struct.pack(f"{len(weights)}b", *weights) if exact else None


class Activation:
    def __init__(self, side, channels, zeros=()):
        self.side, self.channels, self.zeros = side, channels, zeros


class Network:
    """Reads the records in the order of the network."""

    def __init__(self, reader, info):
        self.r, self.packing, self.t = reader, info["packing"], info["topology"]
        self.layers = []
        self.around = POINTWISE if points(self.t) else SAME

    def layer(self, name, kind, side, channels, parameters, **more):
        shape = [side, side, channels]
        layer = {"name": name, "kind": kind, "shape": shape, "parameters": parameters}
        self.layers.append({**layer, **more})

    def begin(self, name):
        self.r.where = f"layer {name}"

    def length(self, data, expected):
        self.r.need(len(data) == expected, f"{len(data)} bytes where {expected} are needed")

    def scale(self, scale):
        self.r.need(2.0**-126 <= scale < math.inf, f"{scale} is no scale")

    def within(self, code, data, low, high):
        good = all(low <= x <= high for x in numbers(code, data))
        self.r.need(good, f"a number beyond {low} to {high}")

    def finite(self, data):
        self.r.need(all(map(math.isfinite, numbers("f", data))), "a number is not finite")

    def quant(self):
        return {"scale": self.r.f32(), "zero_point": self.r.unpack("b")}

    def padded(self):
        """Padding and weights of a record, and where the weights begin."""
        padding, weights = self.r.bytes(), self.r.bytes()
        return padding, weights, self.r.at - len(weights)

    def aligned(self, padding, start):
        good = start % 16 == 0 and len(padding) < 16 and not any(padding)
        self.r.need(good, f"weights at {start} are not aligned to 16 bytes by zeros")

    def linear(self, name, inputs, outputs):
        self.begin(name)
        padding, weights, start = self.padded()
        scales, bias = self.r.bytes(), self.r.bytes()
        self.length(weights, 2 * inputs * outputs)
        self.aligned(padding, start)
        self.length(scales, 4 * outputs)
        self.length(bias, 4 * outputs)
        self.finite(scales)
        self.finite(bias)
        crc = crcs(weights=weights, scales=scales, bias=bias)
        self.layer(name, "linear", 1, outputs, outputs * (inputs + 1), crc=crc)

    def table(self, name, rows, width):
        self.begin(name)
        values, scale = self.r.bytes(), self.r.f32()
        self.length(values, 2 * rows * width)
        self.scale(scale)
        self.layer(name, "table", 1, width, rows * width, scale=scale, crc=crcs(values=values))

    def input(self, name, side, channels):
        self.begin(name)
        quant = self.quant()
        self.scale(quant["scale"])
        self.layer(name, "input", side, channels, 0, output=quant)
        return Activation(side, channels)

    def norm(self, name, h, skip=None):
        self.begin(name)
        channels = h.channels + (skip.channels if skip else 0)
        gains, offsets, multiplier = self.r.bytes(), self.r.bytes(), self.r.i32()
        quant = self.quant()
        self.length(gains, 4 * channels)
        self.length(offsets, 4 * channels)
        self.within("i", gains, -(2**22), 2**22)
        self.within("i", offsets, -(2**22), 2**22)
        self.r.need(0 <= multiplier <= 32767, f"multiplier {multiplier}")
        self.scale(quant["scale"])
        crc = crcs(gains=gains, offsets=offsets)
        more = {"multiplier": multiplier, "output": quant, "crc": crc}
        self.layer(name, "norm", h.side, channels, 2 * channels, **more)
        return Activation(h.side, channels)

    def weights(self, layout, data, padding, start, geometry, inputs, outputs):
        """Checks a convolution's weights; returns them in canonical order."""
        allowed = {
            "direct": True,
            "winograd": geometry == SAME and self.packing >= 1,
            "phases": geometry == UP and self.packing >= 1,
            "int4": self.packing == 2,
        }
        self.r.need(allowed[layout], f"layout {layout} of a convolution {geometry}")
        taps = 1 if geometry == POINTWISE else 9
        pairs, quads, row = (outputs + 1) // 2 * 2, ceil4(outputs), ceil4(taps * inputs)
        lengths = {
            "direct": pairs * row,
            "winograd": 32 * quads * ceil4(inputs),
            "phases": 8 * quads * ceil4(4 * inputs),
            "int4": pairs * row // 2,
        }
        self.length(data, lengths[layout])
        self.aligned(padding, start)
        values = stored_numbers(self.r, layout, data)
        return canonical(layout, values, outputs, taps, inputs)

    def conv(self, name, h, geometry, outputs, skip=None, embedding=False, residual=False):
        self.begin(name)
        inputs = h.channels + (skip.channels if skip else 0)
        padding, data, start = self.padded()
        bias, multipliers, factor = self.r.bytes(), self.r.bytes(), self.r.i32()
        scale, shifts, zeros = self.r.f32(), self.r.bytes(), self.r.bytes()
        layout = self.r.choice(LAYOUTS)
        if geometry != POINTWISE:
            good = all(-128 <= zero <= 127 for zero in h.zeros)
            self.r.need(good, "reads zero points that padding cannot hold")
        weights = self.weights(layout, data, padding, start, geometry, inputs, outputs)
        self.length(bias, 4 * outputs)
        self.length(multipliers, 4 * outputs)
        self.within("i", bias, -(2**29), 2**29)
        self.within("i", multipliers, 0, 2**31 - 1)
        self.r.need(factor >= 0 and (residual or factor == 0), f"residual {factor}")
        self.length(shifts, outputs)
        self.length(zeros, 2 * outputs)
        plain = name.endswith((".q", ".k", ".v"))
        self.within("B", shifts, 0, 0 if plain else 7)
        points = numbers("h", zeros)
        good = all(abs(z) < (1 if plain else 256 << s) for z, s in zip(points, shifts))
        self.r.need(good, "a zero point out of range")
        self.scale(scale)
        crc = crcs(bias=bias, multipliers=multipliers, shifts=shifts, zero_points=zeros)
        crc["weights"] = zlib.crc32(weights) if weights is not None else None
        side = {DOWN: h.side // 2, UP: 2 * h.side}.get(geometry, h.side)
        parameters = outputs * ((1 if geometry == POINTWISE else 9) * inputs + 1)
        more = {"layout": layout, "residual": factor, "scale": scale, "crc": crc}
        self.layer(name, "conv", side, outputs, parameters, **more)
        if embedding:
            stage = name.rpartition(".")[0]
            self.linear(f"{stage}.emb", self.t["embedding"], outputs)
        return Activation(side, outputs, points)

    def mix(self, name, h):
        self.begin(name)
        logit, value, quant = self.r.i32(), self.r.i32(), self.quant()
        self.r.need(logit >= 0 and 0 <= value <= 2**23, f"logit {logit}, value {value}")
        self.scale(quant["scale"])
        more = {"logit": logit, "value": value, "output": quant}
        self.layer(name, "mix", h.side, h.channels, 0, **more)
        return Activation(h.side, h.channels)

    def output(self, name, h, outputs):
        self.begin(name)
        padding, data, start = self.padded()
        bias, scales = self.r.bytes(), self.r.bytes()
        weights = self.weights("direct", data, padding, start, self.around, h.channels, outputs)
        self.length(bias, 4 * outputs)
        self.length(scales, 4 * outputs)
        self.within("i", bias, -(2**29), 2**29)
        for scale in numbers("f", scales):
            self.scale(scale)
        crc = crcs(bias=bias, scales=scales)
        crc["weights"] = zlib.crc32(weights) if weights is not None else None
        taps = 1 if self.around == POINTWISE else 9
        parameters = outputs * (taps * h.channels + 1)
        self.layer(name, "output", h.side, outputs, parameters, layout="direct", crc=crc)

    def res_block(self, stage, h, skip, channels):
        x = self.norm(f"{stage}.norm1", h, skip)
        if x.channels != channels:
            h = self.conv(f"{stage}.shortcut", h, POINTWISE, channels, skip=skip)
        x = self.conv(f"{stage}.conv1", x, self.around, channels, embedding=True)
        x = self.norm(f"{stage}.norm2", x)
        return self.conv(f"{stage}.conv2", x, self.around, channels, residual=True)

    def attention(self, stage, h):
        x = self.norm(f"{stage}.norm", h)
        for part in "qkv":
            self.conv(f"{stage}.{part}", x, POINTWISE, h.channels)
        x = self.mix(f"{stage}.mix", h)
        return self.conv(f"{stage}.proj", x, POINTWISE, h.channels, residual=True)

    def run(self):
        t = self.t
        self.linear("time.linear1", t["time_features"], t["embedding"])
        self.linear("time.linear2", t["embedding"], t["embedding"])
        self.table("time.classes", t["classes"] + 1, t["embedding"])
        pixels, levels = t["patch"] ** (1 if points(t) else 2), t["levels"]
        h = self.input("x", sides(t), pixels * (9 if points(t) else 1))
        h = self.conv("conv_in", h, self.around, levels[0]["channels"])
        skips = []
        for i, level in enumerate(levels):
            for b in range(t["blocks"]):
                h = self.res_block(f"down{i}.{b}", h, None, level["channels"])
                if level["attention"]:
                    h = self.attention(f"down{i}.{b}.attn", h)
                skips.append(h)
            if i + 1 < len(levels):
                h = self.conv(f"downsample{i}.conv", h, DOWN, level["channels"])
        h = self.res_block("mid0", h, None, level["channels"])
        if t["mid_attention"]:
            h = self.attention("mid.attn", h)
        h = self.res_block("mid1", h, None, level["channels"])
        for i, level in reversed(list(enumerate(levels))):
            for b in range(t["blocks"]):
                h = self.res_block(f"up{i}.{b}", h, skips.pop(), level["channels"])
                if level["attention"]:
                    h = self.attention(f"up{i}.{b}.attn", h)
            if i > 0:
                h = self.conv(f"upsample{i}.conv", h, UP, levels[i - 1]["channels"])
        h = self.norm("out.norm", h)
        self.output("out.conv", h, pixels)
        left = len(self.r.blob) - self.r.at
        need(left == 0, "end", f"{left} bytes after the last layer")


def crcs(**arrays):
    return {name: zlib.crc32(data) for name, data in arrays.items()}


def decode(blob):
    """What a blob is, as a dictionary; raises Refused."""
    arch = open_header(blob)
    reader = Reader(blob, 32)
    info = read_info(reader)
    check_topology(info["topology"])
    computed = zlib.crc32(topology_bytes(info["topology"]))
    differ = f"CRC-32 {computed:08x}, {arch:08x} in the header"
    need(computed == arch, "architecture", differ)
    need(info["packing"] <= 2, "packing", f"{info['packing']} is not known")
    check_schedule(info["schedule"], info["timesteps"])
    good = info["recommended"]
    in_range = 1 <= good["steps"] <= info["timesteps"] and 0 <= good["guidance"] <= 100
    need(in_range and 0 <= good["eta"] <= 1, "recommended", f"{good} is out of range")
    network = Network(reader, info)
    network.run()
    return {
        "bytes": len(blob),
        "arch_hash": arch,
        "info": info,
        "layers": network.layers,
        "parameters": sum(layer["parameters"] for layer in network.layers),
    }


def main(paths):
    if not paths:
        sys.exit(__doc__)
    refused = False
    for path in paths:
        try:
            with open(path, "rb") as file:
                result = decode(file.read())
        except OSError as error:
            sys.exit(f"error: {error}")
        except Refused as error:
            refused = True
            result = {"error": {"where": error.where, "what": error.what}}
        print(json.dumps({"file": path, **result}))
    sys.exit(refused)


if __name__ == "__main__":
    main(sys.argv[1:])
