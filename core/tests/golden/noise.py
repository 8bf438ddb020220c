#!/usr/bin/env python3
"""Golden values of the noise, as Rust.

ChaCha with 8 rounds from Bernstein's description, keyed as rand_core's
`seed_from_u64` documents, then Box and Muller's transform in double precision.

    python3 noise.py

prints the tables of ../noise.rs, all but the bits of the `f32` results, which
are the library's own.
"""

import math
import struct

MASK = 0xFFFFFFFF


def key(seed):
    """Eight words of PCG-XSH-RR from the seed."""
    words, state = [], seed
    for _ in range(8):
        state = (state * 0x5851F42D4C957F2D + 0xA17654E46FBE17F3) % (1 << 64)
        x = (((state >> 18) ^ state) >> 27) & MASK
        rotation = state >> 59
        words.append((x >> rotation | x << (-rotation & 31)) & MASK)
    return words


def quarter(s, a, b, c, d):
    for into, add, mix, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[into] = (s[into] + s[add]) & MASK
        x = s[mix] ^ s[into]
        s[mix] = (x << bits | x >> (32 - bits)) & MASK


def words(seed, stream, blocks):
    constants = struct.unpack("<4I", b"expand 32-byte k")
    for block in range(blocks):
        counters = [block & MASK, block >> 32, stream & MASK, stream >> 32]
        start = [*constants, *key(seed), *counters]
        state = list(start)
        for _ in range(4):
            for i in range(4):
                quarter(state, i, 4 + i, 8 + i, 12 + i)
            for i in range(4):
                quarter(state, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
        yield from ((a + b) & MASK for a, b in zip(state, start))


def normals(seed, stream, count):
    source = words(seed, stream, count // 16 + 1)
    values = []
    while len(values) < count:
        radius = math.sqrt(-2 * math.log(((next(source) >> 8) + 1) / 2**24))
        angle = (next(source) >> 8) / 2**24 * math.tau
        values += [radius * math.cos(angle), radius * math.sin(angle)]
    return values


for name, seed, picture in (("SEED_1", 1, 0), ("SEED_1_PICTURE_7", 1, 7), ("LARGEST", 2**64 - 1, 2**64 - 1)):
    print(f"const {name}: [f64; 8] = [")
    for value in normals(seed, picture, 8):
        print(f"    {value!r},")
    print("];")
# Past the first block of the generator.
print(f"const SEED_1_AT_1000: f64 = {normals(1, 0, 1002)[1000]!r};")
