# SPDX-FileCopyrightText: 2026 the moe authors
# SPDX-License-Identifier: MIT
"""The format of the golden vectors: a line "name rows cols", then one line per row."""
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent


def write(name, tensors):
    with open(HERE / name, "w", encoding="ascii") as out:
        for key, tensor in tensors.items():
            matrix = np.atleast_2d(tensor.detach().numpy())
            out.write(f"{key} {matrix.shape[0]} {matrix.shape[1]}\n")
            for row in matrix:
                out.write(" ".join(repr(float(v)) for v in row) + "\n")
