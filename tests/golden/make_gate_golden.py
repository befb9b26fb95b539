#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 the moe authors
# SPDX-License-Identifier: MIT
"""Writes gates.txt beside this script: the gates of published families in float64, with gradients by
PyTorch autograd of sum(weight * dweight) + sum(scores * dscores).

Needs PyTorch and NumPy (Debian 12: python3-torch, python3-numpy). Each family is written as its own
code computes it: whole tensors, sorts, one-hot masks. `scores` is what its balance loss sees.
"""
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
torch.set_default_dtype(torch.float64)

T, E = 4, 12
INF = float("inf")


def write(name, tensors):
    with open(HERE / name, "w", encoding="ascii") as out:
        for key, tensor in tensors.items():
            matrix = np.atleast_2d(tensor.detach().numpy())
            out.write(f"{key} {matrix.shape[0]} {matrix.shape[1]}\n")
            for row in matrix:
                out.write(" ".join(repr(float(v)) for v in row) + "\n")


def softmax(l):
    return torch.softmax(l, dim=-1)


def distribution(s):
    return s / (s.sum(dim=-1, keepdim=True) + 1e-20)


def top(key, k, ties=False):
    ranked, index = key.sort(dim=-1, descending=True, stable=True)
    assert ties or (ranked[:, k - 1] - ranked[:, k]).min() > 1e-4, "nearly a tie, take another seed"
    return index[:, :k]


def total(w):
    return w.sum(dim=-1, keepdim=True)


# --- families: logits -> (indices [T, K], weights [T, K], scores [T, E]) ---

def softmax_top_k(k, renormalise):
    def gate(l):
        p = softmax(l)
        i = top(p, k)
        w = p.gather(1, i)
        return i, w / total(w) if renormalise else w, p
    return gate


def dbrx(k, p_norm):
    def gate(l):
        p = softmax(l)
        i = top(p, k)
        w = p.gather(1, i)
        return i, w / torch.norm(w, p=p_norm, dim=-1, keepdim=True), p
    return gate


def ernie(k, bias, norm_min):
    def gate(l):
        p = softmax(l)
        i = top(p + bias, k)
        w = p.gather(1, i)
        return i, w / torch.clamp(total(w), min=norm_min), p
    return gate


def longcat(k, bias, scale):
    def gate(l):
        p = softmax(l)
        i = top(p + bias, k)
        return i, p.gather(1, i) * scale, p
    return gate


def gpt_oss(k):
    def gate(l):
        i = top(l, k)
        return i, softmax(l.gather(1, i)), softmax(l)
    return gate


def llama4(l):
    i = top(l, 1)
    return i, torch.sigmoid(l.gather(1, i)), distribution(torch.sigmoid(l))


def group_mask(group_scores, kept, outside, key, groups):
    chosen = torch.topk(group_scores, kept, dim=-1).indices
    mask = torch.zeros_like(group_scores).scatter_(1, chosen, 1).bool()
    mask = mask.unsqueeze(-1).expand(-1, -1, E // groups).reshape(T, E)
    return key.masked_fill(~mask, outside)


def deepseek_v2(k, groups, kept, norm, scale):
    def gate(l):
        p = softmax(l)
        best = p.view(T, groups, -1).max(dim=-1).values
        i = top(group_mask(best, kept, 0.0, p, groups), k)
        w = p.gather(1, i)
        if k > 1 and norm:
            return i, w / (total(w) + 1e-20), p
        return i, w * scale, p
    return gate


def deepseek_v3(k, groups, kept, bias, outside, eps, scale):
    def gate(l):
        s = torch.sigmoid(l)
        key = s + bias
        best = key.view(T, groups, -1).topk(2, dim=-1).values.sum(dim=-1)
        # masked with zeros, experts tie
        i = top(group_mask(best, kept, outside, key, groups), k, ties=outside == 0)
        w = s.gather(1, i)
        return i, w / (total(w) + eps) * scale, distribution(s)
    return gate


def deepseek_v4(k, bias, scale, clamp):
    def gate(l):
        s = torch.sqrt(F.softplus(l))
        i = top(s + bias, k)
        w = s.gather(1, i)
        w = w / torch.clamp(total(w), min=2**-14) if clamp else w / (total(w) + 1e-20)
        return i, w * scale, distribution(s)
    return gate


def megatron(k, groups, kept, scale, pre_softmax):
    def gate(l):
        p = softmax(l)
        key = p if pre_softmax else l
        best = key.view(T, groups, -1).topk(k // kept, dim=-1).values.sum(dim=-1)
        i = top(group_mask(best, kept, -INF, key, groups), k)
        w = p.gather(1, i) if pre_softmax else softmax(l.gather(1, i))
        return i, w * scale, p
    return gate


def sigmoid_family(k, bias, eps, scale=1.0):
    def gate(l):
        s = torch.sigmoid(l)
        i = top(s + bias, k)
        w = s.gather(1, i)
        return i, (w / (total(w) + eps) if k > 1 else w) * scale, distribution(s)
    return gate


def llama_cpp(l):
    p = softmax(l)
    i = top(p, 2)
    w = p.gather(1, i)
    return i, w / torch.clamp(total(w), min=6.103515625e-5), p


def gshard(threshold, before):
    def gate(l):
        p = softmax(l)
        one = F.one_hot(p.argmax(dim=-1), E)
        g1 = (p * one).sum(dim=-1)
        two = F.one_hot((p * (1 - one)).argmax(dim=-1), E)
        g2 = (p * two).sum(dim=-1)
        if before:
            both = g1 + g2 + 1e-9
            g1, g2 = g1 / both, g2 / both
        kept = (g2 > threshold).to(p.dtype)
        g2 = g2 * kept
        if not before:
            both = g1 + g2 + 1e-9
            g1, g2 = g1 / both, g2 / both
        second = torch.where(kept.bool(), two.argmax(dim=-1), -torch.ones(T, dtype=torch.long))
        return (torch.stack([one.argmax(dim=-1), second], dim=1), torch.stack([g1, g2], dim=1), p)
    return gate


def sparse_mixer(jitter):
    def place(l, s):  # evaluation
        with torch.no_grad():
            m, i = s.max(dim=-1, keepdim=True)
            far = (m - l) / l.abs().clamp(min=m) > 2 * jitter
        return i, softmax(s.masked_fill(far, -INF)).gather(1, i)

    def gate(l):
        i1, w1 = place(l, l)
        i2, w2 = place(l, l.scatter(1, i1, -INF))
        return torch.cat([i1, i2], dim=1), torch.cat([w1, w2], dim=1), softmax(l)
    return gate


def by_expert(weights):
    """Gates of a variable number of experts: places in ascending expert order."""
    i = torch.full((T, E), -1)
    places = [[e for e in range(E) if weights[t, e] != 0] for t in range(T)]
    w = torch.zeros(T, E)
    rows = []
    for t, used in enumerate(places):
        i[t, :len(used)] = torch.tensor(used, dtype=torch.long)
        rows.append(F.pad(weights[t, used], (0, E - len(used))))
    return i, torch.stack(rows) + w


def expert_choice(axis, capacity, average):
    def gate(l):
        p = torch.softmax(l, dim=axis)
        i = torch.topk(p.t(), capacity, dim=-1).indices  # [E, C]
        dispatch = F.one_hot(i, T).sum(dim=1).t().to(p.dtype)  # [T, E]
        w = p * dispatch
        if average:
            w = w / torch.clamp(dispatch.sum(dim=-1, keepdim=True), min=1)
        return *by_expert(w), p
    return gate


def relu(l):
    return *by_expert(torch.relu(l)), torch.relu(l)


def top_p(threshold):
    def gate(l):
        p = softmax(l)
        value, i = torch.sort(p, dim=-1, descending=True)
        above = torch.cumsum(value, dim=-1) > threshold
        first = F.one_hot(above.long().argmax(dim=-1), E).bool()
        drop = above & ~first
        return i.masked_fill(drop, -1), value.masked_fill(drop, 0.0), p
    return gate


class Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores):
        return torch.sign(scores)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def top_any(threshold):
    def gate(l):
        s = torch.sigmoid(l)
        fired = Step.apply(torch.relu(s - torch.sigmoid(threshold)))
        count = (fired.detach() > 0).sum(dim=-1, keepdim=True).clamp(min=1)
        return *by_expert(fired / count), distribution(s)
    return gate


def sinkhorn(k):
    def gate(l):
        with torch.no_grad():
            cost = torch.exp(l)
            d0, d1 = torch.ones(T), torch.ones(E)
            error, before = 1e9, d1
            while error > 1e-4:
                d0 = 1 / T / ((d1 * cost).sum(1) + 1e-8)
                d1 = 1 / E / ((d0.unsqueeze(1) * cost).sum(0) + 1e-8)
                error, before = (before - d1).abs().mean(), d1
            i = top(d1 * cost * d0.unsqueeze(1), k)
        act = torch.sigmoid(l) if k == 1 else softmax(l)
        return i, act.gather(1, i), distribution(act)
    return gate


def main():
    generator = torch.Generator().manual_seed(20)
    bias = torch.randn(E, generator=generator).float().double() * 0.25  # checkpoints keep float32
    low = bias - 1.25  # most keys negative
    logits = torch.randn(T, E, generator=generator) * 1.5
    close = 2 + 0.02 * torch.randn(T, E, generator=generator)
    dweight = torch.randn(T, E, generator=generator)
    dscores = torch.randn(T, E, generator=generator)
    threshold = (torch.randn(E, generator=generator) * 0.5).requires_grad_()
    families = {
        "switch": softmax_top_k(1, False), "mixtral": softmax_top_k(2, True),
        "qwen3": softmax_top_k(4, True), "olmoe": softmax_top_k(4, False),
        "dbrx_1": dbrx(4, 1), "dbrx_2": dbrx(4, 2), "ernie": ernie(3, bias, 0.4),
        "longcat": longcat(3, bias, 6.0), "gpt_oss": gpt_oss(4), "llama4": llama4,
        "deepseek_v2": deepseek_v2(3, 4, 2, False, 16.0),
        "deepseek_v2_norm": deepseek_v2(3, 4, 2, True, 16.0),
        "deepseek_v3": deepseek_v3(4, 4, 2, bias, -INF, 0.0, 2.5),
        "deepseek_v3_hf": deepseek_v3(4, 4, 2, bias, -INF, 1e-20, 2.5),
        "deepseek_v3_hf_old": deepseek_v3(4, 4, 2, low, 0.0, 1e-20, 2.5),
        "deepseek_v4": deepseek_v4(3, bias, 1.5, False),
        "deepseek_v4_llama_cpp": deepseek_v4(3, bias, 2.5, True),
        "minimax_m2": sigmoid_family(4, bias, 0.0),
        "torchtitan": sigmoid_family(3, bias, 1e-20, 2.0),
        "megatron_sigmoid_top_1": sigmoid_family(1, bias, 1e-20),
        "megatron_pre_softmax": megatron(4, 4, 2, 1.5, True),
        "megatron_post_softmax": megatron(4, 4, 2, 1.5, False), "llama_cpp": llama_cpp,
        "mesh_threshold": gshard(0.35, True), "lingvo_threshold": gshard(0.12, False),
        "phi_mixer": sparse_mixer(0.2), "expert_choice": expert_choice(-1, 1, False),
        "mesh_expert_choice": expert_choice(0, 2, True), "remoe": relu, "top_p": top_p(0.6),
        "dynmoe": top_any(threshold), "sinkhorn_1": sinkhorn(1), "sinkhorn_3": sinkhorn(3),
    }
    result = {"logits": logits, "close": close, "bias": bias, "low": low, "dweight": dweight,
              "dscores": dscores, "threshold": threshold}
    for name, gate in families.items():
        l = (close if name == "phi_mixer" else logits).clone().requires_grad_()
        index, weight, scores = gate(l)
        loss = (weight * dweight[:, :weight.shape[1]]).sum() + (scores * dscores).sum()
        loss.backward()
        result |= {f"{name}.expert": index.double(), f"{name}.weight": weight,
                   f"{name}.scores": scores, f"{name}.dlogits": l.grad}
    result["dynmoe.dthreshold"] = threshold.grad
    write("gates.txt", result)


if __name__ == "__main__":
    main()
