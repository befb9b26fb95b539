// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// KL divergence from uniform: coefficient * sum_e P_e log(E P_e), P the mean distribution [E].
#pragma once

#include "moe/loss/distribution.hpp"

MOE_NAMESPACE_BEGIN

/// P_e = mean over real tokens of softmax(logits_t)_e, taken from the logits whatever the gate's
/// scores are. KL(P || uniform) = log E - entropy(P): differentiable in all of P, no counts.
/// Balanced value: 0; at most coefficient * log E, when one expert has all.
struct KlUniformLoss {
  double coefficient = 1e-2;

  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    const auto tokens = static_cast<double>(in.real_tokens());
    if (tokens == 0) return 0;
    const std::span<double> all = in.zeros(2 * in.num_experts());
    const std::span<double> mean = all.first(all.size() / 2), p = all.last(all.size() / 2);
    detail::add_mean_distribution(in, tokens, mean, p);
    const double value = detail::negative_entropy(mean, coefficient, tokens);
    detail::add_softmax_gradient<S>(in, mean, p, gradient);
    return coefficient * (std::log(static_cast<double>(in.num_experts())) + value);
  }
};

MOE_NAMESPACE_END
