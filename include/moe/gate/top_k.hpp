// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Top-k gate: each token goes to the K experts with the largest softmax score.
#pragma once

#include <cmath>

#include "moe/gate/routing.hpp"
#include "moe/gate/select.hpp"

MOE_NAMESPACE_BEGIN

/// p = softmax(logits / temperature); chosen: the K largest, ties to the lowest expert index, NaN
/// last; weights: p of the chosen, divided by their sum when `renormalize` (Shazeer et al. 2017;
/// GShard, Mixtral; without renormalisation Switch, OLMoE).
class TopKGate {
 public:
  struct Options {
    /// Weights of a token sum to 1. With K = 1 the weight stays p even so: a weight that is always
    /// 1 would give the router no gradient.
    bool renormalize = true;
    double temperature = 1.0;  ///< above 1 flattens the scores, below 1 sharpens them
  };
  using State = NoState;

  TopKGate() = default;

  /// Throws std::invalid_argument unless 1 <= K <= E and temperature is finite and positive.
  TopKGate(const Dims& dims, const Options& options) : top_k_(dims.top_k), options_(options) {
    detail::check_top_k("moe::TopKGate", dims);
    set_temperature(options.temperature);
  }

  Index top_k() const { return top_k_; }
  const Options& options() const { return options_; }

  /// For annealing. Throws std::invalid_argument unless finite and positive.
  void set_temperature(double temperature) {
    if (!(temperature > 0) || !std::isfinite(temperature)) {
      detail::fail("moe::TopKGate", "temperature is ", temperature,
                   ", expected a finite value above 0");
    }
    options_.temperature = temperature;
  }

  template <class S>
  void forward(MatrixView<const S> logits, Routing<S>& routing, const Batch&, State&) const {
    const auto scale = static_cast<S>(1 / options_.temperature);
    for (Index t = 0; t < logits.rows(); ++t) {
      softmax_row(logits.row(t), logits.cols(), scale, routing.scores.row(t));
      select_top_k(logits.row(t), logits.cols(), top_k_, routing.expert.row(t));
      weigh_chosen(routing, t, renormalized());
    }
  }

  /// Through the renormalisation, then the softmax: dl = p (dp - sum_j p_j dp_j) / temperature.
  template <class S>
  void backward(const Routing<S>& routing, MatrixView<const S> dweight, MatrixView<const S> dscores,
                MatrixView<S> dlogits, State&) const {
    const auto scale = static_cast<S>(1 / options_.temperature);
    for (Index t = 0; t < routing.tokens(); ++t) {
      softmax_gate_backward(routing, t, renormalized(), scale, dweight.row(t), dscores.row(t),
                            dlogits.row(t));
    }
  }

 private:
  bool renormalized() const { return options_.renormalize && top_k_ > 1; }

  Index top_k_ = 0;
  Options options_;
};

MOE_NAMESPACE_END
