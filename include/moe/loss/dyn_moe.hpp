// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// DynMoE's losses on the choices of a TopAnyGate: balance among the experts, and few per token.
#pragma once

#include "moe/loss/loss.hpp"

MOE_NAMESPACE_BEGIN

/// coefficient * (balance * E sum_e f_e P_e + efficiency * (1 / T) sum_t k_t / E sum_j w_tj)
/// with f_e = share of the tokens with an expert that use e, P_e = their mean of w_te / sum_j w_tj,
/// k_t = experts of token t, w its weights. f and k carry no gradient. A TopAnyGate's weights are
/// 1 / k and its backward is straight through the step, so this gradient is the published one, and
/// the second term is the mean share of experts used ("sparse loss"). A token without an expert
/// gives none: see AdaptiveExperts. Balanced value: coefficient * (balance * k + efficiency * k /
/// E) when every token uses k experts. Guo et al. 2024 (DynMoE, arXiv 2405.14297, released code).
struct DynMoeLoss {
  double coefficient = 1e-2;
  double balance = 1;
  double efficiency = 1;

  /// With n the tokens that have an expert and W = sum_j w_tj: dw_tj = coefficient * (balance * E
  /// (f_j - sum_i f_i w_ti / W) / (n W) + efficiency k_t / (T E)). Throws std::invalid_argument
  /// when the gradient of weights has nowhere to go.
  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    const auto& routing = in.routing;
    detail::check_shape("moe::DynMoeLoss", "gradient.dweight", gradient.dweight, in.tokens(),
                        routing.top_k());
    const std::span<double> f = in.zeros(in.num_experts());
    double tokens = 0, with_expert = 0;
    in.for_real_tokens([&](Index t) {
      tokens += 1;
      with_expert += used(routing, t) > 0 ? 1 : 0;
      for (Index j = 0; j < routing.top_k(); ++j) {
        if (routing.expert(t, j) != kNoExpert) f[at(routing, t, j)] += 1;
      }
    });
    if (with_expert == 0) return 0;
    const auto experts = static_cast<double>(in.num_experts());
    const double spread = coefficient * balance * experts / (with_expert * with_expert);
    for (double& share : f) share *= spread;
    double value = 0;
    in.for_real_tokens([&](Index t) {
      double sum = 0, along = 0;
      for (Index j = 0; j < routing.top_k(); ++j) {
        if (routing.expert(t, j) == kNoExpert) continue;
        const auto w = static_cast<double>(routing.weight(t, j));
        sum += w;
        along += f[at(routing, t, j)] * w;
      }
      if (sum == 0) return;
      const double per_weight = coefficient * efficiency * used(routing, t) / (tokens * experts);
      value += along / sum + per_weight * sum;
      for (Index j = 0; j < routing.top_k(); ++j) {
        if (routing.expert(t, j) == kNoExpert) continue;
        const double own = f[at(routing, t, j)];
        gradient.dweight(t, j) += static_cast<S>((own - along / sum) / sum + per_weight);
      }
    });
    return value;
  }

 private:
  template <class S>
  static std::size_t at(const Routing<S>& routing, Index t, Index j) {
    return static_cast<std::size_t>(routing.expert(t, j));
  }
  template <class S>
  static double used(const Routing<S>& routing, Index t) {
    double count = 0;
    for (Index j = 0; j < routing.top_k(); ++j) count += routing.expert(t, j) != kNoExpert;
    return count;
  }
};

MOE_NAMESPACE_END
