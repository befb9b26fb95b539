// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Router z-loss: coefficient * mean_t (logsumexp_e logits_te)^2.
#pragma once

#include "moe/loss/distribution.hpp"

MOE_NAMESPACE_BEGIN

/// Keeps the router's logits small (Zoph et al. 2022, ST-MoE). The mean is over real tokens;
/// padding counts neither above nor below the line. With all logits zero the value is coefficient *
/// (ln E)^2. For the mean over layers or micro-batches (mesh, MegaBlocks) divide the coefficient.
struct RouterZLoss {
  double coefficient = 1e-3;

  /// d/dl_te = coefficient * 2 z_t softmax(l_t)_e / T.
  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    const double scale = coefficient / static_cast<double>(std::max<Index>(1, in.real_tokens()));
    const std::span<double> p = in.zeros(in.num_experts());  // of one token
    double value = 0;
    in.for_real_tokens([&](Index t) {
      const double z = detail::softmax_of(in.logits.row(t), p);
      value += scale * z * z;
      for (std::size_t e = 0; e < p.size(); ++e) {
        gradient.dlogits(t, static_cast<Index>(e)) += static_cast<S>(scale * 2 * z * p[e]);
      }
    });
    return value;
  }
};

MOE_NAMESPACE_END
