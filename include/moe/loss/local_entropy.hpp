// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Local entropy loss: coefficient * mean over tokens of the entropy of softmax(logits_t).
#pragma once

#include "moe/loss/distribution.hpp"

MOE_NAMESPACE_BEGIN

/// Makes each token decided about its experts; goes with GlobalEntropyLoss, which keeps the tokens
/// from deciding for the same one. The mean is over real tokens. Says nothing about balance: 0 when
/// every token has one expert, coefficient * log E when all logits are equal. Mustafa et al. 2022
/// (LIMoE, arXiv 2206.02770).
struct LocalEntropyLoss {
  double coefficient = 1e-2;

  /// H = -sum_e p_e log p_e, dH/dl_e = -p_e (log p_e + H).
  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    const auto tokens = static_cast<double>(in.real_tokens());
    const std::span<double> p = in.zeros(in.num_experts());  // of one token
    double value = 0;
    in.for_real_tokens([&](Index t) {
      const S* l = in.logits.row(t);
      const double z = detail::softmax_of(l, p);
      double entropy = 0;
      for (const double v : p) entropy -= detail::x_log_x(v);
      for (std::size_t e = 0; e < p.size(); ++e) {
        if (p[e] == 0) continue;  // log p may be infinite
        const double log_p = static_cast<double>(l[e]) - z;
        gradient.dlogits(t, static_cast<Index>(e)) -=
            static_cast<S>(coefficient / tokens * p[e] * (log_p + entropy));
      }
      value += coefficient / tokens * entropy;
    });
    return value;
  }
};

MOE_NAMESPACE_END
