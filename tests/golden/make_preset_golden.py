#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 the moe authors
# SPDX-License-Identifier: MIT
"""Writes preset_gates.txt and preset_layers.txt beside this script, in float64: the gates of
published models as each code base computes them, and whole layers, with gradients by autograd.

Needs PyTorch and NumPy (Debian 12: python3-torch, python3-numpy). Gates: gradient of
sum(weight * dweight). Layers: gradient of sum(y * dy). The last token of the gates has all logits
near -60, so that its sigmoids nearly vanish.
"""
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
INF = float("inf")
torch.set_default_dtype(torch.float64)


def write(name, tensors):
    with open(HERE / name, "w", encoding="ascii") as out:
        for key, tensor in tensors.items():
            matrix = np.atleast_2d(tensor.detach().numpy())
            out.write(f"{key} {matrix.shape[0]} {matrix.shape[1]}\n")
            for row in matrix:
                out.write(" ".join(f"{float(v) + 0.0:.13g}" for v in row) + "\n")


def softmax(l):
    return torch.softmax(l, dim=-1)


def total(w):
    return w.sum(dim=-1, keepdim=True)


def top(key, k, ties=False):
    ranked, index = key.sort(dim=-1, descending=True, stable=True)
    near = k < key.shape[1] and (ranked[:, k - 1] - ranked[:, k]).min() < 1e-3
    assert ties or not near, "nearly a tie, take another seed"
    return index[:, :k]


def limit(key, group_scores, kept, outside):
    """key with `outside` in all but the `kept` best groups."""
    groups = group_scores.shape[1]
    mask = torch.zeros_like(group_scores).scatter(1, torch.topk(group_scores, kept)[1], 1.0)
    mask = mask.repeat_interleave(key.shape[1] // groups, dim=1)
    return key.masked_fill(mask == 0, outside)


def by_group(key, groups):
    return key.view(key.shape[0], groups, -1)


# --- code bases: logits -> (indices [T, K], weights [T, K]) ---

def llama_cpp(gating, k, norm_w, w_scale=1.0, bias=0.0, groups=1, kept=1):
    """build_moe_ffn"""
    def gate(l):
        probs = {"softmax": softmax, "sigmoid": torch.sigmoid, "softmax_weight": lambda v: v,
                 "sqrt_softplus": lambda v: torch.sqrt(F.softplus(v))}[gating](l)
        key = probs + bias
        if groups > 1:
            key = limit(key, by_group(key, groups).topk(2)[0].sum(-1), kept, -INF)
        i = top(key, k)
        w = probs.gather(1, i)
        if gating == "softmax_weight":
            w = softmax(w)
        if norm_w:
            w = w / torch.clamp(total(w), min=6.103515625e-5)
        return i, w * w_scale
    return gate


def megatron(function, k, pre_softmax=False, scale=1.0, bias=0.0, groups=1, kept=1):
    """topk_routing_with_score_function"""
    def choose(key):
        if groups > 1:
            key = limit(key, by_group(key, groups).topk(k // kept)[0].sum(-1), kept, -INF)
        return top(key, k)

    def gate(l):
        if function == "softmax" and pre_softmax:
            i = choose(softmax(l))
            w = softmax(l).gather(1, i)
        elif function == "softmax":
            i = choose(l)
            w = softmax(l.gather(1, i))
        else:
            s = torch.sigmoid(l) if function == "sigmoid" else torch.sqrt(F.softplus(l))
            i = choose(s + bias)
            w = s.gather(1, i)
            w = w / (total(w) + 1e-20) if k > 1 else w
        return i, w * scale
    return gate


def softmax_top_k(k, norm):  # HF Mixtral, Qwen, OLMoE, Jamba; Switch; Grok-1
    def gate(l):
        p = softmax(l)
        i = top(p, k)
        w = p.gather(1, i)
        return i, w / total(w) if norm else w
    return gate


def top_k_softmax(k):  # mistral-inference, Granite, gpt-oss, Shazeer 2017
    def gate(l):
        i = top(l, k)
        return i, softmax(l.gather(1, i))
    return gate


def dbrx(k, p_norm):
    def gate(l):
        i, w = softmax_top_k(k, False)(l)
        return i, w / torch.norm(w, p=p_norm, dim=-1, keepdim=True)
    return gate


def ernie(k, bias, norm_min):
    def gate(l):
        p = softmax(l)
        i = top(p + bias, k)
        w = p.gather(1, i)
        return i, w / torch.clamp(total(w), min=norm_min)
    return gate


def longcat(k, bias, scale):
    def gate(l):
        p = softmax(l)
        i = top(p + bias, k)
        return i, p.gather(1, i) * scale
    return gate


def deepseek_v2(k, groups, kept, norm, scale, exclusive):
    def gate(l):
        p = softmax(l)
        i = top(limit(p, by_group(p, groups).max(-1)[0], kept, 0.0), k)
        w = p.gather(1, i)
        if exclusive and k > 1 and norm:
            return i, w / (total(w) + 1e-20)
        return i, w * scale
    return gate


def deepseek_v3(k, bias, eps, scale, groups=1, kept=1, outside=-INF):
    def gate(l):
        s = torch.sigmoid(l)
        key = s + bias
        if groups > 1:
            key = limit(key, by_group(key, groups).topk(2)[0].sum(-1), kept, outside)
        i = top(key, k, ties=outside == 0)
        w = s.gather(1, i)
        return i, w / (total(w) + eps) * scale
    return gate


def olmo_core(k, bias, p_norm):
    def gate(l):
        s = torch.sigmoid(l) + 1e-7
        i = top(s + bias, k)
        w = s.gather(1, i)
        return i, w / torch.norm(w, p=p_norm, dim=-1, keepdim=True) if p_norm else w
    return gate


def deepseek_v4(k, bias, scale):
    def gate(l):
        s = torch.sqrt(F.softplus(l))
        i = top(s + bias, k)
        w = s.gather(1, i)
        return i, w / (total(w) + 1e-20) * scale
    return gate


def llama4(l):
    value, i = torch.topk(l, 1)
    return i, torch.sigmoid(value)


def top_2(norm):  # GShard, ST-MoE; without: GLaM and NLLB before dropping
    def gate(l):
        p = softmax(l)
        first = F.one_hot(p.argmax(-1), p.shape[1])
        rest = p * (1 - first)
        second = F.one_hot(rest.argmax(-1), p.shape[1])
        g1, g2 = (p * first).sum(-1), (p * second).sum(-1)
        both = g1 + g2 + 1e-9 if norm else torch.ones_like(g1)
        return (torch.stack([first.argmax(-1), second.argmax(-1)], 1),
                torch.stack([g1 / both, g2 / both], 1))
    return gate


def sparse_mixer(jitter):  # evaluation
    def place(l, s):
        with torch.no_grad():
            m, i = s.max(dim=-1, keepdim=True)
            far = (m - l) / l.abs().clamp(min=m) > 2 * jitter
        return i, softmax(s.masked_fill(far, -INF)).gather(1, i)

    def gate(l):
        i1, w1 = place(l, l)
        i2, w2 = place(l, l.scatter(1, i1, -INF))
        return torch.cat([i1, i2], 1), torch.cat([w1, w2], 1)
    return gate


def sigmoid_top_1(l):  # BASE, S-BASE, evaluation
    i = top(l, 1)
    return i, torch.sigmoid(l.gather(1, i))


def by_expert(weights):
    """A variable number of experts: places in ascending expert order, -1 where empty."""
    experts = weights.shape[1]
    index, rows = [], []
    for row in weights:
        used = row.nonzero()[:, 0]
        index.append(F.pad(used, (0, experts - len(used)), value=-1))
        rows.append(F.pad(row[used], (0, experts - len(used))))
    return torch.stack(index), torch.stack(rows)


def relu(l):
    return by_expert(torch.relu(l))


def expert_choice(capacity):
    def gate(l):
        p = softmax(l)
        taken = F.one_hot(torch.topk(p.t(), capacity)[1], p.shape[0]).sum(1).t()
        return by_expert(p * taken)
    return gate


def top_p(threshold):
    def gate(l):
        value, i = softmax(l).sort(dim=-1, descending=True)
        drop = value.cumsum(-1) - value > threshold  # what came before was enough
        return i.masked_fill(drop, -1), value.masked_fill(drop, 0.0)
    return gate


def gates(bias, low):
    v2 = {"groups": 4, "kept": 2}
    plain = softmax_top_k
    return {
        "mixtral.official": top_k_softmax(2), "mixtral.hf": plain(2, True),
        "mixtral.llama_cpp": llama_cpp("softmax", 2, True),
        "mixtral.megatron": megatron("softmax", 2),
        "qwen2_moe.official": plain(4, False),
        "qwen2_moe.llama_cpp": llama_cpp("softmax", 4, False),
        "qwen2_moe.megatron": megatron("softmax", 4, pre_softmax=True),
        "qwen3_moe.official": plain(4, True), "qwen3_moe.llama_cpp": llama_cpp("softmax", 4, True),
        "qwen3_moe.megatron": megatron("softmax", 4), "olmoe.official": plain(4, False),
        "dbrx.official": dbrx(4, 1), "dbrx_2.official": dbrx(4, 2),
        "dbrx_none.official": plain(4, False), "dbrx.llama_cpp": llama_cpp("softmax", 4, True),
        "jamba.official": plain(2, False), "jamba.llama_cpp": llama_cpp("softmax", 2, False),
        "granite_moe.official": top_k_softmax(4),
        "granite_moe.llama_cpp": llama_cpp("softmax", 4, True),
        "gpt_oss.official": top_k_softmax(4),
        "gpt_oss.llama_cpp": llama_cpp("softmax_weight", 4, False),
        "grok1.official": plain(2, False),
        "grok1.llama_cpp": llama_cpp("softmax", 2, True),
        "phi_moe_llama_cpp.official": llama_cpp("softmax", 2, True),
        "ernie45_moe.official": ernie(3, bias, 0.4),
        "ernie45_moe.llama_cpp": llama_cpp("softmax", 3, True, bias=bias),
        "longcat.official": longcat(3, bias, 6.0),
        "deepseek_v2.official": deepseek_v2(4, 4, 2, False, 16.0, True),
        "deepseek_v2.hf": deepseek_v2(4, 4, 2, False, 16.0, False),
        "deepseek_v2.llama_cpp": llama_cpp("softmax", 4, False, 16.0, **v2),
        "deepseek_v2.megatron": megatron("softmax", 4, pre_softmax=True, scale=16.0, **v2),
        "deepseek_v2_norm.official": deepseek_v2(4, 4, 2, True, 16.0, True),
        "deepseek_v2_norm.hf": deepseek_v2(4, 4, 2, True, 16.0, False),
        "deepseek_v2_norm.llama_cpp": llama_cpp("softmax", 4, True, 16.0, **v2),
        "deepseek_v3.official": deepseek_v3(4, bias, 0.0, 2.5, **v2),
        "deepseek_v3.hf": deepseek_v3(4, bias, 1e-20, 2.5, **v2),
        "deepseek_v3.llama_cpp": llama_cpp("sigmoid", 4, True, 2.5, bias, **v2),
        "deepseek_v3.megatron": megatron("sigmoid", 4, scale=2.5, bias=bias, **v2),
        "deepseek_v3_low.official": deepseek_v3(4, low, 0.0, 2.5, **v2),
        "deepseek_v3_low.hf": deepseek_v3(4, low, 1e-20, 2.5, outside=0.0, **v2),
        "glm4_moe.official": deepseek_v3(4, bias, 1e-20, 2.5),
        "glm4_moe.llama_cpp": llama_cpp("sigmoid", 4, True, 2.5, bias),
        "dots1.official": deepseek_v3(3, bias, 1e-20, 2.5),
        "kimi_k2.official": deepseek_v3(4, bias, 1e-20, 2.827),
        "deepseek_v4.official": deepseek_v4(3, bias, 2.5),
        "deepseek_v4.llama_cpp": llama_cpp("sqrt_softplus", 3, True, 2.5, bias),
        "deepseek_v4.megatron": megatron("sqrtsoftplus", 3, scale=2.5, bias=bias),
        "minimax_m2.official": deepseek_v3(4, bias, 0.0, 1.0),
        "minimax_m2.llama_cpp": llama_cpp("sigmoid", 4, True, 1.0, bias),
        "minimax_m2.megatron": megatron("sigmoid", 4, bias=bias), "llama4.official": llama4,
        "torchtitan.official": deepseek_v3(3, bias, 1e-20, 2.0),
        "olmo_core.official": olmo_core(3, bias, 0), "olmo_core_2.official": olmo_core(3, bias, 2),
        "switch_transformer.official": plain(1, False), "sparsely_gated.official": top_k_softmax(4),
        "gshard.official": top_2(True), "st_moe.official": top_2(True),
        "glam.official": top_2(False),
        "nllb.official": top_2(False), "phi_moe.official": sparse_mixer(0.2),
        "base.official": sigmoid_top_1, "s_base.official": sigmoid_top_1, "remoe.official": relu,
        "expert_choice.official": expert_choice(4), "vmoe.official": plain(2, False),
        "xmoe.official": plain(1, False), "top_p.official": top_p(0.4),
    }


# --- layers: x -> y, with experts w_out act(w_in x), gated or not ---

def ffn(act, gated):
    def expert(weights, x):
        w_gate, w_in, w_out = weights
        up = F.linear(x, w_in)
        return F.linear(act(F.linear(x, w_gate)) * up if gated else act(up), w_out)
    return expert


def keep_all(index, experts):
    return torch.ones_like(index, dtype=torch.bool)


def by_choice(capacity):
    """All first choices take their places in order, then all second ones."""
    def keep(index, experts):
        place = F.one_hot(index.t().reshape(-1), experts).cumsum(0)
        rank = place.gather(1, index.t().reshape(-1, 1)).view(index.shape[1], -1).t()
        assert (rank > capacity).any(), "nothing is dropped, take another seed"
        return rank <= capacity
    return keep


def layer(x, router, experts, gate, expert, keep=keep_all, on_input=False):
    index, weight = gate(F.linear(x, router))
    weight = weight * keep(index, len(experts))
    y = torch.zeros_like(x)
    for e, weights in enumerate(experts):
        share = (weight * (index == e)).sum(-1, keepdim=True)
        out = expert(weights, x * share) if on_input else expert(weights, x) * share
        y = y + out  # an expert without bias returns 0 for 0
    return y


def rounded(generator, *shape, scale=1.0):
    return (torch.randn(*shape, generator=generator) * scale * 1024).round() / 1024


def write_gates():
    tokens, experts = 4, 12
    generator = torch.Generator().manual_seed(1)
    bias = rounded(generator, experts, scale=0.25)
    logits = rounded(generator, tokens, experts, scale=1.5)
    logits[-1] -= 60
    close = 2 + rounded(generator, tokens, experts, scale=0.5)
    dweight = rounded(generator, tokens, experts)
    result = {"logits": logits, "close": close, "bias": bias, "low": bias - 1.25,
              "dweight": dweight}
    for name, gate in gates(bias, bias - 1.25).items():
        l = (close if name.startswith("phi_moe.") else logits).clone().requires_grad_()
        index, weight = gate(l)
        (weight * dweight[:, :weight.shape[1]]).sum().backward()
        result |= {f"{name}.expert": index, f"{name}.weight": weight, f"{name}.dlogits": l.grad}
    write("preset_gates.txt", result)


def write_layers():
    tokens, d, h, experts = 10, 4, 5, 6
    generator = torch.Generator().manual_seed(1)
    x = rounded(generator, tokens, d)
    x[:, 0] = 1
    bias = rounded(generator, experts, scale=0.25)
    router = rounded(generator, experts, d)
    shapes = {"w_gate": (h, d), "w_in": (h, d), "w_out": (d, h)}
    weights = [[rounded(generator, *s) for s in shapes.values()] for _ in range(experts)]
    dy = rounded(generator, tokens, d)
    relu_ffn, swiglu = ffn(torch.relu, False), ffn(F.silu, True)
    cases = {
        "switch": (softmax_top_k(1, False), relu_ffn, by_choice(4)),
        "gshard": (top_2(True), relu_ffn, by_choice(4)),
        "mixtral": (top_k_softmax(2), swiglu), "qwen2_moe": (softmax_top_k(2, False), swiglu),
        "deepseek_v3": (deepseek_v3(2, bias, 0.0, 2.5, groups=3, kept=2), swiglu),
        "llama4": (llama4, swiglu, keep_all, True), "phi_moe": (sparse_mixer(0.2), swiglu),
        "sparsely_gated": (top_k_softmax(2), relu_ffn), "dbrx_2": (dbrx(2, 2), swiglu),
        "grok1": (softmax_top_k(2, False), ffn(lambda v: F.gelu(v, approximate="tanh"), True)),
        "ernie45_moe": (ernie(2, bias, 0.4), swiglu),
        "deepseek_v2": (deepseek_v2(2, 3, 2, False, 16.0, True), swiglu),
        "deepseek_v2_norm": (deepseek_v2(2, 3, 2, True, 16.0, True), swiglu),
        "glm4_moe": (deepseek_v3(2, bias, 1e-20, 2.5), swiglu),
        "kimi_k2": (deepseek_v3(2, bias, 1e-20, 2.827), swiglu),
        "minimax_m2": (deepseek_v3(2, bias, 0.0, 1.0), swiglu),
    }
    result = {"x": x, "dy": dy, "bias": bias, "router.weight": router}
    for e, expert in enumerate(weights):
        result |= {f"experts.{e}.{name}": w for name, w in zip(shapes, expert)}
    for name, (gate, *rest) in cases.items():
        xs, r = x.clone().requires_grad_(), router.clone().requires_grad_()
        ws = [[w.clone().requires_grad_() for w in expert] for expert in weights]
        y = layer(xs, r, ws, gate, *rest)
        (y * dy).sum().backward()
        result |= {f"{name}.y": y, f"{name}.dx": xs.grad, f"{name}.router.weight": r.grad}
        for e, expert in enumerate(ws):
            for part, w in zip(shapes, expert):
                if w.grad is not None:
                    result[f"{name}.experts.{e}.{part}"] = w.grad
    write("preset_layers.txt", result)


if __name__ == "__main__":
    write_gates()
    write_layers()
