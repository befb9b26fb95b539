// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Balancing without a loss: moves the selection bias [E] of a gate by the counts of a step.
#pragma once

#include <concepts>
#include <span>

#include "moe/core/error.hpp"

MOE_NAMESPACE_BEGIN

enum class BiasRule {
  sign,           ///< b_e += rate * sign(mean - count_e): DeepSeek-V3, Megatron, OLMo, maxtext
  centered_sign,  ///< the same, minus its mean over experts, so that sum b stays: torchtitan
  proportional,   ///< b_e += rate * (mean - count_e): a variant in the paper, for a much smaller
                  ///< rate
};

/// Call once per optimizer step with the choices per expert of the whole batch, before capacity:
/// plan.demanded of one forward, or BalanceCounts::choices of several. The bias belongs in the
/// choice of experts alone, never in their weights, gets no gradient, and wants float or wider. A
/// step without tokens changes nothing. Wang et al. 2024 (arXiv 2408.15664).
struct BiasUpdate {
  double rate = 1e-3;
  BiasRule rule = BiasRule::sign;

  /// Throws std::invalid_argument when the sizes differ; the bias is then untouched.
  template <std::floating_point S, class Counts>
  void operator()(std::span<S> bias, const Counts& counts) const {
    const std::span all(counts);
    detail::check_size("moe::BiasUpdate", "counts", std::ssize(all), "values", "the bias",
                       std::ssize(bias));
    double mean = 0, drift = 0;
    for (const auto n : all) mean += static_cast<double>(n);
    mean /= static_cast<double>(all.size());  // of the sum: equal counts must give exactly 0
    const auto step = [&](std::size_t e) {
      const double lack = mean - static_cast<double>(all[e]);
      if (rule == BiasRule::proportional) return lack;
      return lack > 0 ? 1.0 : lack < 0 ? -1.0 : 0.0;
    };
    if (rule == BiasRule::centered_sign) {
      for (std::size_t e = 0; e < all.size(); ++e) drift += step(e);
      drift /= static_cast<double>(all.size());
    }
    for (std::size_t e = 0; e < bias.size(); ++e) {
      bias[e] += static_cast<S>(rate * (step(e) - drift));
    }
  }
};

MOE_NAMESPACE_END
