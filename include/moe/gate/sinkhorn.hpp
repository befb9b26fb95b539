// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Sinkhorn gate: in training the choice is taken from a balanced transport plan of the batch.
#pragma once

#include "moe/gate/select.hpp"

MOE_NAMESPACE_BEGIN

/// Training: the K largest per token of d0_t exp(l_te) d1_e, where
///   d0_t = 1 / (T (sum_e d1_e exp(l_te) + 1e-8)),  d1_e = 1 / (E (sum_t d0_t exp(l_te) + 1e-8))
/// alternate until the mean change of d1 is at most the tolerance; padding takes no part.
/// Evaluation: the K largest logits. Weights: softmax of the plain logits, sigmoid when K = 1; not
/// normalised, no gradient through the plan (Clark et al. 2022, "Unified scaling laws for routed
/// language models", S-BASE; Megatron-LM). In training a token's choice depends on the whole call.
/// Routing::scores is the softmax, or sigmoid / sum.
class SinkhornGate {
 public:
  struct Options {
    double tolerance = 1e-4;
    Index max_iterations = 1000;  ///< the plan is used as it is then

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("tolerance", tolerance);
      f("max_iterations", max_iterations);
    }
  };
  struct State {
    Buffer<double> plan;     ///< [T, E]
    Buffer<double> scale;    ///< d0 [T], d1 [E]
    Buffer<double> divisor;  ///< [T] of scores_to_distribution
  };

  SinkhornGate() = default;

  /// Throws std::invalid_argument unless 1 <= K <= E, tolerance is finite and positive, and
  /// max_iterations is at least 1.
  SinkhornGate(const Dims& dims, const Options& options) : top_k_(dims.top_k), options_(options) {
    detail::check_top_k(kWhere, dims);
    detail::check_above_zero(kWhere, "tolerance", options.tolerance);
    detail::check_positive(kWhere, "max_iterations", options.max_iterations);
  }

  Index top_k() const { return top_k_; }
  const Options& options() const { return options_; }

  template <class S>
  void forward(MatrixView<const S> logits, Routing<S>& routing, const Batch& batch,
               State& state) const {
    detail::check_gate_forward(kWhere, *this, logits, routing, batch);
    const Index n = logits.cols();
    if (batch.training) balance(logits, batch, state);
    state.divisor.resize(logits.rows());
    for (Index t = 0; t < logits.rows(); ++t) {
      if (batch.training && can_be_balanced(logits, batch, t)) {
        select_top_k(state.plan.data() + t * n, n, top_k_, routing.expert.row(t));
      } else {
        select_top_k(logits.row(t), n, top_k_, routing.expert.row(t));
      }
      score_row(function(), logits.row(t), n, S(1), routing.scores.row(t));
      for (Index j = 0; j < top_k_; ++j) {
        routing.weight(t, j) = routing.scores(t, routing.expert(t, j));
      }
      if (top_k_ == 1) state.divisor[t] = scores_to_distribution(routing.scores.row(t), n);
    }
  }

  template <class S>
  void backward(const Routing<S>& routing, MatrixView<const S> dweight, MatrixView<const S> dscores,
                MatrixView<S> dlogits, State& state) const {
    detail::check_gate_backward(kWhere, routing, dweight, dscores, dlogits);
    if (top_k_ == 1) detail::check_gate_state(kWhere, state.divisor.size(), routing.tokens());
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (routing.expert(t, 0) == kNoExpert) continue;  // padding
      if (top_k_ == 1) {
        scores_row_backward(function(), routing.scores.row(t), routing.num_experts(),
                            state.divisor[t], 1.0, dscores.row(t), routing.expert.row(t),
                            dweight.row(t), top_k_, dlogits.row(t));
      } else {
        softmax_row_backward(routing.scores.row(t), routing.num_experts(), 1.0, dscores.row(t),
                             routing.expert.row(t), dweight.row(t), top_k_, dlogits.row(t));
      }
    }
  }

 private:
  static constexpr auto* kWhere = "moe::SinkhornGate";

  ScoreFunction function() const {
    return top_k_ == 1 ? ScoreFunction::sigmoid : ScoreFunction::softmax;
  }

  template <class S>
  void balance(MatrixView<const S> logits, const Batch& batch, State& state) const {
    constexpr double kEpsilon = 1e-8;
    const Index n = logits.cols(), rows = logits.rows();
    const MatrixView<double> plan = state.plan.resize(rows, n);
    double* d0 = state.scale.resize(rows + 2 * n).data();
    double* d1 = d0 + rows;
    double* sum = d1 + n;
    Index real = 0;
    for (Index t = 0; t < rows; ++t) {  // a row of zeros takes no part
      const bool takes_part = can_be_balanced(logits, batch, t);
      real += takes_part ? 1 : 0;
      for (Index e = 0; e < n; ++e) {
        // beyond e^600 only the order counts; the sums stay finite
        const double l = std::min(static_cast<double>(logits(t, e)), 600.0);
        plan(t, e) = takes_part ? std::exp(l) : 0.0;
      }
    }
    if (real == 0) return;
    std::fill_n(d1, n, 1.0);
    for (Index i = 0; i < options_.max_iterations; ++i) {
      std::fill_n(sum, n, 0.0);
      for (Index t = 0; t < rows; ++t) {
        double row = 0;
        for (Index e = 0; e < n; ++e) row += d1[e] * plan(t, e);
        d0[t] = 1 / (static_cast<double>(real) * (row + kEpsilon));
        for (Index e = 0; e < n; ++e) sum[e] += d0[t] * plan(t, e);
      }
      double change = 0;
      for (Index e = 0; e < n; ++e) {
        const double next = 1 / (static_cast<double>(n) * (sum[e] + kEpsilon));
        change += std::abs(d1[e] - next);
        d1[e] = next;
      }
      if (change <= options_.tolerance * static_cast<double>(n)) break;
    }
    for (Index t = 0; t < rows; ++t) {
      for (Index e = 0; e < n; ++e) plan(t, e) *= d1[e] * d0[t];
    }
  }

  Index top_k_ = 0;
  Options options_;
};

MOE_NAMESPACE_END
