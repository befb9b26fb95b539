// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Adaptive experts: switches off what no token uses, and on when tokens find no expert.
#pragma once

#include "moe/core/state.hpp"
#include "moe/gate/top_any.hpp"

MOE_NAMESPACE_BEGIN

/// The tuning of the number of experts of DynMoE (Guo et al. 2024, released code). From time to
/// time, for a few training steps:
///   adaptive.observe(tape.routing, tokens, tape.batch);         // after each forward
///   adaptive.update(layer.gate(), layer.router().experts);      // after the last of them
/// `tokens` [T, R] is what the router compares with its experts [E, R]: x for the weight of a
/// LinearRouter, tape.router_state.projected for a CosineRouter.
template <class S>
class AdaptiveExperts {
 public:
  struct Change {
    Index removed = 0;
    std::int32_t added = kNoExpert;  ///< the expert switched on, if any
  };

  /// Counts who is used, and sums the tokens that no expert took. Padding counts nowhere, nor do
  /// tokens with a NaN or Inf. Throws std::invalid_argument unless tokens are [T, R] of the
  /// routing, with the R and E of the first call, and the mask, when there is one, is [T].
  void observe(const Routing<S>& routing, MatrixView<const S> tokens, const Batch& batch) {
    if (used_.empty()) used_.assign(static_cast<std::size_t>(routing.num_experts()), 0);
    if (lost_.empty()) lost_.assign(static_cast<std::size_t>(tokens.cols()), 0);
    detail::check_shape(kWhere, "tokens", tokens, routing.tokens(), std::ssize(lost_));
    detail::check_size(kWhere, "the routing", routing.num_experts(), "experts",
                       "the number of those observed before", std::ssize(used_));
    if (!batch.mask.empty()) {
      detail::check_size(kWhere, "mask", std::ssize(batch.mask), "values", "the number of tokens",
                         routing.tokens());
    }
    for (Index t = 0; t < routing.tokens(); ++t) {
      const S* token = tokens.row(t);
      if (batch.is_padding(t) ||
          !std::all_of(token, token + tokens.cols(), [](S v) { return std::isfinite(v); })) {
        continue;
      }
      observed_ = true;
      bool taken = false;
      for (Index j = 0; j < routing.top_k(); ++j) {
        if (routing.expert(t, j) == kNoExpert) continue;
        ++used_[static_cast<std::size_t>(routing.expert(t, j))];
        taken = true;
      }
      for (std::size_t i = 0; !taken && i < lost_.size(); ++i) {
        lost_[i] += static_cast<double>(token[i]);
      }
    }
  }

  /// Switches off every expert that was not used; then, if tokens were lost, switches on the first
  /// that is off, with the direction of their sum and threshold 0. Starts to observe anew. Nothing
  /// happens when nothing was observed; the last expert is never switched off. Throws
  /// std::invalid_argument unless `experts` is [E, R].
  Change update(TopAnyGate<S>& gate, Parameter<S>& experts) {
    Change change;
    if (!observed_) return change;
    detail::check_shape<const S>(kWhere, "experts", experts.value, std::ssize(used_),
                                 std::ssize(lost_));
    detail::check_size(kWhere, "the gate", gate.num_experts(), "experts", "the number observed",
                       std::ssize(used_));
    for (Index e = 0; e < gate.num_experts(); ++e) {
      const auto at = static_cast<std::size_t>(e);
      const auto active = gate.active();
      const bool last = std::count(active.begin(), active.end(), 1) == 1;
      if (used_[at] > 0 || active[at] == 0 || last) continue;
      gate.set_active(e, false);
      ++change.removed;
    }
    double square = 0;
    for (const double v : lost_) square += v * v;
    const auto off = std::find(gate.active().begin(), gate.active().end(), 0);
    if (square > 0 && off != gate.active().end()) {
      change.added = static_cast<std::int32_t>(off - gate.active().begin());
      gate.set_active(change.added, true);
      gate.threshold.value(0, change.added) = 0;
      for (std::size_t i = 0; i < lost_.size(); ++i) {
        experts.value(change.added, static_cast<Index>(i)) =
            static_cast<S>(lost_[i] / std::sqrt(square));
      }
    }
    std::fill(used_.begin(), used_.end(), 0);
    std::fill(lost_.begin(), lost_.end(), 0.0);
    observed_ = false;
    return change;
  }

  /// What saving keeps: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    f(std::string_view("used"), AnySize<std::int64_t>{used_});
    f(std::string_view("lost"), AnySize<double>{lost_});
    f(std::string_view("observed"), observed_);
  }

 private:
  static constexpr auto* kWhere = "moe::AdaptiveExperts";

  std::vector<std::int64_t> used_;  ///< [E] tokens that used each
  std::vector<double> lost_;        ///< [R] sum of the tokens without an expert
  bool observed_ = false;
};

MOE_NAMESPACE_END
