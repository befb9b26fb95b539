#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 the moe authors
# SPDX-License-Identifier: MIT
"""Writes the fuzzer's seeds to a folder: small files, good and damaged. Standard library only."""
import json
import pathlib
import struct
import sys

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I64": 8,
         "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}


def file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def seeds():
    for dtype, size in SIZES.items():
        yield dtype, file({"a": tensor(dtype, [2, 2], 0, 4 * size)}, bytes(range(120, 120 + 4 * size)))
    yield "empty", b""
    yield "none", file({})
    yield "metadata", file({"__metadata__": {"format": "pt", "k": "v"}, "x": tensor("U8", [], 0, 1)}, b"x")
    yield "two", file({"b": tensor("F16", [3], 8, 14), "a": tensor("F64", [1, 1, 1], 0, 8)}, bytes(14))
    yield "zero", file({"z": tensor("F32", [0, 7], 0, 0), "y": tensor("I8", [2], 0, 2)}, b"\xff\x01")
    yield "padded", file(b'{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}   ', b"x")
    yield "hole", file({"x": tensor("U8", [1], 1, 2)}, b"xy")
    yield "overlap", file({"x": tensor("U8", [2], 0, 2), "y": tensor("U8", [2], 1, 3)}, b"xyz")
    yield "overflow", file({"x": tensor("F32", [2 ** 32, 2 ** 32], 0, 4)}, bytes(4))
    yield "length", struct.pack("<Q", 2 ** 63) + b"{}"
    yield "twice", file(b'{"x":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x")
    yield "deep", b"[" * 100
    yield "escape", file(b'{"\\u00e9\\ud83d\\ude00":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x")
    yield "index", json.dumps({"metadata": {"total_size": 3},
                               "weight_map": {"a": "m-1.safetensors", "b": "s/m-2.safetensors"}}).encode()
    yield "upwards", json.dumps({"weight_map": {"a": "../m.safetensors", "b": "/m"}}).encode()


folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name, content in seeds():
    (folder / name).write_bytes(content)
