// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Router z-loss: coefficient * mean_t (logsumexp_e logits_te)^2.
#pragma once

#include <cmath>

#include "moe/loss/loss.hpp"

MOE_NAMESPACE_BEGIN

/// Keeps the router's logits small (Zoph et al. 2022, ST-MoE). The mean is over real tokens;
/// padding counts neither above nor below the line. With all logits zero the value is coefficient *
/// (ln E)^2.
struct RouterZLoss {
  double coefficient = 1e-3;

  /// d/dl_te = coefficient * 2 z_t softmax(l_t)_e / T.
  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    const Index tokens = in.real_tokens();
    if (tokens == 0) return 0;
    const double scale = coefficient / static_cast<double>(tokens);
    double value = 0;
    for (Index t = 0; t < in.tokens(); ++t) {
      if (in.batch.is_padding(t)) continue;
      const S* logits = in.logits.row(t);
      const double largest =
          static_cast<double>(*std::max_element(logits, logits + in.num_experts()));
      double sum = 0;
      for (Index e = 0; e < in.num_experts(); ++e) {
        sum += std::exp(static_cast<double>(logits[e]) - largest);
      }
      const double z = largest + std::log(sum);
      value += scale * z * z;
      for (Index e = 0; e < in.num_experts(); ++e) {
        const double p = std::exp(static_cast<double>(logits[e]) - z);
        gradient.dlogits(t, e) += static_cast<S>(scale * 2 * z * p);
      }
    }
    return value;
  }
};

MOE_NAMESPACE_END
