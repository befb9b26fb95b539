// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Switch load-balancing loss: coefficient * E * sum_e f_e P_e.
#pragma once

#include "moe/loss/loss.hpp"

MOE_NAMESPACE_BEGIN

/// f_e = share of the assignments that name expert e (so sum_e f_e = 1 for any K), before capacity;
/// P_e = mean over tokens of the score of e. Padding counts in neither. f carries no gradient.
/// Balanced value: coefficient * 1. Fedus et al. 2021 (Switch, K = 1); with K > 1 the form divided
/// by K, as in Megatron and OLMo.
struct SwitchLoss {
  double coefficient = 1e-2;

  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    Index assignments = 0;
    for (const std::int32_t count : in.plan.demanded) assignments += count;
    if (assignments == 0) return 0;
    const double scale = coefficient * static_cast<double>(in.num_experts()) /
                         (static_cast<double>(assignments) * static_cast<double>(in.real_tokens()));
    double value = 0;
    for (Index t = 0; t < in.tokens(); ++t) {
      if (in.batch.is_padding(t)) continue;
      for (Index e = 0; e < in.num_experts(); ++e) {
        const double slope = scale * in.plan.demanded[static_cast<std::size_t>(e)];
        value += slope * static_cast<double>(in.routing.scores(t, e));
        gradient.dscores(t, e) += static_cast<S>(slope);
      }
    }
    return value;
  }
};

MOE_NAMESPACE_END
