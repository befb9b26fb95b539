#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 the moe authors
# SPDX-License-Identifier: MIT
"""Writes router_*.txt and capacity_*.txt beside this script: routers and capacity rules in float64,
gradients by PyTorch autograd.

Needs PyTorch and NumPy (Debian 12: python3-torch, python3-numpy). Same file format as
make_golden.py. Independent of the library: dense one-hot arithmetic as in the published programs,
and a Philox4x32-10 of its own for the random values, see philox.py.
"""
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

from philox import draws

HERE = pathlib.Path(__file__).resolve().parent
torch.set_default_dtype(torch.float64)


def write(name, tensors):
    with open(HERE / name, "w", encoding="ascii") as out:
        for key, tensor in tensors.items():
            matrix = np.atleast_2d(tensor.detach().numpy()).astype(float)
            out.write(f"{key} {matrix.shape[0]} {matrix.shape[1]}\n")
            for row in matrix:
                out.write(" ".join(repr(float(v)) for v in row) + "\n")


T, D, E = 6, 5, 4


def make_router(name, shapes, forward):
    """x, parameters and dlogits drawn; logits, dx and gradients of <logits, dlogits> written."""
    generator = torch.Generator().manual_seed(sum(name.encode()))
    leaf = lambda *shape: (torch.randn(*shape, generator=generator) * 0.7).requires_grad_()
    x, dlogits = leaf(T, D), torch.randn(T, E, generator=generator)
    p = {n: leaf(*shape) for n, shape in shapes.items()}
    logits = forward(x, p)
    (logits * dlogits).sum().backward()
    result = {"x": x, "dlogits": dlogits, "logits": logits, "dx": x.grad}
    for n, v in p.items():
        result[n], result[n + ".grad"] = v, v.grad
    write(f"router_{name}.txt", result)


LINEAR = {"weight": (E, D)}
linear = lambda x, p: F.linear(x, p["weight"])


def learned_noise(x, p):
    sigma = F.softplus(F.linear(x, p["noise_weight"])) + 1e-2
    return linear(x, p) + draws("router.learned_noise", T, E, "normal") * sigma


def jitter(x, p):
    return linear(x * (0.7 + 0.6 * draws("router.input_jitter", T, D, "uniform")), p)


def cosine_tutel(x, p):
    projected = F.linear(x, p["projection"], p["bias"][0])
    cosine = F.normalize(projected, dim=1) @ F.normalize(p["experts"].T, dim=0)
    return cosine * torch.clamp(p["temperature"], max=math.log(1 / 0.01)).exp()


def cosine_xmoe(x, p):
    reduced = F.linear(x, p["projection"])
    return reduced @ F.normalize(p["experts"], p=2.0, dim=1, eps=1e-4).T


def mlp(x, p):
    return F.linear(torch.tanh(F.linear(x, p["w_in"])), p["w_out"]) + F.linear(
        p["previous"], p["w_previous"])


make_router("learned_noise", {**LINEAR, "noise_weight": (E, D)}, learned_noise)
make_router("gaussian", LINEAR,
            lambda x, p: linear(x, p) + 0.8 / E * draws("router.logit_noise", T, E, "normal"))
make_router("gumbel", LINEAR,
            lambda x, p: linear(x, p) + draws("router.logit_noise", T, E, "gumbel"))
make_router("jitter", LINEAR, jitter)
make_router("cap", LINEAR, lambda x, p: 1.5 * torch.tanh(linear(x, p) / 1.5))
make_router("cosine_tutel", {"projection": (3, D), "bias": (1, 3), "experts": (E, 3),
                             "temperature": (1, 1)}, cosine_tutel)
make_router("cosine_xmoe", {"projection": (3, D), "experts": (E, 3)}, cosine_xmoe)
make_router("mlp", {"w_in": (8 * E, D), "w_out": (E, 8 * E), "w_previous": (E, E),
                    "previous": (T, E)}, mlp)


def make_capacity(name, tokens, experts, k, capacity, keep, reroute=0, renormalize=False):
    """softmax, top k, `keep` decides; loss = sum of weight * value[t, e] over what is computed."""
    generator = torch.Generator().manual_seed(sum(name.encode()))
    logits = torch.randn(tokens, experts, generator=generator)
    logits[:, 1] += 1  # one expert is wanted by many
    logits.requires_grad_()
    value = torch.randn(tokens, experts, generator=generator)
    p = torch.softmax(logits, dim=1)
    index = torch.topk(p, k, dim=1).indices
    masks = [F.one_hot(index[:, j], experts).to(p.dtype) for j in range(k)]  # k of [T, E]
    kept = keep(masks, p, capacity)
    weights = [(p * m).sum(1) * m.sum(1) for m in kept]
    if renormalize:  # after dropping, as torchscale and DeepSpeed
        total = torch.clamp(sum(weights), min=torch.finfo(torch.float32).eps)
        weights = [w / total for w in weights]
    loss = sum((w * (value * m).sum(1)).sum() for w, m in zip(weights, kept))
    loss.backward()
    fate = torch.stack([torch.where(m.sum(1) > 0, m.argmax(1), torch.tensor(-1)) for m in kept], 1)
    assert (fate < 0).any() or reroute, "nothing is dropped, take another seed"
    write(f"capacity_{name}.txt",
          {"logits": logits, "value": value, "capacity": torch.tensor([float(capacity)]),
           "expert": fate.to(p.dtype), "weight": torch.stack(weights, 1),
           "loss": loss.reshape(1), "dlogits": logits.grad})


def by_position(masks, p, capacity):
    union = sum(masks)
    fits = torch.cumsum(union, dim=0) <= capacity
    return [m * fits for m in masks]


def by_choice(masks, p, capacity):
    kept, before = [], torch.zeros(p.shape[1])
    for m in masks:
        fits = torch.cumsum(m, dim=0) - 1 + before < capacity
        kept.append(m * fits)
        before = before + m.sum(0)
    return kept


def by_batch_priority(masks, p, capacity):
    order = (-p.max(dim=1).values).argsort()
    sorted_kept = by_choice([m[order] for m in masks], p, capacity)
    back = order.argsort()
    return [m[back] for m in sorted_kept]


def by_score(masks, p, capacity):
    wanted = sum(masks)
    top = torch.topk(p.detach() * wanted, capacity, dim=0).indices
    fits = torch.zeros_like(p).scatter(0, top, 1.0)
    return [m * fits for m in masks]


def ntlb(masks, p, capacity):
    """mesh: rounds of top-1, top-2, ... over the tokens that have no place yet."""
    ranked = torch.topk(p, p.shape[1], dim=1).indices
    left, used, kept = torch.ones(p.shape[0]), torch.zeros(p.shape[1]), torch.zeros_like(p)
    for i in range(p.shape[1]):
        m = F.one_hot(ranked[:, i], p.shape[1]).to(p.dtype) * left[:, None]
        m = m * (used + torch.cumsum(m, dim=0) <= capacity)
        used, left, kept = used + m.sum(0), left - m.sum(1), kept + m
    return [kept]


make_capacity("position", 14, 4, 2, 6, by_position)
make_capacity("gshard", 14, 4, 2, 6, by_choice, renormalize=True)
make_capacity("batch_priority", 14, 4, 2, 5, by_batch_priority, renormalize=True)
make_capacity("score", 14, 4, 2, 5, by_score)
make_capacity("ntlb", 14, 4, 1, 4, ntlb, reroute=1)
