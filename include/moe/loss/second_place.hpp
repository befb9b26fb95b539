// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Second-place loss: coefficient * E * sum_e f2_e P2_e, the balance of the second choices.
#pragma once

#include "moe/loss/balance.hpp"

MOE_NAMESPACE_BEGIN

/// f2_e = share of the tokens whose second choice is e; P2_e = mean over tokens of the score of e
/// after the first choice is removed and the rest divided by its sum (+ eps). Added to a GShardLoss
/// with half its coefficient in mesh TensorFlow (_top_2_gating, use_second_place_loss). A token
/// with one choice has no second place and counts only among the tokens. Balanced value:
/// coefficient * 1.
struct SecondPlaceLoss {
  double coefficient = 0.5e-2;
  double eps = 1e-9;

  /// With r_e = s_e / D and D = sum over e but the first of s_e + eps: ds_e = (slope_e - sum_j
  /// slope_j r_j) / D, 0 for the first.
  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    const auto& routing = in.routing;
    if (routing.top_k() < 2) return 0;
    const Index experts = in.num_experts();
    const std::span<double> slope = in.zeros(experts);
    const auto second = [&](Index t) { return routing.expert(t, 1); };
    double tokens = 0, value = 0;
    in.for_real_tokens([&](Index t) {
      tokens += 1;
      if (second(t) != kNoExpert) slope[static_cast<std::size_t>(second(t))] += 1;
    });
    for (double& s : slope) s *= coefficient * static_cast<double>(experts) / (tokens * tokens);
    in.for_real_tokens([&](Index t) {
      if (second(t) == kNoExpert) return;
      const Index first = routing.expert(t, 0);
      double below = eps, sum = 0;
      for (Index e = 0; e < experts; ++e) {
        if (e == first) continue;
        below += static_cast<double>(routing.scores(t, e));
        sum += slope[static_cast<std::size_t>(e)] * static_cast<double>(routing.scores(t, e));
      }
      value += sum / below;
      for (Index e = 0; e < experts; ++e) {
        if (e == first) continue;
        gradient.dscores(t, e) +=
            static_cast<S>((slope[static_cast<std::size_t>(e)] - sum / below) / below);
      }
    });
    return value;
  }
};

MOE_NAMESPACE_END
