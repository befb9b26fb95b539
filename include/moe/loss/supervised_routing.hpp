// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Supervised routing: coefficient * cross-entropy of softmax(logits) [T, E] against given experts.
#pragma once

#include "moe/loss/distribution.hpp"

MOE_NAMESPACE_BEGIN

/// -coefficient * mean over labelled tokens of the mean over a token's labels of log
/// softmax(logits_t)_label. One label per token (a known domain, a teacher's expert) or several (a
/// recorded routing.expert). kNoExpert is no label; padding and tokens without a label count
/// nowhere. 0 when the router is certain and right; log E when all logits are equal.
struct SupervisedRoutingLoss {
  double coefficient = 1;
  MatrixView<const std::int32_t> labels = {};  ///< [T, L]

  /// dl_te = coefficient / tokens * (p_te - share of e among the labels). Throws
  /// std::invalid_argument on labels of another T or out of range; the gradient is then untouched.
  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    const double tokens = check(in);
    const std::span<double> p = in.zeros(in.num_experts());  // of one token
    double value = 0;
    in.for_real_tokens([&](Index t) {
      const double own = label_count(t);
      if (own == 0) return;
      const S* l = in.logits.row(t);
      const double z = detail::softmax_of(l, p), scale = coefficient / tokens;
      for (std::size_t e = 0; e < p.size(); ++e) {
        gradient.dlogits(t, static_cast<Index>(e)) += static_cast<S>(scale * p[e]);
      }
      for (Index j = 0; j < labels.cols(); ++j) {
        if (labels(t, j) == kNoExpert) continue;
        value += scale / own * (z - static_cast<double>(l[labels(t, j)]));
        gradient.dlogits(t, labels(t, j)) -= static_cast<S>(scale / own);
      }
    });
    return value;
  }

 private:
  double label_count(Index t) const {
    double count = 0;
    for (Index j = 0; j < labels.cols(); ++j) count += labels(t, j) == kNoExpert ? 0 : 1;
    return count;
  }

  /// The number of real tokens with a label.
  template <class S>
  double check(const LossInput<S>& in) const {
    constexpr auto* kWhere = "moe::SupervisedRoutingLoss";
    detail::check_size(kWhere, "labels", labels.rows(), "rows", "the number of tokens",
                       in.tokens());
    double tokens = 0;
    in.for_real_tokens([&](Index t) {
      tokens += label_count(t) > 0 ? 1 : 0;
      for (Index j = 0; j < labels.cols(); ++j) {
        const std::int32_t e = labels(t, j);
        if (e == kNoExpert || (e >= 0 && e < in.num_experts())) continue;
        detail::fail(kWhere, "the label of token ", t, " is ", e, ", expected 0 to ",
                     in.num_experts() - 1, " or -1 for none");
      }
    });
    return tokens;
  }
};

MOE_NAMESPACE_END
