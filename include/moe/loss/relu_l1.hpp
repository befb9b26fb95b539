// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// ReMoE's L1 loss on ReLU scores [T, E], and the controller of its coefficient.
#pragma once

#include <algorithm>

#include "moe/loss/balance.hpp"

MOE_NAMESPACE_BEGIN

/// lambda * (E / (k T^2)) * sum_e n_e sum_t s_te, n_e = real tokens with s_te > 0, s the scores of
/// a ReLU gate (relu(logits)): presses harder on experts used more. Or plain: lambda / T * sum s.
/// With k experts per token on average, used evenly, the value is that of the plain form: lambda *
/// the mean over tokens of sum_e s_te. Wang et al. 2024 (ReMoE, arXiv 2412.14711).
struct ReluL1Loss {
  enum class Form { balanced, plain };

  double lambda = 1e-8;  ///< of ReluL1Controller
  double target_k = 1;   ///< k, experts per token aimed at
  Form form = Form::balanced;

  /// Throws std::invalid_argument unless target_k is positive.
  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    if (!(target_k > 0)) {
      detail::fail("moe::ReluL1Loss", "target_k is ", target_k, ", expected a value above 0");
    }
    const auto tokens = static_cast<double>(in.real_tokens());
    if (tokens == 0) return 0;
    const std::span<double> slope = in.zeros(in.num_experts());
    const auto experts = static_cast<double>(in.num_experts());
    in.for_real_tokens([&](Index t) {
      for (std::size_t e = 0; e < slope.size(); ++e) {
        slope[e] += in.routing.scores(t, static_cast<Index>(e)) > S(0) ? 1 : 0;
      }
    });
    for (double& s : slope) {
      s = form == Form::plain ? lambda / tokens
                              : s * lambda * experts / (target_k * tokens * tokens);
    }
    return detail::add_scores(in, slope.data(), ScoresAs::given, gradient);
  }
};

/// Keeps the share of zero scores at 1 - k/E: once per step, with the mean sparsity of all layers,
/// lambda is multiplied when there are too few zeros and divided otherwise. `lambda` is all there
/// is to save. ReMoE, as released: equality divides.
struct ReluL1Controller {
  double lambda = 1e-8;
  double multiplier = 1.2;

  /// For saving: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    f(std::string_view("lambda"), lambda, [](std::span<const double> saved) {
      if (!(saved[0] >= 0) || !std::isfinite(saved[0])) {
        detail::fail("moe::ReluL1Controller", "lambda is ", saved[0],
                     ", expected a finite value, 0 or more");
      }
    });
  }

  /// Share of zero scores among the real tokens of one forward: (routing, batch) of a tape.
  template <class S>
  static double sparsity(const Routing<S>& routing, const Batch& batch) {
    double zeros = 0, all = 0;
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (batch.is_padding(t)) continue;
      for (Index e = 0; e < routing.num_experts(); ++e) {
        zeros += routing.scores(t, e) > S(0) ? 0 : 1;
        all += 1;
      }
    }
    return all > 0 ? zeros / all : 0;
  }

  /// Returns the lambda of the next step, which stays in [1e-30, 1e30] whatever happens.
  double update(double sparsity, double target_k, Index experts) {
    const double target = 1 - target_k / static_cast<double>(experts);
    lambda = sparsity < target ? lambda * multiplier : lambda / multiplier;
    return lambda = std::clamp(lambda, 1e-30, 1e30);
  }
};

MOE_NAMESPACE_END
