// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Min-p gate: top-k without the experts that are far behind a token's best one.
#pragma once

#include "moe/gate/select.hpp"

MOE_NAMESPACE_BEGIN

/// p = softmax(logits / temperature); chosen: of the K best experts those with p >= min_p * the
/// largest p, and always the best min_experts; weights p, divided by their sum when renormalised.
/// A sure token then costs little (ik_llama.cpp's "smart expert reduction", -ser min_experts,min_p,
/// for models trained with top-k). Routing::scores is p.
class MinPGate {
 public:
  struct Options {
    double min_p = 0.2;     ///< 0 to 1: 0 is top-k, 1 keeps ties of the best alone
    Index min_experts = 1;  ///< 1 to K
    bool renormalize = true;
    double temperature = 1;

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("min_p", min_p);
      f("min_experts", min_experts);
      f("renormalize", renormalize);
      f("temperature", temperature);
    }
  };
  using State = NoState;

  MinPGate() = default;

  /// Throws std::invalid_argument unless 1 <= K <= E and every option is as its comment says.
  MinPGate(const Dims& dims, const Options& options) : top_k_(dims.top_k), options_(options) {
    detail::check_top_k(kWhere, dims);
    if (!(options.min_p >= 0 && options.min_p <= 1)) {
      detail::fail(kWhere, "min_p is ", options.min_p, ", expected 0 to 1");
    }
    if (options.min_experts < 1 || options.min_experts > top_k_) {
      detail::fail(kWhere, "min_experts is ", options.min_experts,
                   ", expected 1 to top_k = ", top_k_);
    }
    detail::check_above_zero(kWhere, "temperature", options.temperature);
  }

  Index top_k() const { return top_k_; }
  const Options& options() const { return options_; }

  template <class S>
  void forward(MatrixView<const S> logits, Routing<S>& routing, const Batch& batch, State&) const {
    detail::check_gate_forward(kWhere, *this, logits, routing, batch);
    for (Index t = 0; t < logits.rows(); ++t) {
      const S* p = routing.scores.row(t);
      std::int32_t* chosen = routing.expert.row(t);
      softmax_row(logits.row(t), logits.cols(), static_cast<S>(1 / options_.temperature),
                  routing.scores.row(t));
      select_top_k(logits.row(t), logits.cols(), top_k_, chosen);
      const double least = options_.min_p * static_cast<double>(p[chosen[0]]);
      Index count = options_.min_experts;
      while (count < top_k_ && static_cast<double>(p[chosen[count]]) >= least) ++count;
      double sum = options_.renormalize ? 0 : 1;
      for (Index j = 0; options_.renormalize && j < count; ++j) {
        sum += static_cast<double>(p[chosen[j]]);
      }
      for (Index j = 0; j < count; ++j) {
        routing.weight(t, j) = static_cast<S>(static_cast<double>(p[chosen[j]]) / sum);
      }
      choose_nobody(routing, t, count);
    }
  }

  /// With s the sum of the chosen p: dp_j = (dw_j - sum_i w_i dw_i) / s, or dw_j; then the softmax.
  template <class S>
  void backward(const Routing<S>& routing, MatrixView<const S> dweight, MatrixView<const S> dscores,
                MatrixView<S> dlogits, State&) const {
    detail::check_gate_backward(kWhere, routing, dweight, dscores, dlogits);
    for (Index t = 0; t < routing.tokens(); ++t) {
      double sum = 0, along = 0;
      for (Index j = 0; j < top_k_ && routing.expert(t, j) != kNoExpert; ++j) {
        sum += static_cast<double>(routing.scores(t, routing.expert(t, j)));
        along += static_cast<double>(routing.weight(t, j)) * static_cast<double>(dweight(t, j));
      }
      softmax_row_backward(routing.scores.row(t), routing.num_experts(), 1 / options_.temperature,
                           dscores.row(t), routing.expert.row(t), dweight.row(t),
                           options_.renormalize ? Index{0} : top_k_, dlogits.row(t));
      for (Index j = 0; options_.renormalize && sum > 0 && j < top_k_; ++j) {
        const std::int32_t e = routing.expert(t, j);
        if (e == kNoExpert) break;
        // softmax and normalisation together: w_j (dw_j - along), the sum over all p is zero
        const double w = static_cast<double>(routing.weight(t, j));
        dlogits(t, e) +=
            static_cast<S>(w * (static_cast<double>(dweight(t, j)) - along) / options_.temperature);
      }
    }
  }

 private:
  static constexpr auto* kWhere = "moe::MinPGate";

  Index top_k_ = 0;
  Options options_;
};

MOE_NAMESPACE_END
