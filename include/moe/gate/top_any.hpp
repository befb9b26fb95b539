// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Top-any gate: each expert has a learned threshold; a token uses every expert that clears its own.
#pragma once

#include <vector>
#include "moe/core/expert_axis.hpp"

#include "moe/core/parameter.hpp"
#include "moe/gate/select.hpp"

MOE_NAMESPACE_BEGIN

/// s_e = sigmoid(logit_e), used where s_e > sigmoid(threshold_e); every used expert has weight 1 /
/// k, k the number used (Guo et al. 2024, "DynMoE", on a cosine router). In training a token may
/// use no expert; otherwise it then uses its best one. Backward as published: straight through the
/// step [s > threshold] to s and threshold, k held constant. Routing::scores is s / sum s.
/// Dims::top_k is not used. Experts can be switched off and on: they then have score 0.
///
/// Few experts stay above their thresholds by themselves. Train with DynMoeLoss, DiversityLoss on
/// the router's experts, and from time to time AdaptiveExperts.
template <class S>
class TopAnyGate {
 public:
  struct Options {
    Index max_experts = 0;         ///< K, the most experts of a token; 0: all E
    double initial_threshold = 0;  ///< before the sigmoid

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("max_experts", max_experts);
      f("initial_threshold", initial_threshold);
    }
  };
  struct State {
    Buffer<double> divisor;  ///< [T] of scores_to_distribution
    Buffer<Index> count;     ///< [T] experts that cleared their threshold, at most K
  };

  TopAnyGate() = default;

  /// Throws std::invalid_argument unless 1 <= top_k <= E, 0 <= max_experts <= E and
  /// initial_threshold is finite.
  TopAnyGate(const Dims& dims, const Options& options)
      : top_k_(detail::check_most_experts(kWhere, dims, options.max_experts)), options_(options) {
    if (!std::isfinite(options.initial_threshold)) {
      detail::fail(kWhere, "initial_threshold is ", options.initial_threshold,
                   ", expected a finite value");
    }
    threshold = Parameter<S>(1, dims.num_experts);
    threshold.value.setConstant(static_cast<S>(options.initial_threshold));
    active_.assign(static_cast<std::size_t>(dims.num_experts), 1);
  }

  Index top_k() const { return top_k_; }
  Index num_experts() const { return std::ssize(active_); }
  const Options& options() const { return options_; }

  /// [E], 0 where an expert is switched off.
  std::span<const std::uint8_t> active() const { return active_; }

  /// Throws std::invalid_argument on an expert that is not there, or when none would be left on.
  void set_active(Index e, bool on) {
    if (e < 0 || e >= std::ssize(active_)) {
      detail::fail(kWhere, "the expert is ", e, ", expected 0 to ", std::ssize(active_) - 1);
    }
    const auto at = static_cast<std::size_t>(e);
    if (!on && active_[at] != 0 && std::count(active_.begin(), active_.end(), 1) == 1) {
      detail::fail(kWhere, "expert ", e, " is the last one that is active, expected one to remain");
    }
    active_[at] = on ? 1 : 0;
  }

  void forward(MatrixView<const S> logits, Routing<S>& routing, const Batch& batch,
               State& state) const {
    detail::check_gate_forward(kWhere, *this, logits, routing, batch);
    detail::check_shape<const S>(kWhere, "threshold", threshold.value, 1, num_experts());
    const Index n = logits.cols();
    state.divisor.resize(logits.rows());
    state.count.resize(logits.rows());
    for (Index t = 0; t < logits.rows(); ++t) {
      std::int32_t* chosen = routing.expert.row(t);
      S* s = routing.scores.row(t);
      score_row(ScoreFunction::sigmoid, logits.row(t), n, S(1), s);
      // sigmoid is monotone: compared before it, so that large logits do not round to a tie
      const auto margin = [&](Index e) { return logits(t, e) - threshold.value(0, e); };
      Index count = 0, best = kNoExpert;
      for (Index e = 0; e < n; ++e) {  // NaN clears it, to be seen
        if (active_[static_cast<std::size_t>(e)] == 0) {
          s[e] = 0;
          continue;
        }
        if (best == kNoExpert || ranks_before(logits(t, e), e, logits(t, best), best)) best = e;
        if (margin(e) <= 0) continue;
        if (count < top_k_) {
          chosen[count++] = static_cast<std::int32_t>(e);
          continue;
        }
        std::int32_t* worst = std::max_element(chosen, chosen + count, [&](auto a, auto b) {
          return ranks_before(margin(a), a, margin(b), b);
        });
        if (ranks_before(margin(e), e, margin(*worst), Index{*worst})) {
          *worst = static_cast<std::int32_t>(e);
        }
      }
      state.count[t] = count;
      if (count == 0 && !batch.training) chosen[count++] = static_cast<std::int32_t>(best);
      std::fill_n(routing.weight.row(t), count, S(1) / static_cast<S>(std::max<Index>(count, 1)));
      choose_nobody(routing, t, count);
      state.divisor[t] = scores_to_distribution(s, n);
    }
  }

  void backward(const Routing<S>& routing, MatrixView<const S> dweight, MatrixView<const S> dscores,
                MatrixView<S> dlogits, State& state) {
    detail::check_gate_backward(kWhere, routing, dweight, dscores, dlogits);
    detail::check_gate_state(kWhere, state.divisor.size(), routing.tokens());
    if (threshold.trainable) threshold.ensure_grad();
    for (Index t = 0; t < routing.tokens(); ++t) {
      const std::int32_t* chosen = routing.expert.row(t);
      const S* q = routing.scores.row(t);
      if (std::all_of(q, q + routing.num_experts(), [](S v) { return v == 0; }))
        continue;  // padding
      scores_row_backward(ScoreFunction::sigmoid, q, routing.num_experts(), state.divisor[t], 1.0,
                          dscores.row(t), chosen, dweight.row(t), Index{0}, dlogits.row(t));
      for (Index j = 0; j < state.count[t]; ++j) {
        const Index e = chosen[j];
        const double gradient =
            static_cast<double>(dweight(t, j)) / static_cast<double>(state.count[t]);
        const double s = static_cast<double>(q[e]) * state.divisor[t];
        const double bar = sigmoid(static_cast<double>(threshold.value(0, e)));
        dlogits(t, e) += static_cast<S>(gradient * s * (1 - s));
        if (threshold.trainable) {
          threshold.grad(0, e) -= static_cast<S>(gradient * bar * (1 - bar));
        }
      }
    }
  }

  /// What saving keeps besides the options: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    f(std::string_view("active"), active_, [](std::span<const std::uint8_t> active) {
      const auto on = std::count(active.begin(), active.end(), 1);
      if (on == 0 || on + std::count(active.begin(), active.end(), 0) != std::ssize(active)) {
        detail::fail(kWhere, "active has other values than 0 and 1, or no 1");
      }
    });
  }

  /// For experts that come and go: see moe/train/grow.hpp.
  static ExpertAxis expert_axis(std::string_view) { return ExpertAxis::columns; }

  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("threshold"), threshold);
  }

  Parameter<S> threshold;  ///< [1, E], before the sigmoid

 private:
  static constexpr auto* kWhere = "moe::TopAnyGate";

  std::vector<std::uint8_t> active_;
  Index top_k_ = 0;
  Options options_;
};

MOE_NAMESPACE_END
