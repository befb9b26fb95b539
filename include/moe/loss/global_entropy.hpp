// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Global entropy loss: -coefficient * entropy of the mean distribution over experts.
#pragma once

#include <optional>

#include "moe/loss/distribution.hpp"

MOE_NAMESPACE_BEGIN

/// Makes the tokens together use many experts. P_e = mean over real tokens of softmax(logits_t)_e;
/// the loss is -coefficient * H(P), or with a threshold coefficient * max(0, threshold - H(P)):
/// log(n) asks for at least about n experts. Balanced value: -coefficient * log E; with a threshold
/// 0. Mustafa et al. 2022 (LIMoE, arXiv 2206.02770).
struct GlobalEntropyLoss {
  double coefficient = 1e-2;
  std::optional<double> threshold = std::nullopt;

  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    const auto tokens = static_cast<double>(in.real_tokens());
    if (tokens == 0) return 0;
    const std::span<double> all = in.zeros(2 * in.num_experts());
    const std::span<double> mean = all.first(all.size() / 2), p = all.last(all.size() / 2);
    detail::add_mean_distribution(in, tokens, mean, p);
    const double value = detail::negative_entropy(mean, coefficient, tokens);
    if (threshold && *threshold + value <= 0) return 0;
    detail::add_softmax_gradient<S>(in, mean, p, gradient);
    return coefficient * (threshold.value_or(0) + value);
  }
};

MOE_NAMESPACE_END
