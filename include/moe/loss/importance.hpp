// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Importance loss: coefficient * CV^2 over experts of the weight (or score) they get in all.
#pragma once

#include "moe/loss/cv_squared.hpp"
#include "moe/loss/loss.hpp"

MOE_NAMESPACE_BEGIN

/// importance_e = sum over real tokens of the gate's weight of e (Shazeer et al. 2017,
/// tensor2tensor) or of its score (Tutel, V-MoE: softmax over all experts). Balanced value: 0.
struct ImportanceLoss {
  enum class Of { weights, scores };

  double coefficient = 0.1;
  Of of = Of::weights;
  CvSquared cv = {};

  /// Throws std::invalid_argument when the gradient of weights has nowhere to go.
  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    if (of == Of::weights && gradient.dweight.rows() != in.tokens()) {
      detail::fail("moe::ImportanceLoss", "gradient.dweight has ", gradient.dweight.rows(),
                   " rows, expected ", in.tokens(), " (or of = ImportanceLoss::Of::scores)");
    }
    if (in.real_tokens() == 0) return 0;
    const std::span<double> importance = in.zeros(in.num_experts());
    in.for_real_tokens([&](Index t) {
      visit(in, t, gradient,
            [&](std::size_t e, S amount, S&) { importance[e] += static_cast<double>(amount); });
    });
    const double value = cv(importance, coefficient);  // importance is now its gradient
    in.for_real_tokens([&](Index t) {
      visit(in, t, gradient,
            [&](std::size_t e, S, S& out) { out += static_cast<S>(importance[e]); });
    });
    return value;
  }

 private:
  /// f(e, amount, its gradient) for the experts token t gives something.
  template <class S, class F>
  void visit(const LossInput<S>& in, Index t, LossGradient<S>& gradient, F&& f) const {
    const auto& r = in.routing;
    if (of == Of::scores) {
      for (Index e = 0; e < in.num_experts(); ++e) {
        f(static_cast<std::size_t>(e), r.scores(t, e), gradient.dscores(t, e));
      }
      return;
    }
    for (Index j = 0; j < r.top_k(); ++j) {
      if (r.expert(t, j) == kNoExpert) continue;
      f(static_cast<std::size_t>(r.expert(t, j)), r.weight(t, j), gradient.dweight(t, j));
    }
  }
};

MOE_NAMESPACE_END
