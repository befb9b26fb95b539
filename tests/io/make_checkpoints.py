#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 the moe authors
# SPDX-License-Identifier: MIT
"""Writes checkpoints/<family>/ beside this script: small models with random weights, each with the
tensor names, shapes, types and config.json of a published family, and expected.safetensors with what
its MoE block computes.

Nothing here uses the library: this file writes the safetensors format, rounds to bfloat16, float8 and
float4, and computes every family's block, all by itself, in float64 from the stored weights. expected:
x [T, D] F32, router_logits [T, E], expert_ids [T, K] I32 best first, expert_weights [T, K],
y [T, D], the last layer's. Needs NumPy and PyTorch (Debian 12: python3-numpy, python3-torch).
"""
import json
import pathlib
import shutil
import zlib

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent / "checkpoints"
TOKENS = 9
torch.set_default_dtype(torch.float64)


# --- number formats ---

def bf16_bits(values):
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def bf16_values(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def e4m3_table():
    """All 256 values of float8 e4m3fn: 4 exponent bits, bias 7; no infinity, 0x7f is NaN."""
    table = np.empty(256)
    for code in range(256):
        exponent, fraction = code >> 3 & 15, code & 7
        value = fraction / 8 * 2.0 ** -6 if exponent == 0 else (1 + fraction / 8) * 2.0 ** (exponent - 7)
        value = np.nan if code & 0x7F == 0x7F else value
        table[code] = -value if code & 0x80 else value
    return table


E4M3 = e4m3_table()
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def nearest(table, values):
    table = np.where(np.isnan(table), np.inf, table)
    return np.abs(values[..., None] - table).argmin(-1).astype(np.uint8)


# --- safetensors ---

SIZES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I32": np.int32, "I64": np.int64,
         "I8": np.int8, "U8": np.uint8, "BF16": np.uint16, "F8_E4M3": np.uint8, "F8_E8M0": np.uint8}


def write_safetensors(path, tensors):
    header, blobs, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, (dtype, array) in tensors.items():
        blob = np.ascontiguousarray(array, SIZES[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape),
                        "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


class Model:
    """Tensors being made; every method returns, in float64, what a reader of the file will see."""

    def __init__(self, name, seed, config):
        self.name, self.config, self.tensors = name, config, {}
        self.random = np.random.default_rng(seed)
        self.expected, self.shards = {}, 1

    def normal(self, *shape, scale=0.3):
        return self.random.standard_normal(shape) * scale

    def put(self, name, values, dtype="BF16"):
        values = np.asarray(values)
        if dtype == "BF16":
            bits = bf16_bits(values)
            self.tensors[name] = (dtype, bits)
            return torch.tensor(bf16_values(bits), dtype=torch.float64)
        stored = values.astype(SIZES[dtype])
        self.tensors[name] = (dtype, stored)
        return torch.tensor(stored.astype(np.float64))

    def weight(self, name, *shape, dtype="BF16", scale=0.3):
        return self.put(name, self.normal(*shape, scale=scale), dtype)

    def fp8_weight(self, name, rows, cols, block, scale_name=".weight_scale_inv"):
        """Block-scaled: value = float8 * weight_scale_inv of its block; edge blocks are partial."""
        w = self.normal(rows, cols)
        blocks = -(-rows // block[0]), -(-cols // block[1])
        scale = (np.abs(self.normal(*blocks)) * 0.002 + 0.0005).astype(np.float32)
        full = scale.repeat(block[0], 0).repeat(block[1], 1)[:rows, :cols].astype(np.float64)
        codes = nearest(E4M3, w / full)
        self.tensors[name + ".weight"] = ("F8_E4M3", codes)
        self.tensors[name + scale_name] = ("F32", scale)
        return torch.tensor(E4M3[codes] * full)

    def fp8_scaled(self, name, shape, scale_name, scale_shape, scale_type="F32"):
        """A scale of scale_shape, broadcast over the weight; [] and [1] are one for all of it."""
        w = self.normal(*shape)
        scale = np.abs(self.normal(*scale_shape)) * 0.002 + 0.0005
        scale = self.put(scale_name, scale, scale_type).numpy()
        codes = nearest(E4M3, w / scale)
        self.tensors[name] = ("F8_E4M3", codes)
        return torch.tensor(E4M3[codes] * scale)

    def fp4_weight(self, name, rows, cols):
        """DeepSeek-V4: two float4 to an int8, the low half first; 32 along a row share 2^(scale - 127)."""
        scales = self.random.integers(122, 127, (rows, cols // 32)).astype(np.uint8)
        codes = self.random.integers(0, 16, (rows, cols)).astype(np.uint8)
        self.tensors[name + ".weight"] = ("I8", (codes[:, 0::2] | codes[:, 1::2] << 4).view(np.int8))
        self.tensors[name + ".scale"] = ("F8_E8M0", scales)
        power = 2.0 ** (scales.astype(np.float64) - 127)
        return torch.tensor(E2M1[codes] * power.repeat(32, 1))

    def mxfp4_weight(self, names, experts, rows, cols):
        """32 values share a power of two, 2^(scale - 127); the low half of a byte comes first."""
        scales = self.random.integers(122, 127, (experts, rows, cols // 32)).astype(np.uint8)
        codes = self.random.integers(0, 16, (experts, rows, cols // 32, 32)).astype(np.uint8)
        self.tensors[names[0]] = ("U8", codes[..., 0::2] | codes[..., 1::2] << 4)
        self.tensors[names[1]] = ("U8", scales)
        values = E2M1[codes] * 2.0 ** (scales[..., None].astype(np.float64) - 127)
        return torch.tensor(values.reshape(experts, rows, cols))

    def input(self, d):
        x = self.normal(TOKENS, d, scale=1).astype(np.float32)
        self.expected["x"] = ("F32", x)
        return torch.tensor(x.astype(np.float64))

    def expect(self, logits, ids, weights, y):
        self.expected["router_logits"] = ("F64", logits.numpy())
        self.expected["expert_ids"] = ("I32", ids.numpy())
        self.expected["expert_weights"] = ("F64", weights.numpy())
        self.expected["y"] = ("F64", y.numpy())

    def save(self):
        folder = HERE / self.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(self.config, indent=2) + "\n")
        write_safetensors(folder / "expected.safetensors", self.expected)
        if self.shards == 1:
            write_safetensors(folder / "model.safetensors", self.tensors)
            return
        names, place = list(self.tensors), {}
        for i in range(self.shards):
            file = f"model-{i + 1:05}-of-{self.shards:05}.safetensors"
            mine = {n: self.tensors[n] for n in names[i::self.shards]}
            place.update({n: file for n in mine})
            write_safetensors(folder / file, mine)
        index = {"metadata": {"total_size": 0}, "weight_map": {n: place[n] for n in sorted(place)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


class NearTie(Exception):
    pass


# --- what the blocks are made of ---

def swiglu(x, gate, up, down, gate_bias=0, up_bias=0, down_bias=0):
    return (F.silu(x @ gate.T + gate_bias) * (x @ up.T + up_bias)) @ down.T + down_bias


def top(key, k):
    """The k best, best first; refuses a draw that float32 could order otherwise."""
    ranked, index = key.sort(dim=-1, descending=True, stable=True)
    gaps = (ranked[:, :k] - ranked[:, 1:k + 1]) if k < key.shape[1] else ranked[:, :-1] - ranked[:, 1:]
    if gaps.min() < 2e-3:
        raise NearTie
    return index[:, :k]


def take(values, ids):
    return values.gather(1, ids)


def softmax_route(logits, k, renormalize, scale=1.0):
    p = torch.softmax(logits, -1)
    ids = top(p, k)
    w = take(p, ids)
    if renormalize:
        w = w / w.sum(-1, keepdim=True)
    return ids, w * scale


def chosen_softmax_route(logits, k):
    ids = top(logits, k)
    return ids, torch.softmax(take(logits, ids), -1)


def limit_groups(key, group_score, groups, kept, outside):
    score = group_score(key.view(len(key), groups, -1))
    best = top(score, kept)
    mask = torch.zeros_like(score).scatter(1, best, 1.0).repeat_interleave(key.shape[1] // groups, 1)
    return torch.where(mask > 0, key, torch.full_like(key, outside))


def sigmoid_route(logits, bias, k, groups=1, kept=1, norm=True, eps=1e-20, scale=1.0):
    s = torch.sigmoid(logits)
    key = s + bias
    if groups > 1:
        key = limit_groups(key, lambda g: g.topk(2, -1)[0].sum(-1), groups, kept, -torch.inf)
    ids = top(key, k)
    w = take(s, ids)
    if norm:
        w = w / (w.sum(-1, keepdim=True) + eps)
    return ids, w * scale


def mix(x, ids, weights, expert):
    y = torch.zeros_like(x)
    for t in range(len(x)):
        for j in range(ids.shape[1]):
            y[t] += weights[t, j] * expert(int(ids[t, j]), x[t:t + 1])[0]
    return y


def experts_by_name(m, prefix, names, e, d, h, dtype="BF16", block=None):
    """[E] of [gate, up, down], one tensor each."""
    result = []
    for i in range(e):
        shapes = [(h, d), (h, d), (d, h)]
        if block:
            result.append([m.fp8_weight(f"{prefix}.experts.{i}.{n}", *s, block)
                           for n, s in zip(names, shapes)])
        else:
            result.append([m.weight(f"{prefix}.experts.{i}.{n}.weight", *s, dtype=dtype)
                           for n, s in zip(names, shapes)])
    return result


W123 = ("w1", "w3", "w2")
PROJ = ("gate_proj", "up_proj", "down_proj")


def dense_layer(m, layer, d, h):
    for name, shape in zip(PROJ, [(h, d), (h, d), (d, h)]):
        m.weight(f"model.layers.{layer}.mlp.{name}.weight", *shape)


def glu(m, prefix, d, h):
    return [m.weight(f"{prefix}.{n}.weight", *s) for n, s in zip(PROJ, [(h, d), (h, d), (d, h)])]


def glu_biases(m, prefix, d, h):
    return [m.weight(f"{prefix}.{n}.bias", k) for n, k in zip(PROJ, (h, h, d))]


def finish(m, x, logits, ids, w, experts, extra=None):
    y = mix(x, ids, w, lambda e, v: swiglu(v, *experts[e]))
    m.expect(logits, ids, w, y if extra is None else y + extra)
    return m


# --- the families ---

def mixtral(seed):
    d, h, e, k = 20, 12, 6, 2
    m = Model("mixtral", seed, {
        "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": d,
        "intermediate_size": h, "num_local_experts": e, "num_experts_per_tok": k,
        "num_hidden_layers": 2, "hidden_act": "silu", "vocab_size": 7, "torch_dtype": "bfloat16"})
    m.weight("model.embed_tokens.weight", 7, d)
    for layer in range(2):
        p = f"model.layers.{layer}.block_sparse_moe"
        router = m.weight(f"{p}.gate.weight", e, d)
        experts = experts_by_name(m, p, W123, e, d, h)
    x = m.input(d)
    logits = x @ router.T
    return finish(m, x, logits, *softmax_route(logits, k, True), experts)


def phimoe(seed):
    d, h, e, k, jitter = 20, 12, 6, 2, 0.2
    m = Model("phimoe", seed, {
        "architectures": ["PhiMoEForCausalLM"], "model_type": "phimoe", "hidden_size": d,
        "intermediate_size": h, "num_local_experts": e, "num_experts_per_tok": k,
        "num_hidden_layers": 1, "hidden_act": "silu", "router_jitter_noise": jitter,
        "input_jitter_noise": 0.01, "vocab_size": 7, "torch_dtype": "bfloat16"})
    p = "model.layers.0.block_sparse_moe"
    router = m.weight(f"{p}.gate.weight", e, d)
    experts = experts_by_name(m, p, W123, e, d, h)
    x = m.input(d)
    logits = x @ router.T
    top(logits, k)
    ids, weights = [], []
    remaining = logits.clone()
    for _ in range(k):  # the model's evaluation: each place has its own softmax of the near-best
        best, index = remaining.max(-1, keepdim=True)
        distance = (best - logits) / torch.maximum(logits.abs(), best)
        if (distance - 2 * jitter).abs().min() < 1e-3:
            raise NearTie
        kept = remaining.masked_fill(distance > 2 * jitter, -torch.inf)
        weights.append(take(torch.softmax(kept, -1), index))
        ids.append(index)
        remaining = remaining.scatter(1, index, -torch.inf)
    return finish(m, x, logits, torch.cat(ids, 1), torch.cat(weights, 1), experts)


def minimax_m2(seed):
    d, h, e, k, block = 20, 12, 6, 2, (8, 16)
    m = Model("minimax_m2", seed, {
        "architectures": ["MiniMaxM2ForCausalLM"], "model_type": "minimax_m2", "hidden_size": d,
        "intermediate_size": h, "num_local_experts": e, "num_experts_per_tok": k,
        "num_hidden_layers": 1, "hidden_act": "silu", "scoring_func": "sigmoid",
        "use_routing_bias": True, "shared_intermediate_size": 0, "vocab_size": 7,
        "quantization_config": {"quant_method": "fp8", "fmt": "float8_e4m3fn",
                                "activation_scheme": "dynamic", "weight_block_size": list(block)}})
    p = "model.layers.0.block_sparse_moe"
    router = m.weight(f"{p}.gate.weight", e, d, dtype="F32")
    bias = m.put(f"{p}.e_score_correction_bias", m.normal(e, scale=0.2), "F32")
    experts = experts_by_name(m, p, W123, e, d, h, block=block)
    x = m.input(d)
    logits = x @ router.T
    return finish(m, x, logits, *sigmoid_route(logits, bias, k, eps=0), experts)


def qwen2_moe(seed):
    d, h, s, e, k = 20, 12, 18, 6, 3
    m = Model("qwen2_moe", seed, {
        "architectures": ["Qwen2MoeForCausalLM"], "model_type": "qwen2_moe", "hidden_size": d,
        "intermediate_size": 44, "moe_intermediate_size": h, "shared_expert_intermediate_size": s,
        "num_experts": e, "num_experts_per_tok": k, "norm_topk_prob": False,
        "decoder_sparse_step": 1, "num_hidden_layers": 1, "hidden_act": "silu", "vocab_size": 7})
    p = "model.layers.0.mlp"
    router = m.weight(f"{p}.gate.weight", e, d)
    experts = experts_by_name(m, p, PROJ, e, d, h)
    shared = glu(m, f"{p}.shared_expert", d, s)
    shared_gate = m.weight(f"{p}.shared_expert_gate.weight", 1, d)
    x = m.input(d)
    logits = x @ router.T
    extra = torch.sigmoid(x @ shared_gate.T) * swiglu(x, *shared)
    return finish(m, x, logits, *softmax_route(logits, k, False), experts, extra)


def qwen3_moe(seed):
    d, h, e, k = 20, 12, 8, 3
    m = Model("qwen3_moe", seed, {
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": d,
        "intermediate_size": 44, "moe_intermediate_size": h, "num_experts": e,
        "num_experts_per_tok": k, "norm_topk_prob": True, "num_hidden_layers": 2,
        "mlp_only_layers": [0], "hidden_act": "silu", "vocab_size": 7})
    dense_layer(m, 0, d, 4)
    p = "model.layers.1.mlp"
    router = m.weight(f"{p}.gate.weight", e, d)
    experts = experts_by_name(m, p, PROJ, e, d, h)
    m.shards = 3
    x = m.input(d)
    logits = x @ router.T
    return finish(m, x, logits, *softmax_route(logits, k, True), experts)


def olmoe(seed):
    d, h, e, k = 20, 12, 8, 3
    m = Model("olmoe", seed, {
        "architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "hidden_size": d,
        "intermediate_size": h, "num_experts": e, "num_experts_per_tok": k,
        "norm_topk_prob": False, "num_hidden_layers": 1, "hidden_act": "silu", "vocab_size": 7})
    p = "model.layers.0.mlp"
    router = m.weight(f"{p}.gate.weight", e, d, dtype="F32")
    experts = experts_by_name(m, p, PROJ, e, d, h, dtype="F32")
    x = m.input(d)
    logits = x @ router.T
    return finish(m, x, logits, *softmax_route(logits, k, False), experts)


def deepseek_v2(seed):
    d, h, e, k, groups, kept, scale = 20, 12, 8, 3, 4, 2, 16.0
    m = Model("deepseek_v2", seed, {
        "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "hidden_size": d,
        "intermediate_size": 4, "moe_intermediate_size": h, "n_routed_experts": e,
        "n_shared_experts": 2, "num_experts_per_tok": k, "n_group": groups, "topk_group": kept,
        "topk_method": "group_limited_greedy", "scoring_func": "softmax", "norm_topk_prob": False,
        "routed_scaling_factor": scale, "first_k_dense_replace": 1, "moe_layer_freq": 1,
        "num_hidden_layers": 2, "hidden_act": "silu", "vocab_size": 7})
    dense_layer(m, 0, d, 4)
    p = "model.layers.1.mlp"
    router = m.weight(f"{p}.gate.weight", e, d)
    experts = experts_by_name(m, p, PROJ, e, d, h)
    shared = glu(m, f"{p}.shared_experts", d, 2 * h)
    x = m.input(d)
    logits = x @ router.T
    p = torch.softmax(logits, -1)
    ids = top(limit_groups(p, lambda g: g.max(-1)[0], groups, kept, 0.0), k)
    return finish(m, x, logits, ids, take(p, ids) * scale, experts, swiglu(x, *shared))


def deepseek_v2_lite(seed):
    d, h, e, k = 20, 12, 6, 3
    m = Model("deepseek_v2_lite", seed, {
        "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "hidden_size": d,
        "intermediate_size": 4, "moe_intermediate_size": h, "n_routed_experts": e,
        "n_shared_experts": 2, "num_experts_per_tok": k, "n_group": 1, "topk_group": 1,
        "topk_method": "greedy", "scoring_func": "softmax", "norm_topk_prob": False,
        "routed_scaling_factor": 1.0, "first_k_dense_replace": 0, "num_hidden_layers": 1,
        "hidden_act": "silu", "vocab_size": 7})
    p = "model.layers.0.mlp"
    router = m.weight(f"{p}.gate.weight", e, d)
    experts = experts_by_name(m, p, PROJ, e, d, h)
    shared = glu(m, f"{p}.shared_experts", d, 2 * h)
    x = m.input(d)
    logits = x @ router.T
    return finish(m, x, logits, *softmax_route(logits, k, False), experts, swiglu(x, *shared))


def deepseek_v3(seed):
    d, h, e, k, block, scale = 40, 12, 8, 3, (8, 16), 2.5
    m = Model("deepseek_v3", seed, {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "hidden_size": d,
        "intermediate_size": 4, "moe_intermediate_size": h, "n_routed_experts": e,
        "n_shared_experts": 1, "num_experts_per_tok": k, "n_group": 4, "topk_group": 2,
        "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": True,
        "routed_scaling_factor": scale, "first_k_dense_replace": 1, "moe_layer_freq": 1,
        "num_hidden_layers": 2, "hidden_act": "silu", "vocab_size": 7,
        "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3",
                                "quant_method": "fp8", "weight_block_size": list(block)}})
    dense_layer(m, 0, d, 4)
    p = "model.layers.1.mlp"
    router = m.weight(f"{p}.gate.weight", e, d)
    bias = m.put(f"{p}.gate.e_score_correction_bias", m.normal(e, scale=0.5) - 1.0, "F32")
    experts = experts_by_name(m, p, PROJ, e, d, h, block=block)
    shared = [m.fp8_weight(f"{p}.shared_experts.{n}", *s, block)
              for n, s in zip(PROJ, [(h, d), (h, d), (d, h)])]
    x = m.input(d)
    logits = x @ router.T
    route = sigmoid_route(logits, bias, k, 4, 2, eps=0, scale=scale)
    return finish(m, x, logits, *route, experts, swiglu(x, *shared))


def sigmoid_kin(name, model_type, architecture, seed, scale, layers_before=1, root="model.",
                method="noaux_tc", scoring="sigmoid"):
    """GLM-4.5, dots.llm1, Kimi-K2: DeepSeek-V3's shape in bfloat16, one group."""
    d, h, e, k = 20, 12, 8, 3
    m = Model(name, seed, {
        "architectures": [architecture], "model_type": model_type, "hidden_size": d,
        "intermediate_size": 4, "moe_intermediate_size": h, "n_routed_experts": e,
        "n_shared_experts": 1, "num_experts_per_tok": k, "n_group": 1, "topk_group": 1,
        "scoring_func": scoring, "topk_method": method, "norm_topk_prob": True,
        "routed_scaling_factor": scale, "first_k_dense_replace": layers_before,
        "num_hidden_layers": layers_before + 1, "hidden_act": "silu", "vocab_size": 7})
    if root != "model.":  # the language model of a larger one
        m.config = {"architectures": [architecture], "model_type": model_type,
                    "text_config": m.config | {"model_type": model_type + "_text"}}
    for layer in range(layers_before):
        dense_layer(m, layer, d, 4)
    p = f"{root}layers.{layers_before}.mlp"
    router = m.weight(f"{p}.gate.weight", e, d)
    bias = m.put(f"{p}.gate.e_score_correction_bias", m.normal(e, scale=0.3), "F32")
    experts = experts_by_name(m, p, PROJ, e, d, h)
    shared = glu(m, f"{p}.shared_experts", d, h)
    x = m.input(d)
    logits = x @ router.T
    return finish(m, x, logits, *sigmoid_route(logits, bias, k, scale=scale), experts,
                  swiglu(x, *shared))


def glm4_moe(seed):
    return sigmoid_kin("glm4_moe", "glm4_moe", "Glm4MoeForCausalLM", seed, 2.5)


def glm4v_moe(seed):
    return sigmoid_kin("glm4v_moe", "glm4v_moe", "Glm4vMoeForConditionalGeneration", seed, 1.0, 0,
                       root="model.language_model.", method=None, scoring=None)


def dots1(seed):
    return sigmoid_kin("dots1", "dots1", "Dots1ForCausalLM", seed, 2.5, 0, scoring="noaux_tc")


def kimi_k2(seed):
    return sigmoid_kin("kimi_k2", "kimi_k2", "DeepseekV3ForCausalLM", seed, 2.827, 0)


def ernie4_5_moe(seed):
    d, h, e, k, least = 20, 12, 8, 3, 1e-12
    m = Model("ernie4_5_moe", seed, {
        "architectures": ["Ernie4_5_MoeForCausalLM"], "model_type": "ernie4_5_moe",
        "hidden_size": d, "intermediate_size": 4, "moe_intermediate_size": h,
        "moe_num_experts": e, "moe_k": k, "moe_num_shared_experts": 2, "moe_norm_min": least,
        "moe_layer_start_index": 1, "moe_layer_interval": 1, "use_bias": False,
        "num_hidden_layers": 2, "hidden_act": "silu", "vocab_size": 7})
    dense_layer(m, 0, d, 4)
    p = "model.layers.1.mlp"
    router = m.weight(f"{p}.gate.weight", e, d, dtype="F32")
    bias = m.put(f"{p}.moe_statics.e_score_correction_bias", m.normal(1, e, scale=0.2), "F32")
    experts = experts_by_name(m, p, PROJ, e, d, h)
    shared = glu(m, f"{p}.shared_experts", d, 2 * h)
    x = m.input(d)
    logits = x @ router.T
    probability = torch.softmax(logits, -1)
    ids = top(probability + bias, k)
    w = take(probability, ids)
    w = w / w.sum(-1, keepdim=True).clamp(min=least)
    return finish(m, x, logits, ids, w, experts, swiglu(x, *shared))


def bailing_moe(seed):
    d, h, e, k = 20, 12, 8, 3
    m = Model("bailing_moe", seed, {
        "architectures": ["BailingMoeForCausalLM"], "model_type": "bailing_moe", "hidden_size": d,
        "intermediate_size": 4, "moe_intermediate_size": h, "num_experts": e,
        "num_experts_per_tok": k, "num_shared_experts": 2, "norm_topk_prob": True,
        "use_bias": True, "first_k_dense_replace": 0, "num_hidden_layers": 1, "hidden_act": "silu", "vocab_size": 7})
    p = "model.layers.0.mlp"
    router = m.weight(f"{p}.gate.weight", e, d)
    experts = experts_by_name(m, p, PROJ, e, d, h)
    experts = [w + glu_biases(m, f"{p}.experts.{i}", d, h) for i, w in enumerate(experts)]
    shared = glu(m, f"{p}.shared_experts", d, 2 * h) + glu_biases(m, f"{p}.shared_experts", d, 2 * h)
    x = m.input(d)
    logits = x @ router.T
    return finish(m, x, logits, *softmax_route(logits, k, True), experts, swiglu(x, *shared))


def bailing_moe_v2(seed):
    d, h, e, k = 20, 12, 8, 2
    m = Model("bailing_moe_v2", seed, {
        "architectures": ["BailingMoeV2ForCausalLM"], "model_type": "bailing_moe",
        "hidden_size": d, "intermediate_size": 4, "moe_intermediate_size": h, "num_experts": e,
        "num_experts_per_tok": k, "num_shared_experts": 1, "n_group": 4, "topk_group": 2,
        "norm_topk_prob": True, "routed_scaling_factor": 2.5, "score_function": "sigmoid",
        "moe_router_enable_expert_bias": True, "first_k_dense_replace": 1,
        "num_hidden_layers": 2, "hidden_act": "silu", "vocab_size": 7})
    dense_layer(m, 0, d, 4)
    p = "model.layers.1.mlp"
    router = m.weight(f"{p}.gate.weight", e, d, dtype="F32")
    bias = m.put(f"{p}.gate.expert_bias", m.normal(e, scale=0.3), "F32")
    experts = experts_by_name(m, p, PROJ, e, d, h)
    shared = glu(m, f"{p}.shared_experts", d, h)
    x = m.input(d)
    logits = x @ router.T
    return finish(m, x, logits, *sigmoid_route(logits, bias, k, 4, 2, scale=2.5), experts,
                  swiglu(x, *shared))


def longcat_flash(seed):
    d, h, e, zero, k, scale = 20, 12, 6, 3, 4, 6.0
    m = Model("longcat_flash", seed, {
        "architectures": ["LongcatFlashForCausalLM"], "model_type": "longcat_flash",
        "hidden_size": d, "ffn_hidden_size": 4, "expert_ffn_hidden_size": h,
        "n_routed_experts": e, "zero_expert_num": zero, "zero_expert_type": "identity",
        "moe_topk": k, "routed_scaling_factor": scale, "router_bias": False, "num_layers": 1,
        "vocab_size": 7})
    p = "model.layers.0.mlp"
    router = m.weight(f"{p}.router.classifier.weight", e + zero, d, dtype="F32")
    bias = m.put(f"{p}.router.e_score_correction_bias", m.normal(e + zero, scale=0.1), "F32")
    experts = experts_by_name(m, p, PROJ, e, d, h)
    x = m.input(d)
    logits = x @ router.T
    probability = torch.softmax(logits, -1)
    ids = top(probability + bias, k)
    if not ((ids >= e).any() and (ids < e).any()):
        raise NearTie
    w = take(probability, ids) * scale
    m.expect(logits, ids, w,
             mix(x, ids, w, lambda i, v: swiglu(v, *experts[i]) if i < e else v))
    return m


def jamba(seed):
    d, h, e, k = 20, 12, 6, 2
    m = Model("jamba", seed, {
        "architectures": ["JambaForCausalLM"], "model_type": "jamba", "hidden_size": d,
        "intermediate_size": h, "num_experts": e, "num_experts_per_tok": k,
        "expert_layer_period": 2, "expert_layer_offset": 1, "num_hidden_layers": 2,
        "hidden_act": "silu", "vocab_size": 7})
    glu(m, "model.layers.0.feed_forward", d, h)
    p = "model.layers.1.feed_forward"
    router = m.weight(f"{p}.router.weight", e, d)
    experts = experts_by_name(m, p, PROJ, e, d, h)
    x = m.input(d)
    logits = x @ router.T
    return finish(m, x, logits, *softmax_route(logits, k, False), experts)


def fused_experts(m, prefix, e, d, h):
    """input_linear: gate above up."""
    both = m.weight(f"{prefix}.input_linear.weight", e, 2 * h, d)
    down = m.weight(f"{prefix}.output_linear.weight", e, d, h)
    return [(both[i, :h], both[i, h:], down[i]) for i in range(e)]


def granitemoe(seed):
    d, h, e, k = 20, 12, 6, 3
    m = Model("granitemoe", seed, {
        "architectures": ["GraniteMoeForCausalLM"], "model_type": "granitemoe", "hidden_size": d,
        "intermediate_size": h, "num_local_experts": e, "num_experts_per_tok": k,
        "num_hidden_layers": 1, "hidden_act": "silu", "vocab_size": 7})
    p = "model.layers.0.block_sparse_moe"
    router = m.weight(f"{p}.router.layer.weight", e, d)
    experts = fused_experts(m, p, e, d, h)
    x = m.input(d)
    logits = x @ router.T
    return finish(m, x, logits, *chosen_softmax_route(logits, k), experts)


def granitemoeshared(seed):
    d, h, s, e, k = 20, 12, 8, 6, 3
    m = Model("granitemoeshared", seed, {
        "architectures": ["GraniteMoeSharedForCausalLM"], "model_type": "granitemoeshared",
        "hidden_size": d, "intermediate_size": h, "shared_intermediate_size": s,
        "num_local_experts": e, "num_experts_per_tok": k, "num_hidden_layers": 1,
        "hidden_act": "silu", "vocab_size": 7})
    p = "model.layers.0.block_sparse_moe"
    router = m.weight(f"{p}.router.layer.weight", e, d)
    experts = fused_experts(m, p, e, d, h)
    both = m.weight("model.layers.0.shared_mlp.input_linear.weight", 2 * s, d)
    down = m.weight("model.layers.0.shared_mlp.output_linear.weight", d, s)
    x = m.input(d)
    logits = x @ router.T
    return finish(m, x, logits, *chosen_softmax_route(logits, k), experts,
                  swiglu(x, both[:s], both[s:], down))


def jetmoe(seed):
    d, h, e, k = 20, 12, 6, 2
    m = Model("jetmoe", seed, {
        "architectures": ["JetMoeForCausalLM"], "model_type": "jetmoe", "hidden_size": d,
        "intermediate_size": h, "num_local_experts": e, "num_experts_per_tok": k,
        "num_hidden_layers": 1, "activation_function": "silu", "vocab_size": 7})
    p = "model.layers.0.mlp"
    router = m.weight(f"{p}.router.layer.weight", e, d)
    experts = fused_experts(m, p, e, d, h)
    bias = m.weight(f"{p}.bias", d)
    x = m.input(d)
    logits = x @ router.T
    return finish(m, x, logits, *chosen_softmax_route(logits, k), experts, bias)


def dbrx(seed):
    d, h, e, k = 20, 12, 6, 3
    m = Model("dbrx", seed, {
        "architectures": ["DbrxForCausalLM"], "model_type": "dbrx", "d_model": d, "n_layers": 1,
        "ffn_config": {"ffn_act_fn": {"name": "silu"}, "ffn_hidden_size": h, "moe_num_experts": e,
                       "moe_top_k": k}, "vocab_size": 7})
    p = "transformer.blocks.0.ffn"
    router = m.weight(f"{p}.router.layer.weight", e, d)
    w1, v1, w2 = (m.weight(f"{p}.experts.mlp.{n}", e * h, d).view(e, h, d) for n in ("w1", "v1", "w2"))
    experts = [(w1[i], v1[i], w2[i].T) for i in range(e)]
    x = m.input(d)
    logits = x @ router.T
    return finish(m, x, logits, *softmax_route(logits, k, True), experts)


def clamped_swiglu(x, gate, up, down, gate_bias, up_bias, down_bias, limit):
    g = (x @ gate.T + gate_bias).clamp(max=limit)
    u = (x @ up.T + up_bias).clamp(-limit, limit)
    return (g * torch.sigmoid(1.702 * g) * (u + 1)) @ down.T + down_bias


def gpt_oss(seed, original=False, quantized=True):
    d, h, e, k, limit = 64, 32, 4, 2, 1.5
    config = {"num_hidden_layers": 1, "hidden_size": d, "intermediate_size": h,
              "swiglu_limit": limit, "vocab_size": 7}
    if original:
        config |= {"num_experts": e, "experts_per_token": k}
        p, router_name = "block.0.mlp", "gate"
        both, down = f"{p}.mlp1_weight", f"{p}.mlp2_weight"
        names = [(f"{n}.blocks", f"{n}.scales") for n in (both, down)]
        bias_names = (f"{p}.mlp1_bias", f"{p}.mlp2_bias")
    else:
        config |= {"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss",
                   "num_local_experts": e, "num_experts_per_tok": k, "hidden_act": "silu"}
        p, router_name = "model.layers.0.mlp", "router"
        both, down = f"{p}.experts.gate_up_proj", f"{p}.experts.down_proj"
        names = [(f"{n}_blocks", f"{n}_scales") for n in (both, down)]
        bias_names = (f"{both}_bias", f"{down}_bias")
        if quantized:
            config["quantization_config"] = {"quant_method": "mxfp4"}
    suffix = "_original" if original else "" if quantized else "_bf16"
    m = Model("gpt_oss" + suffix, seed, config)
    router = m.weight(f"{p}.{router_name}.weight", e, d)
    router_bias = m.weight(f"{p}.{router_name}.bias", e)
    if quantized:
        gate_up = m.mxfp4_weight(names[0], e, 2 * h, d)
        out = m.mxfp4_weight(names[1], e, d, h)
    else:
        gate_up = m.weight(both, e, d, 2 * h).transpose(1, 2)
        out = m.weight(down, e, h, d).transpose(1, 2)
    gate_up_bias = m.weight(bias_names[0], e, 2 * h)
    out_bias = m.weight(bias_names[1], e, d)
    x = m.input(d)
    logits = x @ router.T + router_bias
    ids, w = chosen_softmax_route(logits, k)

    def expert(i, v):  # rows of the fused tensor alternate: gate, up, gate, up
        return clamped_swiglu(v, gate_up[i, 0::2], gate_up[i, 1::2], out[i],
                              gate_up_bias[i, 0::2], gate_up_bias[i, 1::2], out_bias[i], limit)

    m.expect(logits, ids, w, mix(x, ids, w, expert))
    return m


def gpt_oss_original(seed):
    return gpt_oss(seed, original=True)


def gpt_oss_bf16(seed):
    return gpt_oss(seed, quantized=False)


def llama4(seed):
    d, h, e, k = 20, 12, 4, 1
    m = Model("llama4", seed, {
        "architectures": ["Llama4ForConditionalGeneration"], "model_type": "llama4",
        "text_config": {"model_type": "llama4_text", "hidden_size": d, "intermediate_size": h,
                        "intermediate_size_mlp": 24, "num_local_experts": e,
                        "num_experts_per_tok": k, "interleave_moe_layer_step": 2,
                        "num_hidden_layers": 2, "hidden_act": "silu", "vocab_size": 7}})
    glu(m, "language_model.model.layers.0.feed_forward", d, 24)
    p = "language_model.model.layers.1.feed_forward"
    router = m.weight(f"{p}.router.weight", e, d)
    both = m.weight(f"{p}.experts.gate_up_proj", e, d, 2 * h)
    down = m.weight(f"{p}.experts.down_proj", e, h, d)
    shared = glu(m, f"{p}.shared_expert", d, h)
    x = m.input(d)
    logits = x @ router.T
    ids = top(logits, k)
    w = torch.sigmoid(take(logits, ids))
    y = torch.cat([swiglu(w[t] * x[t:t + 1], both[i, :, :h].T, both[i, :, h:].T, down[i].T)
                   for t, i in enumerate(ids[:, 0].tolist())])
    m.expect(logits, ids, w, y + swiglu(x, *shared))
    return m


def switch_transformers(seed):
    d, h, e = 20, 12, 6
    m = Model("switch_transformers", seed, {
        "architectures": ["SwitchTransformersForConditionalGeneration"],
        "model_type": "switch_transformers", "d_model": d, "d_ff": h, "num_experts": e,
        "expert_capacity": 64, "num_layers": 2, "num_decoder_layers": 2, "num_sparse_encoder_layers": 1,
        "num_sparse_decoder_layers": 1, "encoder_sparse_step": 2, "decoder_sparse_step": 2,
        "dense_act_fn": "relu", "feed_forward_proj": "relu", "is_gated_act": False,
        "router_bias": False, "vocab_size": 7})
    for stack, part in ("encoder", 1), ("decoder", 2):
        m.weight(f"{stack}.block.0.layer.{part}.mlp.wi.weight", h, d, dtype="F32")
        m.weight(f"{stack}.block.0.layer.{part}.mlp.wo.weight", d, h, dtype="F32")
        p = f"{stack}.block.1.layer.{part}.mlp"
        router = m.weight(f"{p}.router.classifier.weight", e, d, dtype="F32")
        experts = [(m.weight(f"{p}.experts.expert_{i}.wi.weight", h, d, dtype="F32"),
                    m.weight(f"{p}.experts.expert_{i}.wo.weight", d, h, dtype="F32"))
                   for i in range(e)]
    x = m.input(d)
    logits = x @ router.T
    ids, w = softmax_route(logits, 1, False)
    m.expect(logits, ids, w,
             mix(x, ids, w, lambda i, v: torch.relu(v @ experts[i][0].T) @ experts[i][1].T))
    return m


def nllb_moe(seed):
    d, h, e, dropout = 20, 12, 6, 0.2
    m = Model("nllb_moe", seed, {
        "architectures": ["NllbMoeForConditionalGeneration"], "model_type": "nllb-moe",
        "d_model": d, "encoder_ffn_dim": 16, "decoder_ffn_dim": h, "num_experts": e,
        "encoder_layers": 1, "decoder_layers": 2, "encoder_sparse_step": 4,
        "decoder_sparse_step": 2, "activation_function": "relu", "router_bias": False,
        "second_expert_policy": "all", "normalize_router_prob_before_dropping": False,
        "moe_eval_capacity_token_fraction": 1.0, "moe_token_dropout": dropout, "vocab_size": 7})
    for stack, layer, width in ("encoder", 0, 16), ("decoder", 0, h):
        m.weight(f"model.{stack}.layers.{layer}.ffn.fc1.weight", width, d, dtype="F32")
        m.weight(f"model.{stack}.layers.{layer}.ffn.fc2.weight", d, width, dtype="F32")
    p = "model.decoder.layers.1.ffn"
    router = m.weight(f"{p}.router.classifier.weight", e, d, dtype="F32")
    experts = []
    for i in range(e):
        q = f"{p}.experts.expert_{i}"
        experts.append([m.weight(f"{q}.{n}", *s, dtype="F32") for n, s in
                        [("fc1.weight", (h, d)), ("fc1.bias", (h,)), ("fc2.weight", (d, h)),
                         ("fc2.bias", (d,))]])
    x = m.input(d)
    logits = x @ router.T
    ids, w = softmax_route(logits, 2, True, 1 - dropout)

    def expert(i, v):
        w1, b1, w2, b2 = experts[i]
        return torch.relu(v @ w1.T + b1) @ w2.T + b2

    m.expect(logits, ids, w, mix(x, ids, w, expert))
    return m


def grok1(seed):
    d, h, e, k = 20, 12, 4, 2
    m = Model("grok1", seed, {
        "architectures": ["Grok1ModelForCausalLM"], "model_type": "grok-1", "hidden_size": d,
        "intermediate_size": h, "num_experts": e, "num_experts_per_tok": k,
        "num_hidden_layers": 1, "vocab_size": 7})
    p = "model.layers.0.moe_block"
    router = m.weight(f"{p}.gate.weight", e, d)
    experts = experts_by_name(m, p, ("linear", "linear_v", "linear_1"), e, d, h)
    return finish_grok(m, d, router, experts, k)


def finish_grok(m, d, router, experts, k):
    x = m.input(d)
    logits = x @ router.T
    ids, w = softmax_route(logits, k, False)

    def gelu_tanh(z):
        return 0.5 * z * (1 + torch.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z ** 3)))

    def expert(i, v):
        gate, up, down = experts[i]
        return (gelu_tanh(v @ gate.T) * (v @ up.T)) @ down.T

    m.expect(logits, ids, w, mix(x, ids, w, expert))
    return m


def mixtral_fp8(seed):
    """A scale for each tensor, [1], and one for activations that nobody needs here."""
    d, h, e, k = 20, 12, 4, 2
    m = Model("mixtral_fp8", seed, {
        "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": d,
        "intermediate_size": h, "num_local_experts": e, "num_experts_per_tok": k,
        "num_hidden_layers": 1, "hidden_act": "silu", "vocab_size": 7,
        "quantization_config": {"quant_method": "fp8", "activation_scheme": "static",
                                "ignored_layers": ["lm_head"]}})
    p = "model.layers.0.block_sparse_moe"
    router = m.weight(f"{p}.gate.weight", e, d)
    experts = []
    for i in range(e):
        experts.append([m.fp8_scaled(f"{p}.experts.{i}.{n}.weight", s,
                                     f"{p}.experts.{i}.{n}.weight_scale", (1,))
                        for n, s in zip(W123, [(h, d), (h, d), (d, h)])])
        for n in W123:
            m.put(f"{p}.experts.{i}.{n}.input_scale", [0.5], "F32")
    x = m.input(d)
    logits = x @ router.T
    return finish(m, x, logits, *softmax_route(logits, k, True), experts)


def grok1_fp8(seed):
    """amd's port: a scale for each tensor, []; config.json as hpcai-tech's, which names no model_type."""
    d, h, e, k = 20, 12, 4, 2
    m = Model("grok1_fp8", seed, {
        "architectures": ["Grok1ModelForCausalLM"], "hidden_size": d, "intermediate_size": h,
        "num_experts": e, "num_experts_per_tok": k, "num_hidden_layers": 1, "vocab_size": 7,
        "quantization_config": {"quant_method": "fp8", "activation_scheme": "static",
                                "ignored_layers": ["lm_head", "*.gate"]}})
    p = "model.layers.0.moe_block"
    router = m.weight(f"{p}.gate.weight", e, d)
    experts = [[m.fp8_scaled(f"{p}.experts.{i}.{n}.weight", s, f"{p}.experts.{i}.{n}.weight_scale", ())
                for n, s in (("linear", (h, d)), ("linear_v", (h, d)), ("linear_1", (d, h)))]
               for i in range(e)]
    return finish_grok(m, d, router, experts, k)


def grok1_keyfan(seed):
    d, h, e, k = 20, 12, 4, 2
    m = Model("grok1_keyfan", seed, {
        "architectures": ["GrokForCausalLM"], "model_type": "grok", "hidden_size": d,
        "intermediate_size": h, "num_local_experts": e, "num_experts_per_tok": k,
        "num_hidden_layers": 1, "hidden_act": "gelu_new", "vocab_size": 7})
    p = "transformer.decoder_layer.0.block_sparse_moe"
    router = m.weight(f"{p}.gate.weight", e, d)
    experts = experts_by_name(m, p, ("linear", "linear_v", "linear_1"), e, d, h)
    return finish_grok(m, d, router, experts, k)


def llama4_config(d, h, e, quantization):
    return {"architectures": ["Llama4ForConditionalGeneration"], "model_type": "llama4",
            "text_config": {"model_type": "llama4_text", "hidden_size": d, "intermediate_size": h,
                            "intermediate_size_mlp": 24, "num_local_experts": e,
                            "num_experts_per_tok": 1, "num_hidden_layers": 1,
                            "hidden_act": "silu", "vocab_size": 7},
            "quantization_config": quantization}


def finish_llama4(m, d, router, experts, shared):
    x = m.input(d)
    logits = x @ router.T
    ids = top(logits, 1)
    w = torch.sigmoid(take(logits, ids))
    y = torch.cat([swiglu(w[t] * x[t:t + 1], *experts[i]) for t, i in enumerate(ids[:, 0].tolist())])
    m.expect(logits, ids, w, y + swiglu(x, *shared))
    return m


def llama4_fp8(seed):
    """llm-compressor's: experts one by one, a bfloat16 scale for each row, [rows, 1]."""
    d, h, e = 20, 12, 4
    m = Model("llama4_fp8", seed, llama4_config(d, h, e, {
        "quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {
            "group_0": {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}}}}))
    p = "language_model.model.layers.0.feed_forward"
    router = m.weight(f"{p}.router.weight", e, d)

    def glu_fp8(prefix):
        return [m.fp8_scaled(f"{prefix}.{n}.weight", s, f"{prefix}.{n}.weight_scale", (s[0], 1), "BF16")
                for n, s in zip(PROJ, [(h, d), (h, d), (d, h)])]

    experts = [glu_fp8(f"{p}.experts.{i}") for i in range(e)]
    return finish_llama4(m, d, router, experts, glu_fp8(f"{p}.shared_expert"))


def llama4_fbgemm(seed):
    """Meta's: fused and transposed, a scale for each output of each expert."""
    d, h, e = 20, 12, 4
    m = Model("llama4_fbgemm", seed, llama4_config(d, h, e, {
        "quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}))
    p = "language_model.model.layers.0.feed_forward"
    router = m.weight(f"{p}.router.weight", e, d)
    both = m.fp8_scaled(f"{p}.experts.gate_up_proj", (e, d, 2 * h),
                        f"{p}.experts.gate_up_proj_scale", (e, 1, 2 * h))
    scale = np.abs(m.normal(e, 1, d)) * 0.002 + 0.0005  # stored [E, D, 1]
    scale = m.put(f"{p}.experts.down_proj_scale", scale.reshape(e, d, 1), "F32").numpy()
    scale = scale.reshape(e, 1, d)
    codes = nearest(E4M3, m.normal(e, h, d) / scale)
    m.tensors[f"{p}.experts.down_proj"] = ("F8_E4M3", codes)
    down = torch.tensor(E4M3[codes] * scale)
    shared = glu(m, f"{p}.shared_expert", d, h)
    experts = [(both[i, :, :h].T, both[i, :, h:].T, down[i].T) for i in range(e)]
    return finish_llama4(m, d, router, experts, shared)


def deepseek_v4(seed, hashed=False):
    """The experts of one in MXFP4, of the other in float8 as the base model's; one chooses by token."""
    d, h, e, k, block, limit, scale, vocabulary = 64, 32, 8, 3, (16, 32), 0.75, 1.5, 11
    m = Model("deepseek_v4" + ("_hash" if hashed else ""), seed, {
        "architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4", "hidden_size": d,
        "moe_intermediate_size": h, "n_routed_experts": e, "n_shared_experts": 1,
        "num_experts_per_tok": k, "scoring_func": "sqrtsoftplus", "topk_method": "noaux_tc",
        "norm_topk_prob": True, "routed_scaling_factor": scale, "swiglu_limit": limit,
        "num_hash_layers": 1, "num_hidden_layers": 1 if hashed else 2, "hidden_act": "silu",
        "expert_dtype": "fp8" if hashed else "fp4", "vocab_size": vocabulary,
        "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                                "scale_fmt": "ue8m0", "weight_block_size": list(block)}})
    shapes = [(h, d), (h, d), (d, h)]
    table = None
    for layer in range(m.config["num_hidden_layers"]):
        p = f"layers.{layer}.ffn"
        router = m.weight(f"{p}.gate.weight", e, d)
        if layer == 0:
            table = np.stack([m.random.permutation(e)[:k] for _ in range(vocabulary)])
            m.tensors[f"{p}.gate.tid2eid"] = ("I64", table)
        else:
            table, bias = None, m.put(f"{p}.gate.bias", m.normal(e, scale=0.3), "F32")
        if hashed:
            experts = [[m.fp8_weight(f"{p}.experts.{i}.{n}", *s, block, ".scale")
                        for n, s in zip(W123, shapes)] for i in range(e)]
        else:
            experts = [[m.fp4_weight(f"{p}.experts.{i}.{n}", *s) for n, s in zip(W123, shapes)]
                       for i in range(e)]
        shared = [m.fp8_weight(f"{p}.shared_experts.{n}", *s, block, ".scale")
                  for n, s in zip(W123, shapes)]
    x = m.input(d)
    logits = x @ router.T
    score = torch.sqrt(F.softplus(logits))
    if hashed:
        tokens = m.random.integers(0, vocabulary, TOKENS)
        m.expected["token_ids"] = ("I64", tokens)
        rows = torch.tensor(table[tokens])
        ids = rows.gather(1, top(take(score, rows), k))  # best first
        outside = torch.ones_like(logits).scatter(1, rows, 0.0) > 0
        logits = logits.masked_fill(outside, -torch.inf)
    else:
        ids = top(score + bias, k)
    w = take(score, ids)
    w = w / (w.sum(-1, keepdim=True) + 1e-20) * scale

    def expert(weights, v):
        gate, up, down = weights
        return (F.silu((v @ gate.T).clamp(max=limit)) * (v @ up.T).clamp(-limit, limit)) @ down.T

    m.expect(logits, ids, w, mix(x, ids, w, lambda i, v: expert(experts[i], v)) + expert(shared, x))
    return m


def deepseek_v4_hash(seed):
    return deepseek_v4(seed, hashed=True)


FAMILIES = [mixtral, phimoe, minimax_m2, qwen2_moe, qwen3_moe, olmoe, deepseek_v2, deepseek_v2_lite,
            deepseek_v3, glm4_moe, glm4v_moe, dots1, kimi_k2, ernie4_5_moe, bailing_moe,
            bailing_moe_v2, longcat_flash, jamba, granitemoe, granitemoeshared, jetmoe, dbrx, gpt_oss,
            gpt_oss_original, gpt_oss_bf16, llama4, switch_transformers, nllb_moe, grok1, grok1_fp8,
            grok1_keyfan, mixtral_fp8, llama4_fp8, llama4_fbgemm, deepseek_v4, deepseek_v4_hash]


def main():
    for family in FAMILIES:
        first = zlib.crc32(family.__name__.encode())  # a new family leaves the others as they are
        for attempt in range(10000):
            try:
                family(first + attempt).save()
                break
            except NearTie:
                continue
        else:
            raise SystemExit(f"{family.__name__}: every draw is nearly a tie")


if __name__ == "__main__":
    main()
