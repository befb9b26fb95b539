#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 the moe authors
# SPDX-License-Identifier: MIT
"""Writes the golden vectors beside this script: the textbook layer in float64, by PyTorch autograd.

Needs PyTorch and NumPy (Debian 12: python3-torch, python3-numpy). Each file is a list of matrices:
a line "name rows cols", then one line per row. An independent implementation: dense one-hot
arithmetic over all experts, no sorting of tokens.
"""
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
torch.set_default_dtype(torch.float64)


def write(name, tensors):
    with open(HERE / name, "w", encoding="ascii") as out:
        for key, tensor in tensors.items():
            matrix = np.atleast_2d(tensor.detach().numpy())
            out.write(f"{key} {matrix.shape[0]} {matrix.shape[1]}\n")
            for row in matrix:
                out.write(" ".join(repr(float(v)) for v in row) + "\n")


def ffn(act):
    return lambda x, p: F.linear(act(F.linear(x, p["w_in"], p.get("b_in"))), p["w_out"], p.get("b_out"))


def gated_ffn(act):
    return lambda x, p: F.linear(
        act(F.linear(x, p["w_gate"], p.get("b_gate"))) * F.linear(x, p["w_in"], p.get("b_in")),
        p["w_out"], p.get("b_out"))


def gpt_oss(alpha, limit):
    """openai/gpt-oss: the rows of one matrix are gate, up, gate, up ..."""
    def expert(x, p):
        w1 = torch.stack([p["w_gate"], p["w_in"]], dim=1).flatten(0, 1)
        b1 = torch.stack([p["b_gate"], p["b_in"]], dim=1).flatten()
        h = F.linear(x, w1, b1)
        gate, up = h[..., ::2].clamp(max=limit), h[..., 1::2].clamp(min=-limit, max=limit)
        assert (h[..., ::2] > limit).any() and (h[..., 1::2].abs() > limit).any()
        return F.linear(gate * torch.sigmoid(alpha * gate) * (up + 1), p["w_out"], p["b_out"])
    return expert


def make_case(name, seed, tokens, d, h, experts, k, expert, shapes, router_bias, renormalize,
              capacity_factor=None, balance=0.0, z=0.0):
    generator = torch.Generator().manual_seed(seed)

    def leaf(*shape, scale=1.0):
        return (torch.randn(*shape, generator=generator) * scale).requires_grad_()

    x, dy = leaf(tokens, d), torch.randn(tokens, d, generator=generator)
    router = {"weight": leaf(experts, d, scale=d**-0.5)}
    if router_bias:
        router["bias"] = leaf(experts, scale=0.5)
    weights = [{n: leaf(*s, scale=s[-1]**-0.5) for n, s in shapes(d, h).items()}
               for _ in range(experts)]

    logits = F.linear(x, router["weight"], router.get("bias"))
    p = torch.softmax(logits, dim=-1)
    top, index = torch.topk(p, k, dim=-1)
    chosen = F.one_hot(index, experts).sum(dim=1).to(p.dtype)  # [T, E], 0 or 1
    if k < experts:
        ranked = logits.sort(dim=-1, descending=True).values
        assert (ranked[:, k - 1] - ranked[:, k]).min() > 1e-3, "nearly a tie, take another seed"

    gate = p * chosen
    if renormalize:
        gate = gate / gate.sum(dim=-1, keepdim=True)
    kept = chosen
    if capacity_factor is not None:
        capacity = int(np.ceil(capacity_factor * tokens * k / experts))
        kept = chosen * (torch.cumsum(chosen, dim=0) <= capacity)  # the first ones in the batch
        assert kept.sum() < chosen.sum(), "nothing is dropped, take another seed"
    outputs = torch.stack([expert(x, w) for w in weights], dim=1)  # [T, E, D]
    y = torch.einsum("te,ted->td", gate * kept, outputs)

    share = chosen.mean(dim=0) / k
    balance_loss = balance * experts * (share * p.mean(dim=0)).sum()
    z_loss = z * (torch.logsumexp(logits, dim=-1)**2).mean()
    ((y * dy).sum() + balance_loss + z_loss).backward()

    result = {"x": x, "dy": dy, "y": y, "dx": x.grad, "logits": logits, "weight": top,
              "balance_loss": balance_loss.reshape(1), "z_loss": z_loss.reshape(1)}
    named = {f"router.{n}": v for n, v in router.items()}
    named |= {f"experts.{e}.{n}": v for e, w in enumerate(weights) for n, v in w.items()}
    for n, v in named.items():
        result[n] = v
        result[n + ".grad"] = torch.zeros_like(v) if v.grad is None else v.grad
    write(name, result)


def make_optimizer(name, make):
    """Five steps on a weight [3, 4] and a bias [4] whose gradients are given, not computed."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(3, 4, generator=generator).requires_grad_()
    bias = torch.randn(4, generator=generator).requires_grad_()
    result = {"weight.0": weight.clone(), "bias.0": bias.clone()}
    optimizer = make(weight, bias)
    for step in range(1, 6):
        weight.grad = torch.randn(3, 4, generator=generator)
        bias.grad = torch.randn(4, generator=generator)
        result |= {f"weight.grad.{step}": weight.grad.clone(), f"bias.grad.{step}": bias.grad.clone()}
        optimizer.step()
        result |= {f"weight.{step}": weight.detach().clone(), f"bias.{step}": bias.detach().clone()}
    write(name, result)


plain = lambda d, h: {"w_in": (h, d), "w_out": (d, h)}
biased = lambda d, h: {"w_in": (h, d), "w_out": (d, h), "b_in": (h,), "b_out": (d,)}
gated = lambda d, h: {"w_gate": (h, d), "w_in": (h, d), "w_out": (d, h)}
gated_biased = lambda d, h: gated(d, h) | {"b_gate": (h,), "b_in": (h,), "b_out": (d,)}

make_case("gelu_top2.txt", seed=1, tokens=12, d=6, h=9, experts=5, k=2, expert=ffn(F.gelu),
          shapes=biased, router_bias=True, renormalize=True)
make_case("swiglu_top3.txt", seed=2, tokens=15, d=7, h=5, experts=8, k=3, expert=gated_ffn(F.silu),
          shapes=gated, router_bias=False, renormalize=True, balance=0.1, z=0.05)
make_case("switch_top1.txt", seed=3, tokens=20, d=6, h=8, experts=4, k=1, expert=ffn(F.relu),
          shapes=plain, router_bias=False, renormalize=False, capacity_factor=1.0, balance=0.1,
          z=0.05)
make_case("clamped_top2.txt", seed=4, tokens=14, d=6, h=7, experts=5, k=2,
          expert=gpt_oss(1.702, 0.9), shapes=gated_biased, router_bias=True, renormalize=True)
make_optimizer("adamw.txt", lambda w, b: torch.optim.AdamW(
    [{"params": [w], "weight_decay": 0.1}, {"params": [b], "weight_decay": 0.0}],
    lr=0.05, betas=(0.8, 0.95), eps=1e-6))
make_optimizer("sgd.txt", lambda w, b: torch.optim.SGD([w, b], lr=0.1, momentum=0.9,
                                                       weight_decay=0.02))
