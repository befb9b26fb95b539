#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 the moe authors
# SPDX-License-Identifier: MIT
"""Writes preset_kinds.txt beside this script, in float64: whole layers of published models that have
shared experts, experts of several kinds, a clamped SwiGLU or a latent width, with gradients of
sum(y * dy) by autograd. Gates and FFNs are those of make_preset_golden.py.
"""
import torch
import torch.nn.functional as F

from make_preset_golden import (deepseek_v2, deepseek_v3, deepseek_v4, ernie, ffn, keep_all, layer,
                                llama4, longcat, rounded, softmax, softmax_top_k, top_k_softmax,
                                write)

torch.set_default_dtype(torch.float64)


def clamped(alpha, limit, offset):
    def expert(weights, x, biases=(None, None, None)):
        gate = F.linear(x, weights[0], biases[0]).clamp(max=limit)
        up = F.linear(x, weights[1], biases[1]).clamp(min=-limit, max=limit)
        return F.linear(gate * torch.sigmoid(alpha * gate) * (up + offset), weights[2], biases[2])
    return expert


def experts_of(p, count):
    return [[p[f"experts.{e}.{n}"] for n in ("w_gate", "w_in", "w_out")] for e in range(count)]


def routed(gate, expert, keep=keep_all, on_input=False):
    return lambda p, x: layer(x, p["router.weight"], experts_of(p, 6), gate, expert, keep, on_input)


def shared(rest, expert, gated=False):
    def run(p, x):
        y = expert([p[f"shared_expert.{n}"] for n in ("w_gate", "w_in", "w_out")], x)
        return rest(p, x) + (torch.sigmoid(F.linear(x, p["shared_gate.weight"])) * y if gated else y)
    return run


def gpt_oss(p, x):
    index, weight = top_k_softmax(2)(F.linear(x, p["router.weight"], p["router.bias"]))
    y = torch.zeros_like(x)
    for e, weights in enumerate(experts_of(p, 6)):
        biases = [p[f"experts.{e}.{n}"] for n in ("b_gate", "b_in", "b_out")]
        y = y + clamped(1.702, 7.0, 1)(weights, x, biases) * (weight * (index == e)).sum(-1, True)
    return y


def of_kinds(p, x, gate, logits, outputs):
    index, weight = gate(logits)
    return sum(out * (weight * (index == e)).sum(-1, True) for e, out in enumerate(outputs))


def longcat_layer(p, x, bias, swiglu):
    outputs = [swiglu(w, x) for w in experts_of(p, 4)] + [x, x]
    return of_kinds(p, x, longcat(3, bias, 6.0), F.linear(x, p["router.weight"]), outputs)


def moe_plus_plus(p, x, swiglu):
    logits = F.linear(torch.tanh(F.linear(x, p["router.w_in"])), p["router.w_out"])
    outputs = [swiglu(w, x) for w in experts_of(p, 2)]
    for e in (2, 3):
        mix = softmax(F.linear(x, p[f"experts.{e}.mix"]))
        outputs.append(mix[:, :1] * x + mix[:, 1:] * p[f"experts.{e}.constant"])
    return of_kinds(p, x, softmax_top_k(2, False), logits, outputs + [x, torch.zeros_like(x)])


def nemotron(p, x, bias):
    """Latent width 3: experts 0 to 5 of their own; the router and the shared expert see all of x."""
    z = F.linear(x, p["down.weight"])
    outputs = []
    for e in range(6):
        h = torch.relu(F.linear(z, p[f"latent.{e}.w_in"])) ** 2
        outputs.append(F.linear(h, p[f"latent.{e}.w_out"]))
    gate = deepseek_v3(2, bias, 1e-20, 5.0)
    u = of_kinds(p, z, gate, F.linear(x, p["router.weight"]), outputs)
    h = torch.relu(F.linear(x, p["shared_expert.w_in"])) ** 2
    return F.linear(u, p["up.weight"]) + F.linear(h, p["shared_expert.w_out"])


def main():
    tokens, d, h, experts, wide, latent = 10, 4, 5, 6, 10, 3
    generator = torch.Generator().manual_seed(5)
    x = rounded(generator, tokens, d)
    x[:, 0] = 1
    bias = rounded(generator, experts, scale=0.25)
    p = {"router.weight": rounded(generator, experts, d)}
    for e in range(experts):
        for name, shape in {"w_gate": (h, d), "w_in": (h, d), "w_out": (d, h)}.items():
            p[f"experts.{e}.{name}"] = rounded(generator, *shape)
    dy = rounded(generator, tokens, d)
    p["router.bias"] = rounded(generator, experts)
    for e in range(experts):
        for name, size in {"b_gate": h, "b_in": h, "b_out": d}.items():
            p[f"experts.{e}.{name}"] = rounded(generator, size)
    for name, shape in {"w_gate": (wide, d), "w_in": (wide, d), "w_out": (d, wide)}.items():
        p[f"shared_expert.{name}"] = rounded(generator, *shape)
    p["shared_gate.weight"] = rounded(generator, 1, d)
    p |= {"router.w_in": rounded(generator, 8 * experts, d, scale=0.5),
          "router.w_out": rounded(generator, experts, 8 * experts, scale=0.5)}
    for e in (2, 3):
        p |= {f"experts.{e}.mix": rounded(generator, 2, d),
              f"experts.{e}.constant": rounded(generator, 1, d)}
    p |= {"down.weight": rounded(generator, latent, d), "up.weight": rounded(generator, d, latent)}
    for e in range(experts):
        p |= {f"latent.{e}.w_in": rounded(generator, h, latent),
              f"latent.{e}.w_out": rounded(generator, latent, h)}
    swiglu, v4 = ffn(F.silu, True), clamped(1, 0.5, 0)
    v3 = routed(deepseek_v3(2, bias, 0.0, 2.5, groups=3, kept=2), swiglu)
    cases = {
        "qwen2_moe": shared(routed(softmax_top_k(2, False), swiglu), swiglu, gated=True),
        "deepseek_v2": shared(routed(deepseek_v2(2, 3, 2, False, 16.0, True), swiglu), swiglu),
        "deepseek_v3": shared(v3, swiglu),
        "deepseek_v4": shared(routed(deepseek_v4(2, bias, 2.5), v4), v4),
        "glm4_moe": shared(routed(deepseek_v3(2, bias, 1e-20, 2.5), swiglu), swiglu),
        "ernie45_moe": shared(routed(ernie(2, bias, 0.4), swiglu), swiglu),
        "llama4": shared(routed(llama4, swiglu, on_input=True), swiglu),
        "gpt_oss": gpt_oss,
        "longcat": lambda p, x: longcat_layer(p, x, bias, swiglu),
        "moe_plus_plus": lambda p, x: moe_plus_plus(p, x, swiglu),
        "nemotron": lambda p, x: nemotron(p, x, bias),
    }
    result = {"x": x, "dy": dy, "bias": bias, **p}
    for name, run in cases.items():
        xs = x.clone().requires_grad_()
        leaves = {n: w.clone().requires_grad_() for n, w in p.items()}
        y = run(leaves, xs)
        (y * dy).sum().backward()
        result |= {f"{name}.y": y, f"{name}.dx": xs.grad}
        result |= {f"{name}.{n}": w.grad for n, w in leaves.items() if w.grad is not None}
    write("preset_kinds.txt", result)


if __name__ == "__main__":
    main()
