// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Dense gate: every token goes to every expert.
#pragma once

#include "moe/gate/select.hpp"

MOE_NAMESPACE_BEGIN

/// w_e = softmax(logits / temperature)_e for all E experts (Jacobs et al. 1991, "Adaptive mixtures
/// of local experts"). K = E whatever Dims::top_k says.
class DenseGate {
 public:
  struct Options {
    double temperature = 1;  ///< above 1 flattens the weights

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("temperature", temperature);
    }
  };
  using State = NoState;

  DenseGate() = default;

  /// Throws std::invalid_argument unless E is at least 1 and temperature finite and positive.
  DenseGate(const Dims& dims, const Options& options)
      : num_experts_(dims.num_experts), options_(options) {
    detail::check_positive(kWhere, "num_experts", dims.num_experts);
    set_temperature(options.temperature);
  }

  Index top_k() const { return num_experts_; }
  Index num_experts() const { return num_experts_; }
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
    const auto scale = static_cast<S>(1 / options_.temperature);
    for (Index t = 0; t < logits.rows(); ++t) {
      softmax_row(logits.row(t), num_experts_, scale, routing.scores.row(t));
      std::iota(routing.expert.row(t), routing.expert.row(t) + num_experts_, 0);
      std::copy_n(routing.scores.row(t), num_experts_, routing.weight.row(t));
    }
  }

  template <class S>
  void backward(const Routing<S>& routing, MatrixView<const S> dweight, MatrixView<const S> dscores,
                MatrixView<S> dlogits, State&) const {
    detail::check_gate_backward(kWhere, routing, dweight, dscores, dlogits);
    for (Index t = 0; t < routing.tokens(); ++t) {
      softmax_row_backward(routing.scores.row(t), num_experts_, 1 / options_.temperature,
                           dscores.row(t), routing.expert.row(t), dweight.row(t), num_experts_,
                           dlogits.row(t));
    }
  }

 private:
  static constexpr auto* kWhere = "moe::DenseGate";

  Index num_experts_ = 0;
  Options options_;
};

MOE_NAMESPACE_END
