// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Global-batch balance loss: coefficient * E * sum_e F_e P_e, F from counts the caller keeps.
#pragma once

#include <vector>

#include "moe/core/state.hpp"
#include "moe/loss/balance.hpp"

MOE_NAMESPACE_BEGIN

/// Choices per expert [E] together with the tokens they come from. Add every micro-batch (and sum
/// over ranks) before its loss; clear when the step ends. Shared by several layers, whose forwards
/// are all added before the first loss, it pools them as Hugging Face's load_balancing_loss_func
/// does; the mean of the layers' losses is then that one.
struct BalanceCounts {
  std::vector<std::int64_t> choices;  ///< [E], empty at first
  std::int64_t tokens = 0;            ///< without padding

  /// Adds one forward: add(tape.plan, tape.batch). Throws std::invalid_argument, and adds
  /// nothing, when E differs or the batch is another plan's.
  void add(const Plan& plan, const Batch& batch) {
    detail::check_mask("moe::BalanceCounts::add", batch, plan.tokens);
    if (choices.empty()) choices.assign(plan.demanded.size(), 0);
    detail::check_size("moe::BalanceCounts::add", "the plan", plan.num_experts(), "experts",
                       "the number counted so far", std::ssize(choices));
    for (std::size_t e = 0; e < choices.size(); ++e) choices[e] += plan.demanded[e];
    for (Index t = 0; t < plan.tokens; ++t) tokens += batch.is_padding(t) ? 0 : 1;
  }

  /// For saving in the middle of a step: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    f(std::string_view("choices"), AnySize<std::int64_t>{choices});
    f(std::string_view("tokens"), tokens);
  }

  void clear() {
    std::fill(choices.begin(), choices.end(), 0);
    tokens = 0;
  }
};

/// F_e = share of the counted choices that name e (ShareOf::choices, balanced value coefficient *
/// 1) or tokens that chose e over the counted tokens (ShareOf::tokens, * K); P_e = mean score over
/// the tokens of this call. Both parts of F come from the same tokens, whatever the size of this
/// call. With the counts of this call alone it is SwitchLoss. Qiu et al. 2025 (arXiv 2501.11873).
struct GlobalBalanceLoss {
  double coefficient = 1e-2;
  const BalanceCounts* counts = nullptr;
  ShareOf share = ShareOf::choices;
  ScoresAs scores = ScoresAs::given;

  /// Throws std::invalid_argument when counts are missing, of another E, or with
  /// ShareOf::first_choices, which they do not hold.
  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    constexpr auto* kWhere = "moe::GlobalBalanceLoss";
    if (counts == nullptr || counts->choices.empty()) {
      detail::fail(kWhere, "counts is empty, expected BalanceCounts::add before the loss");
    }
    if (share == ShareOf::first_choices) {
      detail::fail(kWhere, "share is first_choices, expected choices or tokens");
    }
    detail::check_size(kWhere, "counts", std::ssize(counts->choices), "experts", "the layer's",
                       in.num_experts());
    double total = share == ShareOf::tokens ? static_cast<double>(counts->tokens) : 0;
    if (share == ShareOf::choices) {
      for (const std::int64_t n : counts->choices) total += static_cast<double>(n);
    }
    const auto tokens = static_cast<double>(in.real_tokens());
    if (total == 0 || tokens == 0) return 0;
    const std::span<double> slope = in.zeros(in.num_experts());
    const double scale = coefficient * static_cast<double>(in.num_experts()) / (total * tokens);
    for (std::size_t e = 0; e < slope.size(); ++e) {
      slope[e] = scale * static_cast<double>(counts->choices[e]);
    }
    return detail::add_scores(in, slope.data(), scores, gradient);
  }
};

MOE_NAMESPACE_END
