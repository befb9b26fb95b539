// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Expert-selection loss: coefficient * T * sum_t q_t^2, q_t = how much of the experts' interest
// token t has.
#pragma once

#include "moe/loss/distribution.hpp"

MOE_NAMESPACE_BEGIN

/// For gates where experts choose tokens: q_t = mean over e of softmax over real tokens of
/// logits_te, so that sum_t q_t = 1; T counts real tokens. Keeps the experts from all choosing the
/// same tokens. Works on the logits, whichever axis the gate normalises. Balanced value:
/// coefficient * 1, when every token is wanted the same. Mesh TensorFlow, _expert_selection_gating.
struct ExpertSelectionLoss {
  double coefficient = 1e-2;

  /// With p_te the softmax over tokens and g_t = 2 T q_t / E: dl_te = p_te (g_t - sum_s p_se g_s).
  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    const auto tokens = static_cast<double>(in.real_tokens());
    if (tokens == 0) return 0;
    const Index experts = in.num_experts();
    const std::span<double> all = in.zeros(in.tokens() + 2 * experts);
    double* q = all.data();       // [T], then g
    double* z = q + in.tokens();  // [E], log of the softmax's sum
    double* mean = z + experts;   // [E], sum_s p_se g_s
    const auto real = [&](Index t) { return !in.batch.is_padding(t); };
    const auto p = [&](Index t, Index e) {  // 0 for an expert that no token can reach
      const auto l = static_cast<double>(in.logits(t, e));
      return l == -std::numeric_limits<double>::infinity() ? 0 : std::exp(l - z[e]);
    };
    for (Index e = 0; e < experts; ++e) {
      z[e] = detail::log_sum_exp(in.logits.data() + e, in.tokens(), in.logits.stride(), real);
    }
    double value = 0;
    in.for_real_tokens([&](Index t) {
      for (Index e = 0; e < experts; ++e) q[t] += p(t, e) / static_cast<double>(experts);
      value += coefficient * tokens * q[t] * q[t];
      q[t] *= coefficient * 2 * tokens / static_cast<double>(experts);
      for (Index e = 0; e < experts; ++e) mean[e] += p(t, e) * q[t];
    });
    in.for_real_tokens([&](Index t) {
      for (Index e = 0; e < experts; ++e) {
        gradient.dlogits(t, e) += static_cast<S>(p(t, e) * (q[t] - mean[e]));
      }
    });
    return value;
  }
};

MOE_NAMESPACE_END
