#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 the moe authors
# SPDX-License-Identifier: MIT
"""Writes preset_classic.txt beside this script: one training step of every layer of presets/classic
in float64, noise and drops included, with gradients of sum(y * dy) by PyTorch autograd.

Needs PyTorch and NumPy (Debian 12: python3-torch, python3-numpy). Independent of the library: each
layer is dense arithmetic over all experts, as in the published programs; where a paper's backward is
not the gradient of its forward (SparseMixer), it is written out. Weights are shared by all families.
"""
import torch
import torch.nn.functional as F

from golden_file import write
from philox import draws

torch.set_default_dtype(torch.float64)
T, D, H, E = 12, 4, 5, 6
GELU = lambda v: F.gelu(v, approximate="tanh")


def linear(x, p):
    return F.linear(x, p["router.weight"])


def softmax(l):
    return torch.softmax(l, dim=-1)


def one_hot(index):
    return F.one_hot(index, E).to(torch.get_default_dtype())


def best(key):
    ranked = key.sort(dim=-1, descending=True)[0]
    assert (ranked[:, 1] < ranked[:, 0] - 1e-4 * ranked[:, 0].abs()).all(), "nearly a tie"
    return key.argmax(-1)


def two_best(p):
    first = one_hot(best(p))
    return first, one_hot(best((p * (1 - first)).detach()))


# --- who keeps a place: choices [K] of one-hot [T, E] -> the same with zeros where full ---

def within(choices, capacity, must_drop=True):
    before = torch.zeros(E)
    kept = []
    for chosen in choices:
        place = (chosen.cumsum(0) + before) * chosen
        kept.append(chosen * (place <= capacity))
        before = before + chosen.sum(0)
    assert not must_drop or sum(c.sum() for c in kept) < sum(c.sum() for c in choices), "no drop"
    return kept


# --- gates: x, parameters -> weights [T, E], zero where an expert does not compute the token ---

def switch(x, p):
    l = linear(x * (1 + 1e-2 * (2 * draws("router.input_jitter", T, D, "uniform") - 1)), p)
    probs = softmax(l)
    kept, = within([one_hot(best(probs))], 4)
    return probs * kept


def gshard(threshold, jitter):
    def gate(x, p):
        noise = 1 + 1e-2 * (2 * draws("router.input_jitter", T, D, "uniform") - 1)
        probs = softmax(linear(x * noise if jitter else x, p))
        first, second = two_best(probs)
        g1, g2 = (probs * first).sum(-1), (probs * second).sum(-1)
        total = g1 + g2 + 1e-9
        g1, g2 = g1 / total, g2 / total
        sampled = draws("gate.gshard", T, 1, "uniform")[:, 0] * threshold < g2
        assert sampled.any() and not sampled.all(), "take another seed"
        kept = within([first, second * sampled[:, None]], 4)
        return g1[:, None] * kept[0] + g2[:, None] * kept[1]
    return gate


def renormalised_after(x, p):  # GLaM, NLLB
    probs = softmax(linear(x, p))
    kept = within(two_best(probs), 4)
    w = probs * (kept[0] + kept[1])
    return w / w.sum(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).eps)


def sparsely_gated(x, p):
    sigma = F.softplus(F.linear(x, p["router.noise_weight"])) + 1e-2
    h = linear(x, p) + draws("router.learned_noise", T, E, "normal") * sigma
    first, second = two_best(softmax(h))
    return softmax(h.masked_fill(first + second == 0, float("-inf")))


def hash_layer(x, p):
    return one_hot(p["table"][:, 0].long()[p["ids"][0].long()])


def auction(scores):
    """BASE: experts bid for tokens, T a multiple of E."""
    score = scores.t()
    share = T // E
    epsilon = max((score.max() - score.min()).item() / 50, 1e-4)
    value, cost, held = score.clone(), torch.zeros(T), None
    for round in range(100):
        top, token = torch.topk(value, share + 1, dim=1)
        bids = torch.zeros(E, T)
        bids.scatter_(1, token[:, :share], top[:, :share] - top[:, share:] + epsilon)
        if held is not None:
            bids[held] = epsilon
        highest, expert = bids.max(0)
        if (highest > 0).all():
            return expert
        held = (expert[highest > 0], torch.arange(T)[highest > 0])
        cost = cost + highest
        value = score - cost
        value[held] = score.max()
    raise AssertionError("did not settle, take another seed")


def base(x, p):
    l = linear(x, p)
    chosen = one_hot(auction(l.detach()))
    assert (chosen.sum(0) == T // E).all() and (chosen != one_hot(l.argmax(-1))).any()
    return torch.sigmoid(l) * chosen


def s_base(x, p):
    l = linear(x, p)
    cost, d1 = l.detach().exp(), torch.ones(E)
    while True:
        d0 = 1 / T / ((d1 * cost).sum(1) + 1e-8)
        old, d1 = d1, 1 / E / ((d0[:, None] * cost).sum(0) + 1e-8)
        if (old - d1).abs().mean() <= 1e-4:
            break
    chosen = one_hot(best(d1 * cost * d0[:, None]))
    assert (chosen != one_hot(l.argmax(-1))).any()
    return torch.sigmoid(l) * chosen


def expert_choice(x, p):
    probs = softmax(linear(x, p))
    taken = torch.topk(probs.t(), 4)[1]  # round(2 T / E)
    return probs * F.one_hot(taken, T).sum(1).t()


def remoe(x, p):
    return torch.relu(linear(x, p))


def vmoe(x, p):
    probs = softmax(linear(x, p) + draws("router.logit_noise", T, E, "normal") / E)
    kept = within(two_best(probs), 8, must_drop=False)  # ceil(1.05 * 2 T / E), by fours
    return probs * (kept[0] + kept[1])


def xmoe(x, p):
    reduced = F.linear(x, p["router.projection"])
    l = reduced @ F.normalize(p["router.experts"], p=2.0, dim=1, eps=1e-4).t()
    probs = softmax(l)
    return probs * one_hot(best(probs))


def top_p(x, p):
    probs = softmax(linear(x, p))
    value, index = probs.sort(dim=-1, descending=True)
    keep = (value.cumsum(-1) - value <= 0.4).to(value.dtype)
    assert keep.sum() > T, "take another seed"
    return probs * torch.zeros(T, E).scatter(1, index, keep)


class Heun(torch.autograd.Function):
    """SparseMixer: forward o * factor, backward through o alone with G = dw * o, published."""

    @staticmethod
    def forward(ctx, l, g, chosen, factor):
        o = (g * chosen).sum(-1)
        ctx.save_for_backward(g, chosen, o)
        return o * factor

    @staticmethod
    def backward(ctx, dw):
        g, chosen, o = ctx.saved_tensors
        share = (dw * o)[:, None]
        return share * (chosen - g), None, None, None


def phi_moe(x, p):
    l = linear(x, p)
    gumbel = draws("gate.sparse_mixer", T, 2 * E, "gumbel")
    coin = draws("gate.sparse_mixer", T, 2 * E + 2, "uniform")[:, 2 * E:]
    result, taken, drawn = 0, torch.zeros(T, E), 0
    for j in range(2):
        with torch.no_grad():
            s = l.masked_fill(taken > 0, float("-inf"))
            m = s.max(-1, keepdim=True)[0]
            far = (m - l) / l.abs().clamp(min=m) > 2 * 0.2
            masked = s.masked_fill(far, float("-inf"))
            g = softmax(masked)
            chosen = one_hot((masked + gumbel[:, j * E:(j + 1) * E]).argmax(-1))
            largest = (chosen * one_hot(s.argmax(-1))).sum(-1) > 0
            drawn += (~largest).sum()
            factor = torch.where(largest | (coin[:, j] > 0.75), 0.3333 + 0.6667, 0.3333)
        result = result + Heun.apply(l, g, chosen, factor)[:, None] * chosen
        taken = taken + chosen
    assert drawn > 2, "nothing is drawn, take another seed"
    return result


# --- experts and the layer ---

def ffn(act, gated=False, bias=False):
    def expert(w, x):
        up = F.linear(x, w["w_in"], w["b_in"][0] if bias else None)
        h = act(F.linear(x, w["w_gate"])) * up if gated else act(up)
        return F.linear(h, w["w_out"], w["b_out"][0] if bias else None)
    return expert


RELU, SWIGLU, GEGLU = ffn(torch.relu), ffn(F.silu, True), ffn(GELU, True)
LINEAR = ["router.weight"]
FAMILIES = {
    "switch": (switch, RELU, LINEAR), "gshard": (gshard(0.5, False), RELU, LINEAR),
    "st_moe": (gshard(0.2, True), GEGLU, LINEAR), "glam": (renormalised_after, GEGLU, LINEAR),
    "nllb": (renormalised_after, ffn(torch.relu, bias=True), LINEAR),
    "sparsely_gated": (sparsely_gated, RELU, LINEAR + ["router.noise_weight"]),
    "hash": (hash_layer, RELU, []), "base": (base, RELU, LINEAR), "s_base": (s_base, RELU, LINEAR),
    "expert_choice": (expert_choice, ffn(GELU), LINEAR), "remoe": (remoe, SWIGLU, LINEAR),
    "vmoe": (vmoe, ffn(GELU, bias=True), LINEAR),
    "xmoe": (xmoe, ffn(F.gelu, bias=True), ["router.projection", "router.experts"]),
    "top_p": (top_p, SWIGLU, LINEAR), "phi_moe": (phi_moe, SWIGLU, LINEAR),
}


def rounded(generator, *shape, scale=1.0):
    return (torch.randn(*shape, generator=generator) * scale * 1024).round() / 1024


def main():
    g = torch.Generator().manual_seed(5)
    result = {
        "x": rounded(g, T, D), "dy": rounded(g, T, D),
        "ids": torch.randint(0, 7, (1, T), generator=g).to(torch.get_default_dtype()),
        "table": torch.randint(0, E, (7, 1), generator=g).to(torch.get_default_dtype()),
        "router.weight": rounded(g, E, D), "router.noise_weight": rounded(g, E, D),
        "router.projection": rounded(g, 16, D, scale=0.5), "router.experts": rounded(g, E, 16),
    }
    result["x"][:, 0] += 1  # favours some experts, so that they are full
    result["router.weight"][:2, 0] += 1
    shapes = {"w_gate": (H, D), "w_in": (H, D), "w_out": (D, H), "b_in": (1, H), "b_out": (1, D)}
    for e in range(E):
        result |= {f"experts.{e}.{n}": rounded(g, *s) for n, s in shapes.items()}
    for name, (gate, expert, router) in FAMILIES.items():
        p = {n: v.clone().requires_grad_() for n, v in result.items() if "." in n[:8] and n in router}
        p |= {"ids": result["ids"], "table": result["table"]}
        x = result["x"].clone().requires_grad_()
        experts = [{n: result[f"experts.{e}.{n}"].clone().requires_grad_() for n in shapes}
                   for e in range(E)]
        weight = gate(x, p)
        y = sum(weight[:, e:e + 1] * expert(w, x) for e, w in enumerate(experts))
        (y * result["dy"]).sum().backward()
        out = {"y": y, "dx": x.grad}
        out |= {n: p[n].grad for n in router}
        for e, w in enumerate(experts):
            out |= {f"experts.{e}.{n}": v.grad for n, v in w.items() if v.grad is not None}
        result |= {f"{name}.{n}": v for n, v in out.items()}
    write("preset_classic.txt", result)


if __name__ == "__main__":
    main()
