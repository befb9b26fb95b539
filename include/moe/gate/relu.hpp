// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// ReLU gate: an expert is used by every token whose logit for it is positive.
#pragma once

#include "moe/gate/select.hpp"

MOE_NAMESPACE_BEGIN

/// w_e = s_e = max(logit_e, 0), used where w_e > 0, not normalised (Wang et al. 2024, "ReMoE").
/// Differentiable everywhere but at 0; how many experts a token uses is held at Dims::top_k on
/// average by an L1 loss on the scores and its controller, not here. NaN counts as positive, so
/// that it is seen. Routing::scores are the weights, not a distribution.
class ReluGate {
 public:
  struct Options {
    Index max_experts = 0;  ///< K, the most experts of a token; 0: all E, as published

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("max_experts", max_experts);
    }
  };
  using State = NoState;

  ReluGate() = default;

  /// Throws std::invalid_argument unless 1 <= top_k <= E and 0 <= max_experts <= E.
  ReluGate(const Dims& dims, const Options& options)
      : top_k_(detail::check_most_experts(kWhere, dims, options.max_experts)), options_(options) {}

  Index top_k() const { return top_k_; }
  const Options& options() const { return options_; }

  template <class S>
  void forward(MatrixView<const S> logits, Routing<S>& routing, const Batch& batch, State&) const {
    detail::check_gate_forward(kWhere, *this, logits, routing, batch);
    const Index n = logits.cols();
    for (Index t = 0; t < logits.rows(); ++t) {
      for (Index e = 0; e < n; ++e) routing.scores(t, e) = logits(t, e) <= 0 ? S(0) : logits(t, e);
      std::int32_t* chosen = routing.expert.row(t);
      if (top_k_ == n) {
        std::iota(chosen, chosen + n, 0);
      } else {
        select_top_k(logits.row(t), n, top_k_, chosen);
      }
      Index count = 0;
      for (Index j = 0; j < top_k_; ++j) {
        if (routing.scores(t, chosen[j]) == 0) continue;
        chosen[count] = chosen[j];
        routing.weight(t, count++) = routing.scores(t, chosen[j]);
      }
      choose_nobody(routing, t, count);
    }
  }

  /// dl_e = dw_e + ds_e where the expert is used.
  template <class S>
  void backward(const Routing<S>& routing, MatrixView<const S> dweight, MatrixView<const S> dscores,
                MatrixView<S> dlogits, State&) const {
    detail::check_gate_backward(kWhere, routing, dweight, dscores, dlogits);
    for (Index t = 0; t < routing.tokens(); ++t) {
      for (Index e = 0; e < routing.num_experts(); ++e) {
        if (routing.scores(t, e) != 0) dlogits(t, e) += dscores(t, e);
      }
      for (Index j = 0; j < top_k_ && routing.expert(t, j) != kNoExpert; ++j) {
        dlogits(t, routing.expert(t, j)) += dweight(t, j);
      }
    }
  }

 private:
  static constexpr auto* kWhere = "moe::ReluGate";

  Index top_k_ = 0;
  Options options_;
};

MOE_NAMESPACE_END
