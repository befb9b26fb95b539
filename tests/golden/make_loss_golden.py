#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 the moe authors
# SPDX-License-Identifier: MIT
"""Writes losses.txt beside this script: every loss and its gradients in float64, by PyTorch autograd.

Needs PyTorch and NumPy (Debian 12: python3-torch, python3-numpy). Padding is cut away before any
formula sees the tokens, so that none can count it. What a loss differentiates by are leaves of their
own: logits, scores, weights, clean logits and deviations of the noise.
"""
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
T, E, K = 10, 6, 2
generator = torch.Generator().manual_seed(20)
out = {}


def leaf(values):
    return values.detach().clone().requires_grad_()


clean = leaf(torch.randn(T, E, generator=generator))
stddev = leaf(F.softplus(torch.randn(T, E, generator=generator)) + 0.01)
logits = leaf(clean + stddev * torch.randn(T, E, generator=generator))
scores = leaf(torch.softmax(logits, -1))
sigmoid = leaf(torch.sigmoid(logits))
expert = torch.topk(logits, K, dim=-1).indices
chosen_scores = torch.gather(scores, 1, expert).detach()
weight = leaf(chosen_scores / chosen_scores.sum(-1, keepdim=True))
bias = torch.tensor([1.5, -1.0, 0.0, 2.0, -0.5, 0.5])
biased = torch.topk(logits + bias, K, dim=-1).indices
mask = torch.tensor([1, 1, 0, 1, 1, 1, 0, 1, 0, 1], dtype=torch.bool)
sequence = torch.tensor([0, 0, 0, 0, 1, 2, 2, 2, 2, 2])  # lengths 4 1 5
device = torch.tensor([0, 1, 2, 1, 0, 0])
eta = torch.tensor([1.0, 1.0, 0.75, 0.5, 1.0, 0.25])
labels = torch.tensor([[0, 3], [-1, -1], [2, 2], [1, -1], [5, 4], [2, 2], [0, 1], [-1, 3], [0, 0], [4, 1]])
earlier = torch.tensor([7.0, 1.0, 0.0, 12.0, 3.0, 5.0])  # choices of 14 tokens before

ranked = logits.sort(dim=-1, descending=True).values
assert (ranked[:, :-1] - ranked[:, 1:]).min() > 1e-4, "nearly a tie, take another seed"

out.update(logits=logits, scores=scores, sigmoid=sigmoid, expert=expert, weight=weight, biased=biased,
           mask=mask, clean=clean, stddev=stddev, device_map=device, eta=eta, labels=labels,
           earlier=earlier)
leaves = dict(logits=logits, scores=scores, sigmoid=sigmoid, weight=weight, clean=clean, stddev=stddev)


def record(name, value):
    """The value and its gradient by each leaf it depends on."""
    out[name] = value
    grads = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, retain_graph=True)
    for leaf_name, grad in zip(leaves, grads):
        if grad is not None:
            out[f"{name}.d{leaf_name}"] = grad


def hot(index):
    """[T, K] -> [T, E]: how often a token names an expert."""
    return F.one_hot(index, E).sum(1).double()


def real(x):
    return x[mask]


def cv_squared(x, unbiased):
    return x.var(unbiased=unbiased) / (x.mean() ** 2 + 1e-10)


# f P losses
p, choice, first = real(scores), real(hot(expert)), real(hot(expert[:, :1]))
n = p.shape[0]
record("switch", 0.3 * E * (choice.mean(0) / K * p.mean(0)).sum())
record("switch_tokens", 0.3 * (choice.mean(0) * p.mean(0)).mean() * E**2)
record("gshard", 0.3 * (first.mean(0) * p.mean(0)).mean() * E**2)
normal = real(sigmoid / sigmoid.sum(-1, keepdim=True))
plain_top = real(hot(torch.topk(sigmoid, K, dim=-1).indices))
record("switch_megatron", 0.3 * (normal.sum(0) * plain_top.sum(0)).sum() * E / (K * n * n))
groups = [(first[real(torch.arange(T) // 4 == g)], p[real(torch.arange(T) // 4 == g)]) for g in range(3)]
record("gshard_groups", 0.3 * torch.stack([(f.mean(0) * q.mean(0)).mean() * E**2 for f, q in groups if len(q)]).mean())

# per sequence; the second sequence has one token
rows = [real(sequence == b) for b in range(3)]
ce = [choice[r].sum(0) / (r.sum() * K / E) for r in rows]
record("sequence_deepseek", 0.3 * torch.stack([(c * p[r].mean(0)).sum() for c, r in zip(ce, rows)]).mean())
record("sequence_olmo", 0.3 * E / (K * n) * sum((choice[r].sum(0) * p[r].mean(0)).sum() for r in rows))
record("sequence_maxtext",
       0.3 * torch.stack([choice[r].mean(0) * p[r].mean(0) for r in rows]).mean() * E**2)
record("global", 0.3 * E * ((choice.sum(0) + earlier) / (K * (n + 14)) * p.mean(0)).sum())

# devices
on = F.one_hot(device, 3).double()  # [E, D]
f = E / (K * n) * choice.sum(0)
record("device", 0.3 * ((f @ on) / on.sum(0) * (p.mean(0) @ on)).sum())
sent = ((choice @ on) > 0).double().sum(0) * 3 / (2 * n)
record("communication", 0.3 * (sent * (p.mean(0) @ on)).sum())

# CV squared
gates = torch.zeros(T, E).scatter(1, expert, weight)
record("importance", 0.3 * cv_squared(real(gates).sum(0), False))
record("importance_scores", 0.3 * cv_squared(p.sum(0), True))
v = torch.topk(logits, K + 1, dim=-1).values
is_in = logits > v[:, K:]
threshold = torch.where(is_in, v[:, K:], v[:, K - 1:K])
standard = torch.distributions.Normal(0.0, 1.0)
record("load", 0.3 * cv_squared(real(standard.cdf((clean - threshold) / stddev)).sum(0), False))
kth = 1 - standard.cdf((v[:, K - 1:K] - clean) / stddev)
record("load_vmoe", 0.3 * cv_squared(real(kth).sum(0), True))

# distributions
q = torch.softmax(real(logits), -1)
mean = q.mean(0)
record("kl", 0.3 * F.kl_div(torch.full((E,), -torch.log(torch.tensor(float(E))).item()), mean, reduction="sum"))
record("global_entropy", -0.3 * torch.distributions.Categorical(probs=mean).entropy())
record("local_entropy", 0.3 * torch.distributions.Categorical(logits=real(logits)).entropy().mean())
record("router_z", 0.3 * torch.logsumexp(real(logits), -1).square().mean())
over_tokens = torch.softmax(real(logits), 0).mean(1)
record("expert_selection", 0.3 * n * over_tokens.square().sum())

# the rest
without = p * (1 - first)
second = real(hot(expert[:, 1:2]))
proxy = (without / (without.sum(-1, keepdim=True) + 1e-9)).mean(0)
record("second_place", 0.3 * (second.mean(0) * proxy).mean() * E**2)
relu = torch.relu(real(logits))
record("relu_l1", 0.3 * E / (K * n * n) * ((relu > 0).sum(0) * relu.sum(0)).sum())
record("weighted", 0.3 * (eta * choice.mean(0) * p.mean(0)).sum())
per_token = [F.cross_entropy(logits[t:t + 1].expand((labels[t] >= 0).sum(), E), labels[t][labels[t] >= 0])
             for t in range(T) if mask[t] and (labels[t] >= 0).any()]
record("supervised", 0.3 * torch.stack(per_token).mean())

with open(pathlib.Path(__file__).resolve().parent / "losses.txt", "w", encoding="ascii") as file:
    for key, tensor in out.items():
        matrix = np.atleast_2d(tensor.detach().numpy())
        file.write(f"{key} {matrix.shape[0]} {matrix.shape[1]}\n")
        for row in matrix:
            file.write(" ".join(repr(float(v)) for v in row) + "\n")
