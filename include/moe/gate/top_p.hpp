// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Top-p gate: as many experts as it takes to gather a share of the probability.
#pragma once

#include "moe/gate/select.hpp"

MOE_NAMESPACE_BEGIN

/// p = softmax(logits / temperature); chosen: the best experts until their p sum to more than
/// top_p, the one that crosses included; weights p, not normalised (Huang et al. 2024, "Harder
/// tasks need more experts", and its released code). Dims::top_k is not used.
class TopPGate {
 public:
  struct Options {
    double top_p = 0.4;      ///< above 0, at most 1; 1 takes every expert
    Index max_experts = 0;   ///< K, the most experts of a token; 0: all E
    double temperature = 1;  ///< above 1 flattens the scores: more experts

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("top_p", top_p);
      f("max_experts", max_experts);
      f("temperature", temperature);
    }
  };
  using State = NoState;

  TopPGate() = default;

  /// Throws std::invalid_argument unless every option is as its comment says.
  TopPGate(const Dims& dims, const Options& options)
      : top_k_(detail::check_most_experts(kWhere, dims, options.max_experts)), options_(options) {
    if (!(options.top_p > 0 && options.top_p <= 1)) {
      detail::fail(kWhere, "top_p is ", options.top_p, ", expected above 0, at most 1");
    }
    set_temperature(options.temperature);
  }

  Index top_k() const { return top_k_; }
  const Options& options() const { return options_; }

  /// What saving keeps besides the options: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    detail::visit_temperature(kWhere, options_.temperature, f);
  }

  /// For annealing. Throws std::invalid_argument unless finite and positive.
  void set_temperature(double temperature) {
    detail::check_above_zero(kWhere, "temperature", temperature);
    options_.temperature = temperature;
  }

  template <class S>
  void forward(MatrixView<const S> logits, Routing<S>& routing, const Batch& batch, State&) const {
    detail::check_gate_forward(kWhere, *this, logits, routing, batch);
    const Index n = logits.cols();
    const auto scale = static_cast<S>(1 / options_.temperature);
    for (Index t = 0; t < logits.rows(); ++t) {
      const S* p = routing.scores.row(t);
      std::int32_t* chosen = routing.expert.row(t);
      softmax_row(logits.row(t), n, scale, routing.scores.row(t));
      select_top_k(logits.row(t), n, top_k_, chosen);
      Index count = 0;
      double sum = 0;
      while (count < top_k_ && sum <= options_.top_p) {  // a NaN row keeps one expert
        routing.weight(t, count) = p[chosen[count]];
        sum += static_cast<double>(p[chosen[count++]]);
      }
      choose_nobody(routing, t, count);
    }
  }

  template <class S>
  void backward(const Routing<S>& routing, MatrixView<const S> dweight, MatrixView<const S> dscores,
                MatrixView<S> dlogits, State&) const {
    detail::check_gate_backward(kWhere, routing, dweight, dscores, dlogits);
    for (Index t = 0; t < routing.tokens(); ++t) {
      softmax_row_backward(routing.scores.row(t), routing.num_experts(), 1 / options_.temperature,
                           dscores.row(t), routing.expert.row(t), dweight.row(t), top_k_,
                           dlogits.row(t));
    }
  }

 private:
  static constexpr auto* kWhere = "moe::TopPGate";

  Index top_k_ = 0;
  Options options_;
};

MOE_NAMESPACE_END
