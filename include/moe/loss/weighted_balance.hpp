// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// MoE++'s heterogeneous balance loss: coefficient * sum_e eta_e f_e P_e.
#pragma once

#include "moe/loss/balance.hpp"

MOE_NAMESPACE_BEGIN

/// f_e = share of the tokens that choose e, P_e = mean score of e, eta_e = what choosing e costs: 1
/// for an FFN expert, tau < 1 for zero, copy and constant experts, which then take more tokens.
/// Jin et al. 2024 (MoE++, arXiv 2410.07348).
struct WeightedBalanceLoss {
  enum class Scale {
    published,   ///< as above; balanced value: coefficient * mean(eta) * K / E
    like_switch  ///< * E / K: balanced value coefficient * mean(eta), SwitchLoss when eta is 1
  };

  double coefficient = 1e-2;
  std::span<const double> eta = {};  ///< [E]
  Scale scale = Scale::published;

  /// Throws std::invalid_argument unless eta has E values.
  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    detail::check_size("moe::WeightedBalanceLoss", "eta", std::ssize(eta), "values",
                       "the number of experts", in.num_experts());
    const std::span<double> slope = in.zeros(in.num_experts());
    const double choices = detail::count_choices(in, {}, slope.data());
    if (choices == 0) return 0;
    const auto tokens = static_cast<double>(in.real_tokens());
    const double below =
        scale == Scale::published ? tokens : choices / static_cast<double>(in.num_experts());
    for (std::size_t e = 0; e < slope.size(); ++e) {
      slope[e] *= coefficient * eta[e] / (below * tokens);
    }
    return detail::add_scores(in, slope.data(), ScoresAs::given, gradient);
  }
};

MOE_NAMESPACE_END
