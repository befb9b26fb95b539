#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 the moe authors
# SPDX-License-Identifier: MIT
"""Writes block_*.txt beside this script: transformer blocks and mixtures of attention heads in float64, by
PyTorch autograd. Needs PyTorch and NumPy (Debian 12: python3-torch, python3-numpy).

Whole sequences in padded [B, L, D] tensors, additive masks, all experts computed densely and weighted by a
one-hot matrix: nothing of how the library does it. Rows of padding take part in nothing.
"""
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
torch.set_default_dtype(torch.float64)
INF = float("inf")


def write(name, tensors):
    with open(HERE / name, "w", encoding="ascii") as out:
        for key, tensor in tensors.items():
            matrix = np.atleast_2d(tensor.detach().numpy())
            out.write(f"{key} {matrix.shape[0]} {matrix.shape[1]}\n")
            for row in matrix:
                out.write(" ".join(repr(float(v)) for v in row) + "\n")


class Case:
    """Named leaves of one file, and the rows of x as sequences."""

    def __init__(self, seed, lengths, padding, d):
        self.generator = torch.Generator().manual_seed(seed)
        self.lengths, self.d, self.parameters = lengths, d, {}
        total = sum(lengths)
        self.real = torch.tensor([t not in padding for t in range(total)])
        self.x = torch.randn(total, d, generator=self.generator).requires_grad_()
        self.dy = torch.randn(total, d, generator=self.generator)

    def leaf(self, name, *shape, scale=None, shift=0.0):
        scale = shape[-1]**-0.5 if scale is None else scale
        value = torch.randn(*shape, generator=self.generator) * scale + shift
        self.parameters[name] = value.requires_grad_()
        return self.parameters[name]

    def split(self, rows):
        return torch.split(rows, self.lengths)

    def finish(self, name, y, losses):
        ((y * self.dy)[self.real].sum() + sum(losses)).backward()
        y = torch.where(self.real[:, None], y, torch.zeros_like(y))
        result = {"x": self.x, "dy": self.dy, "y": y, "dx": self.x.grad,
                  "lengths": torch.tensor(self.lengths, dtype=torch.float64),
                  "mask": self.real.double(),
                  "losses": torch.stack([torch.as_tensor(l, dtype=torch.float64) for l in losses] or
                                        [torch.zeros(())]).detach()}
        for key, value in self.parameters.items():
            result[key] = value
            result[key + ".grad"] = torch.zeros_like(value) if value.grad is None else value.grad
        write(name, result)


def rms_norm(x, gain, eps=1e-5):
    return gain * x * torch.rsqrt((x**2).mean(-1, keepdim=True) + eps)


def rotate(x, base, interleaved):
    """x [L, heads, width] as complex numbers times e^(i position frequency)."""
    width = x.shape[-1]
    pairs = x.unflatten(-1, (width // 2, 2)) if interleaved else torch.stack(x.chunk(2, -1), -1)
    z = torch.view_as_complex(pairs.contiguous())
    frequency = base**(-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.outer(torch.arange(x.shape[0], dtype=torch.float64), frequency)
    turned = torch.view_as_real(z * torch.polar(torch.ones_like(angle), angle)[:, None, :])
    if interleaved:
        return turned.flatten(-2)
    return torch.cat([turned[..., 0], turned[..., 1]], -1)


def scores_mask(real, causal):
    n = len(real)
    seen = real[None, :].expand(n, n)
    if causal:
        seen = seen & torch.ones(n, n).tril().bool()
    seen = seen | torch.eye(n).bool()  # so that rows of padding have a softmax; nobody reads it
    return torch.zeros(n, n).masked_fill(~seen, -INF)


def attend(q, k, v, mask):
    """q, k, v [L, heads, width]."""
    p = torch.softmax(torch.einsum("lhw,mhw->hlm", q, k) / q.shape[-1]**0.5 + mask, -1)
    return torch.einsum("hlm,mhw->lhw", p, v)


def balance_losses(logits, chosen, real, balance, z):
    logits, chosen = logits[real], chosen[real]
    p = torch.softmax(logits, -1)
    experts, k = logits.shape[-1], chosen[0].sum()
    return [balance * experts * (chosen.mean(0) / k * p.mean(0)).sum(),
            z * (torch.logsumexp(logits, -1)**2).mean()]


def choose(logits, k, real):
    chosen = F.one_hot(torch.topk(logits, k, -1).indices, logits.shape[-1]).sum(1).double()
    ranked = logits[real].sort(-1, descending=True).values
    assert (ranked[:, k - 1] - ranked[:, k]).min() > 1e-3, "nearly a tie, take another seed"
    return chosen


def make_moe_block():
    """Causal attention with shared keys, rotation and biases; top-2 of 4 SwiGLU experts."""
    d, h, heads, kv, width, experts, k = 6, 5, 4, 2, 4, 4, 2
    c = Case(11, [5, 1, 7], {3, 8, 9}, d)
    g1 = c.leaf("attention.norm.gain", 1, d, scale=0.3, shift=1)
    w = {n: c.leaf(f"attention.layer.w_{n}", *s) for n, s in
         {"q": (heads * width, d), "k": (kv * width, d), "v": (kv * width, d), "o": (d, heads * width)}.items()}
    b = {n: c.leaf(f"attention.layer.b_{n}", 1, len(w[n]), scale=0.3) for n in "qkvo"}
    mixed = []
    for x, real in zip(c.split(c.x), c.split(c.real)):
        n = rms_norm(x, g1)
        q, key, v = [F.linear(n, w[i], b[i][0]).unflatten(-1, (-1, width)) for i in "qkv"]
        q, key = rotate(q, 100.0, False), rotate(key, 100.0, False)
        key, v = [m.repeat_interleave(heads // kv, 1) for m in (key, v)]
        mixed.append(F.linear(attend(q, key, v, scores_mask(real, True)).flatten(1), w["o"], b["o"][0]))
    middle = c.x + torch.cat(mixed)
    n = rms_norm(middle, c.leaf("ffn.norm.gain", 1, d, scale=0.3, shift=1))
    logits = F.linear(n, c.leaf("ffn.layer.router.weight", experts, d))
    chosen = choose(logits, k, c.real)
    weight = torch.softmax(logits, -1) * chosen
    weight = weight / weight.sum(-1, keepdim=True)
    y = middle
    for e in range(experts):
        m = {i: c.leaf(f"ffn.layer.experts.{e}.{i}", *s)
             for i, s in {"w_gate": (h, d), "w_in": (h, d), "w_out": (d, h)}.items()}
        out = F.linear(F.silu(F.linear(n, m["w_gate"])) * F.linear(n, m["w_in"]), m["w_out"])
        y = y + weight[:, e:e + 1] * out
    c.finish("block_moe.txt", y, balance_losses(logits, chosen, c.real, 0.1, 0.05))


def make_dense_block():
    """PyTorch's own multi-head attention, layer norms and a GELU FFN with biases, nothing causal."""
    d, h, heads = 8, 7, 2
    c = Case(12, [6, 4], {1, 2, 9}, d)
    norm = lambda p, x: F.layer_norm(x, (d,), c.leaf(f"{p}.norm.gain", 1, d, scale=0.3, shift=1)[0],
                                     c.leaf(f"{p}.norm.bias", 1, d, scale=0.3)[0], 1e-5)
    n = norm("attention", c.x)
    w = {i: c.leaf(f"attention.layer.w_{i}", d, d) for i in "qkvo"}
    b = {i: c.leaf(f"attention.layer.b_{i}", 1, d, scale=0.3) for i in "qkvo"}
    parts = []
    for rows, real in zip(c.split(n), c.split(c.real)):
        out, _ = F.multi_head_attention_forward(
            rows, rows, rows, d, heads, torch.cat([w[i] for i in "qkv"]),
            torch.cat([b[i][0] for i in "qkv"]), None, None, False, 0.0, w["o"], b["o"][0],
            key_padding_mask=~real)
        parts.append(out)
    middle = c.x + torch.cat(parts)
    n = norm("ffn", middle)
    m = {i: c.leaf(f"ffn.layer.{i}", *s) for i, s in {"w_in": (h, d), "w_out": (d, h)}.items()}
    v = {i: c.leaf(f"ffn.layer.{i}", 1, s, scale=0.3) for i, s in {"b_in": h, "b_out": d}.items()}
    y = middle + F.linear(F.gelu(F.linear(n, m["w_in"], v["b_in"][0])), m["w_out"], v["b_out"][0])
    c.finish("block_dense.txt", y, [])


def make_heads(name, seed, heads, k, causal, rotary, detach):
    """Mixture of attention heads (Zhang et al. 2022): all experts on all tokens, weights one-hot."""
    d, width, experts = 6, 4, 5
    c = Case(seed, [6, 1, 8], {2, 13, 14}, d)
    a = heads * width
    logits = F.linear(c.x, c.leaf("router.weight", experts, d))
    w_k, w_v = c.leaf("w_k", a, d), c.leaf("w_v", a, d)
    chosen = choose(logits, k, c.real)
    weight = torch.softmax(logits, -1) * chosen
    total = weight.sum(-1, keepdim=True)
    weight = weight / (total.detach() if detach else total)
    turn = lambda m: rotate(m, 10000.0, True) if rotary else m
    y = torch.zeros_like(c.x)
    for e in range(experts):
        w_q, w_o = c.leaf(f"experts.{e}.w_q", a, d), c.leaf(f"experts.{e}.w_o", d, a)
        found = []
        for x, real in zip(c.split(c.x), c.split(c.real)):
            q, key, v = [F.linear(x, w).unflatten(-1, (heads, width)) for w in (w_q, w_k, w_v)]
            found.append(attend(turn(q), turn(key), v, scores_mask(real, causal)).flatten(1))
        y = y + weight[:, e:e + 1] * F.linear(torch.cat(found), w_o)
    c.finish(name, y, balance_losses(logits, chosen, c.real, 0.1, 0.05))


make_moe_block()
make_dense_block()
make_heads("block_heads.txt", 13, heads=1, k=2, causal=True, rotary=False, detach=True)
make_heads("block_heads_rotary.txt", 14, heads=2, k=3, causal=False, rotary=True, detach=False)
