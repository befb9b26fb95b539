// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Two-layer router: logits [T, E] = tanh(x W1^T) W2^T + previous logits M^T.
#pragma once

#include <cmath>
#include <utility>

#include "moe/core/error.hpp"
#include "moe/core/expert_axis.hpp"
#include "moe/router/parameters.hpp"
#include "moe/router/router.hpp"

MOE_NAMESPACE_BEGIN

/// The router of MoE++ (Jin et al. 2024): W1 [M, D] with M = 8 E, no biases, and with `residual` a
/// map of the logits of the MoE layer before. To chain two layers (the first one has none):
///   second.router_state.previous_logits = {first.logits.data(), T, E};    // before second's
///   forward second_layer.backward(...);           // then, before the first layer's backward:
///   first.dlogits[i] += second.router_state.dprevious[i];                 // for each of T * E
template <class S>
class MlpRouter {
 public:
  using Scalar = S;
  struct Options {
    Index hidden_dim = 0;   ///< 0: 8 * num_experts
    bool residual = false;  ///< has the map M [E, E] of the previous layer's logits

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("hidden_dim", hidden_dim);
      f("residual", residual);
    }
  };
  struct State {
    MatrixView<const S> previous_logits;  ///< [T, E]; set before each forward that shall use it
    Buffer<S> dprevious;                  ///< [T, E], written by backward
    Buffer<S> hidden;                     ///< [T, M], after tanh
    Buffer<S> dhidden;
    Buffer<S> previous;  ///< [T, E], a copy; padding rows are zero
    Buffer<S> mapped;    ///< [T, E]
    bool has_previous = false;
    LinearScratch<S> scratch;
  };

  MlpRouter() = default;

  /// Uniform weights in +-1/sqrt(fan-in). Throws std::invalid_argument on sizes below 1.
  MlpRouter(const Dims& dims, const Options& options, Random& random) {
    constexpr auto* kWhere = "moe::MlpRouter";
    detail::check_positive(kWhere, "model_dim", dims.model_dim);
    detail::check_positive(kWhere, "num_experts", dims.num_experts);
    const Index e = dims.num_experts;
    const Index hidden = options.hidden_dim == 0 ? 8 * e : options.hidden_dim;
    detail::check_positive(kWhere, "hidden_dim", hidden);
    w_in = Parameter<S>(hidden, dims.model_dim);
    w_in.init_uniform(random, dims.model_dim);
    w_out = Parameter<S>(e, hidden);
    w_out.init_uniform(random, hidden);
    if (!options.residual) return;
    w_previous = Parameter<S>(e, e);
    w_previous.init_uniform(random, e);
  }

  Options options() const { return {w_in.value.rows(), !w_previous.empty()}; }
  Index model_dim() const { return w_in.value.cols(); }
  Index num_experts() const { return w_out.value.rows(); }

  /// Throws std::invalid_argument unless w_out takes what w_in gives, and w_previous is [E, E].
  void check_shapes(std::string_view function) const {
    const Index e = num_experts();
    detail::check_shape<const S>(function, "the router's w_out", w_out.value, e, w_in.value.rows());
    if (!w_previous.empty()) {
      detail::check_shape<const S>(function, "the router's w_previous", w_previous.value, e, e);
    }
  }

  /// Takes state.previous_logits and clears it. Throws std::invalid_argument when that is not
  /// [T, E] or the router has no map for it.
  void forward(MatrixView<const S> x, MatrixView<S> logits, const Batch& batch, State& state,
               ExecutorRef executor) const {
    detail::check_router_forward("moe::MlpRouter::forward", *this, x, logits, batch);
    take_previous(x.rows(), batch, state);
    const MatrixView<S> hidden = state.hidden.resize(x.rows(), w_in.value.rows());
    linear_forward<S>(x, w_in.value, nullptr, hidden, state.scratch, executor);
    for (Index i = 0; i < hidden.size(); ++i) hidden.data()[i] = std::tanh(hidden.data()[i]);
    linear_forward<S>(hidden, w_out.value, nullptr, logits, state.scratch, executor);
    if (!state.has_previous) return;
    const MatrixView<S> mapped = state.mapped.resize(x.rows(), num_experts());
    linear_forward<S>(previous(x.rows(), state), w_previous.value, nullptr, mapped, state.scratch,
                      executor);
    logits.eigen() += mapped.eigen();
  }

  /// tanh' = 1 - tanh^2. Writes state.dprevious = dlogits M when the forward had previous logits.
  void backward(MatrixView<const S> x, MatrixView<const S> dlogits, MatrixView<S> dx, State& state,
                ExecutorRef executor) {
    detail::check_router_backward("moe::MlpRouter::backward", *this, x, dlogits, dx);
    detail::check_router_state("moe::MlpRouter::backward", state.hidden.size(),
                               x.rows() * w_in.value.rows());
    const Index t_count = x.rows(), m = w_in.value.rows();
    const MatrixView<const S> hidden(state.hidden.data(), t_count, m);
    const MatrixView<S> dhidden = state.dhidden.resize(t_count, m);
    dhidden.eigen().setZero();
    detail::linear_backward_into<S>(w_out, nullptr, hidden, dlogits, dhidden, state.scratch,
                                    executor);
    dhidden.eigen().array() *= S(1) - hidden.eigen().array().square();
    detail::linear_backward_into<S>(w_in, nullptr, x, dhidden, dx, state.scratch, executor);
    if (!state.has_previous) return;
    const MatrixView<S> dprevious = state.dprevious.resize(t_count, num_experts());
    dprevious.eigen().setZero();
    detail::linear_backward_into<S>(w_previous, nullptr, previous(t_count, state), dlogits,
                                    dprevious, state.scratch, executor);
  }

  /// For experts that come and go: see moe/train/grow.hpp.
  static ExpertAxis expert_axis(std::string_view name) {
    return name == "w_out" ? ExpertAxis::rows : ExpertAxis::none;
  }
  /// Throws std::invalid_argument with a map of another layer's logits: that layer has as many.
  void check_growth(std::string_view function) const {
    if (!w_previous.empty()) {
      detail::fail(function, "the router maps the logits of the layer before, [", num_experts(),
                   ", ", num_experts(), "], expected MlpRouter without Options::residual");
    }
  }

  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("w_in"), w_in);
    f(std::string_view("w_out"), w_out);
    if (!w_previous.empty()) f(std::string_view("w_previous"), w_previous);
  }

  Parameter<S> w_in;        ///< W1 [M, D]
  Parameter<S> w_out;       ///< W2 [E, M]
  Parameter<S> w_previous;  ///< M [E, E], empty without residual

 private:
  void take_previous(Index t_count, const Batch& batch, State& state) const {
    const MatrixView<const S> given = std::exchange(state.previous_logits, {});
    state.has_previous = given.data() != nullptr;
    if (!state.has_previous) return;
    constexpr auto* kWhere = "moe::MlpRouter::forward";
    if (w_previous.empty()) {
      detail::fail(kWhere, "previous logits are given, expected none without Options::residual");
    }
    detail::check_shape(kWhere, "previous_logits", given, t_count, num_experts());
    const MatrixView<S> copy = state.previous.resize(t_count, num_experts());
    for (Index t = 0; t < t_count; ++t) {
      for (Index e = 0; e < num_experts(); ++e) {
        copy(t, e) = batch.is_padding(t) ? S(0) : given(t, e);
      }
    }
  }

  MatrixView<const S> previous(Index t_count, const State& state) const {
    return {state.previous.data(), t_count, num_experts()};
  }
};

MOE_NAMESPACE_END
