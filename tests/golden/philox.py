# SPDX-FileCopyrightText: 2026 the moe authors
# SPDX-License-Identifier: MIT
"""The library's random values by a Philox4x32-10 of its own: addressed by seed, purpose, step,
token and column, for seed 7, step 3 and first token 40, as in the tests that read golden files."""
import math

import torch

SEED, STEP, FIRST = 7, 3, 40
M32, M64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def philox(seed, stream, position):
    c = [position & M32, position >> 32, stream & M32, stream >> 32]
    k0, k1 = seed & M32, seed >> 32
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k0, b & M32, (a >> 32) ^ c[3] ^ k1, a & M32]
        k0, k1 = (k0 + 0x9E3779B9) & M32, (k1 + 0xBB67AE85) & M32
    return c


def stream_of(purpose):
    h = 0xCBF29CE484222325
    for byte in purpose.encode():
        h = ((h ^ byte) * 0x100000001B3) & M64
    return (h + STEP) & M64


def unit(high, low):
    return ((high << 20 | low >> 12) + 0.5) * 2.0**-52


def draws(purpose, rows, cols, kind):
    values = torch.zeros(rows, cols)
    for t in range(rows):
        for i in range(cols):
            w = philox(SEED, stream_of(purpose), (FIRST + t) << 24 | i)
            u = unit(w[0], w[1])
            if kind == "uniform":
                values[t, i] = u
            elif kind == "gumbel":
                values[t, i] = -math.log(-math.log(u))
            else:
                values[t, i] = math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * unit(w[2], w[3]))
    return values
