#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 the moe authors
# SPDX-License-Identifier: MIT
"""Writes the golden vectors of the soft and the hierarchical layer: float64, by PyTorch autograd.

Needs PyTorch and NumPy (Debian 12: python3-torch, python3-numpy). An independent implementation:
whole tensors with one-hot masks, no rows are moved.
"""
import math

import torch
import torch.nn.functional as F

from golden_file import write
from philox import FIRST, SEED, philox, stream_of, unit

torch.set_default_dtype(torch.float64)


def swiglu(x, p):
    return F.linear(F.silu(F.linear(x, p["w_gate"])) * F.linear(x, p["w_in"]), p["w_out"])


class Leaves:
    """Random leaves under their names, to be written with their gradients."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)
        self.named = {}

    def normal(self, *shape, scale=1.0):
        return torch.randn(*shape, generator=self.generator) * scale

    def make(self, name, *shape, scale=1.0, shift=0.0):
        leaf = (self.normal(*shape, scale=scale) + shift).requires_grad_()
        self.named[name] = leaf
        return leaf

    def swiglu(self, prefix, d, h):
        shapes = {"w_gate": (h, d), "w_in": (h, d), "w_out": (d, h)}
        return {n: self.make(prefix + n, *s, scale=s[1]**-0.5) for n, s in shapes.items()}

    def save(self, name, x, dy, y, loss, more):
        (y * dy).sum().add(loss).backward()
        result = {"x": x, "dy": dy, "y": y, "dx": x.grad} | more
        for key, leaf in self.named.items():
            result[key] = leaf
            result[key + ".grad"] = leaf.grad
        write(name, result)


def soft(name, seed, normalization, lengths, padding, d=6, h=5, experts=3, slots=2):
    """Sequences of the given lengths; `padding` lists rows that are not there."""
    leaves = Leaves(seed)
    tokens = sum(lengths)
    x = leaves.normal(tokens, d, scale=2.0).requires_grad_()
    dy = leaves.normal(tokens, d)
    phi = leaves.make("phi", experts * slots, d)
    if normalization == "l2":
        scale = leaves.make("scale", 1, 1, scale=0.1, shift=2.0)
    if normalization == "rms":
        gain_x = leaves.make("gain_x", 1, d, scale=0.3, shift=1.0)
        gain_phi = leaves.make("gain_phi", 1, d, scale=0.3, shift=0.5)
    ffn = [leaves.swiglu(f"experts.{e}.", d, h) for e in range(experts)]
    real = torch.ones(tokens, dtype=torch.bool)
    real[padding] = False
    y, first = [], 0
    for length in lengths:
        xs, keep = x[first:first + length], real[first:first + length]
        first += length
        if normalization == "none":
            tokens_in, keys, queries = xs, xs, phi
        elif normalization == "l2":
            tokens_in = xs
            keys = xs * torch.rsqrt((xs * xs).sum(-1, keepdim=True) + 1e-6)
            queries = scale * phi * torch.rsqrt((phi * phi).sum(-1, keepdim=True) + 1e-6)
        else:
            keys = F.normalize(xs, dim=-1) * d**0.5 * gain_x
            queries = F.normalize(phi, dim=-1) * d**0.5 * gain_phi
            tokens_in = keys
        logits = torch.einsum("td,sd->ts", keys, queries)
        shut = torch.where(keep, 0.0, float("-inf"))[:, None]
        if not keep.any():
            y.append(torch.zeros(length, d))
            continue
        dispatch = torch.softmax(logits + shut, dim=0)
        combine = torch.softmax(logits, dim=1) * keep[:, None]
        means = torch.einsum("ts,td->sd", dispatch, tokens_in).reshape(experts, slots, d)
        out = torch.stack([swiglu(means[e], ffn[e]) for e in range(experts)])
        y.append(torch.einsum("ts,sd->td", combine, out.reshape(experts * slots, d)))
    more = {"lengths": torch.tensor([lengths], dtype=torch.float64), "mask": real.double()}
    leaves.save(name, x, dy, torch.cat(y), torch.zeros(()), more)


def cv_squared(v):
    return v.var(unbiased=False) / (v.mean()**2 + 1e-10)


def top_k_gate(logits, k):
    """Softmax over all, the k best renormalised; K = 1 keeps the probability."""
    p = torch.softmax(logits, dim=-1)
    ranked = logits.sort(dim=-1, descending=True).values
    if k < logits.shape[-1]:
        assert (ranked[:, k - 1] - ranked[:, k]).min() > 1e-3, "nearly a tie, take another seed"
    chosen = F.one_hot(torch.topk(p, k, dim=-1).indices, logits.shape[-1]).sum(1)
    w = p * chosen
    return (w / w.sum(-1, keepdim=True) if k > 1 else w), p, chosen


def switch_loss(p, chosen, rows):
    """E sum_e f_e P_e over the tokens of `rows`, 0 or 1."""
    n = rows.sum()
    f = (chosen * rows[:, None]).sum(0) / (n * chosen.sum(-1).max())
    return p.shape[-1] * (f * (p * rows[:, None]).sum(0) / n).sum()


def smooth_load(clean, noisy, stddev, k):
    """Probability per token and expert to be among the k largest if its own noise is drawn again."""
    normal = torch.distributions.Normal(0.0, 1.0)
    experts = noisy.shape[-1]
    columns = []
    for e in range(experts):
        others = torch.cat([noisy[:, :e], noisy[:, e + 1:]], dim=-1)
        threshold = torch.topk(others, k, dim=-1).values[:, -1]
        columns.append(normal.cdf((clean[:, e] - threshold) / stddev[:, e]))
    return torch.stack(columns, dim=-1)


def hierarchical(name, seed, tokens, groups, experts, k_outer, k_inner, d=6, h=5, inner_coef=0.2,
                 outer_coef=0.3, importance=0.5):
    leaves = Leaves(seed)
    x = leaves.normal(tokens, d).requires_grad_()
    dy = leaves.normal(tokens, d)
    outer, p, chosen = top_k_gate(
        F.linear(x, leaves.make("router.weight", groups, d, scale=d**-0.5)), k_outer)
    y, loss = 0, outer_coef * switch_loss(p, chosen, torch.ones(tokens))
    products = []
    for g in range(groups):
        inner, q, picked = top_k_gate(
            F.linear(x, leaves.make(f"groups.{g}.router.weight", experts, d, scale=d**-0.5)), k_inner)
        out = torch.stack([swiglu(x, leaves.swiglu(f"groups.{g}.experts.{e}.", d, h))
                           for e in range(experts)], dim=1)
        y = y + outer[:, g:g + 1] * torch.einsum("te,ted->td", inner, out)
        loss = loss + inner_coef * switch_loss(q, picked, chosen[:, g].double())
        products.append((outer[:, g:g + 1] * inner).sum(0))
    loss_importance = importance * cv_squared(torch.cat(products))
    leaves.save(name, x, dy, y, loss + loss_importance,
                {"switch_losses": loss.reshape(1), "importance_loss": loss_importance.reshape(1)})


def group_seed(group):
    w = philox(SEED, int.from_bytes(b"group", "big"), group)
    return w[0] << 32 | w[1]


def learned_noise(seed, rows, cols):
    """Standard normal draws of the layer whose batch has this seed."""
    values = torch.zeros(rows, cols)
    for t in range(rows):
        for i in range(cols):
            w = philox(seed, stream_of("router.learned_noise"), (FIRST + t) << 24 | i)
            radius = math.sqrt(-2 * math.log(unit(w[0], w[1])))
            values[t, i] = radius * math.cos(2 * math.pi * unit(w[2], w[3]))
    return values


def hierarchical_load(name, seed, tokens, groups, experts, k_outer, k_inner, d=6, h=5, load=0.5):
    """Noisy gates on both levels; the gradient goes through the noise's deviation."""
    leaves = Leaves(seed)
    x = leaves.normal(tokens, d).requires_grad_()
    dy = leaves.normal(tokens, d)

    def noisy(prefix, outputs, noise_seed):
        clean = F.linear(x, leaves.make(prefix + "weight", outputs, d, scale=d**-0.5))
        stddev = 1e-2 + F.softplus(
            F.linear(x, leaves.make(prefix + "noise_weight", outputs, d, scale=d**-0.5)))
        noise = learned_noise(noise_seed, tokens, outputs)
        return clean, clean + noise * stddev, stddev

    clean, logits, stddev = noisy("router.", groups, SEED)
    outer, _, chosen = top_k_gate(logits, k_outer)
    primary = smooth_load(clean, logits, stddev, k_outer).sum(0)
    y, products = 0, []
    for g in range(groups):
        clean, logits, stddev = noisy(f"groups.{g}.router.", experts, group_seed(g))
        inner, _, _ = top_k_gate(logits, k_inner)
        out = torch.stack([swiglu(x, leaves.swiglu(f"groups.{g}.experts.{e}.", d, h))
                           for e in range(experts)], dim=1)
        y = y + outer[:, g:g + 1] * torch.einsum("te,ted->td", inner, out)
        rows = chosen[:, g].double()
        secondary = (smooth_load(clean, logits, stddev, k_inner) * rows[:, None]).sum(0)
        products.append(primary[g] * secondary / rows.sum())
    loss = load * cv_squared(torch.cat(products))
    leaves.save(name, x, dy, y, loss, {"load_loss": loss.reshape(1)})


if __name__ == "__main__":
    soft("soft_none.txt", 1, "none", [7], [])
    soft("soft_l2.txt", 2, "l2", [5, 1, 6], [1, 8, 9])
    soft("soft_rms.txt", 3, "rms", [4, 2, 5], [4, 5, 10])
    hierarchical("hierarchical_top2.txt", 4, tokens=12, groups=3, experts=4, k_outer=2, k_inner=2)
    hierarchical("hierarchical_top1.txt", 5, tokens=14, groups=3, experts=2, k_outer=1, k_inner=1)
    hierarchical_load("hierarchical_load.txt", 6, tokens=12, groups=4, experts=4, k_outer=2,
                      k_inner=2)
