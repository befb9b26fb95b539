// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Cosine router: logits [T, E] = scale * <h_t, w_e / |w_e|>, h [T, R] a projection of x.
#pragma once

#include <cmath>

#include "moe/core/error.hpp"
#include "moe/core/expert_axis.hpp"
#include "moe/router/normalize.hpp"
#include "moe/router/parameters.hpp"
#include "moe/router/router.hpp"

MOE_NAMESPACE_BEGIN

/// Options of CosineRouter. `tutel()`: cosine of both sides times a learned exp(temperature), held
/// at most 100 (Tutel gates/cosine_top.py). `xmoe()`: 16 dimensions, only the experts normalised,
/// no temperature, as X-MoE's code does (Chi et al. 2022, torchscale; the paper's formula is
/// tutel()'s).
struct CosineOptions {
  Index projection_dim = 256;    ///< R
  bool bias = true;              ///< of the projection
  bool normalize_tokens = true;  ///< h / |h|
  bool learned_scale = true;     ///< scale = exp(min(temperature, ln 100)), else 1
  double initial_scale = 2;      ///< exp(temperature) at the start
  double expert_norm = 0;        ///< experts start orthogonal, rows this long; 0: N(0, 0.01^2)
  double eps = 1e-12;            ///< norms count as at least this

  /// Every field by name: see moe/io/layer_config.hpp.
  template <class F>
  void visit(F&& f) {
    f("projection_dim", projection_dim);
    f("bias", bias);
    f("normalize_tokens", normalize_tokens);
    f("learned_scale", learned_scale);
    f("initial_scale", initial_scale);
    f("expert_norm", expert_norm);
    f("eps", eps);
  }

  static CosineOptions tutel() { return {}; }
  static CosineOptions xmoe() {
    return {.projection_dim = 16,
            .bias = false,
            .normalize_tokens = false,
            .learned_scale = false,
            .initial_scale = 1,
            .expert_norm = 1.5,
            .eps = 1e-4};
  }
};

/// Directions, not lengths, decide. `<h, w_e>` is bounded, so no expert wins by growing.
template <class S>
class CosineRouter {
 public:
  using Scalar = S;
  using Options = CosineOptions;
  struct State {
    Buffer<S> projected, tokens, dtokens;  ///< [T, R]
    Buffer<S> experts, dexperts;           ///< [E, R]
    Buffer<S> token_norm, expert_norm;     ///< [T], [E]
    Buffer<S> scaled;                      ///< [T, E], scale * dlogits
    LinearScratch<S> scratch;
  };
  static constexpr double kMaxScale = 100;

  CosineRouter() = default;

  /// Throws std::invalid_argument on sizes below 1, or a scale or eps that is not positive.
  CosineRouter(const Dims& dims, const Options& options, Random& random) : options_(options) {
    check(dims);
    projection = Parameter<S>(options.projection_dim, dims.model_dim);
    projection.init_uniform(random, dims.model_dim);
    if (options.bias) {
      bias = Parameter<S>(1, options.projection_dim);
      bias.init_uniform(random, dims.model_dim);
    }
    experts = Parameter<S>(dims.num_experts, options.projection_dim);
    for (Index i = 0; i < experts.value.size(); ++i) {
      experts.value.data()[i] = static_cast<S>(0.01 * random.normal());
    }
    if (options.expert_norm > 0) {
      detail::orthonormalize(experts.value);
      rescale_experts();
    }
    if (options.learned_scale) {
      temperature = Parameter<S>(1, 1);
      temperature.value(0, 0) = static_cast<S>(std::log(options.initial_scale));
    }
  }

  Index model_dim() const { return projection.value.cols(); }
  Index num_experts() const { return experts.value.rows(); }
  const Options& options() const { return options_; }

  /// Throws std::invalid_argument unless all parameters fit the projection.
  void check_shapes(std::string_view function) const {
    const Index r = projection.value.rows();
    detail::check_shape<const S>(function, "the router's experts", experts.value, num_experts(), r);
    if (!bias.empty()) {
      detail::check_shape<const S>(function, "the router's bias", bias.value, 1, r);
    }
    if (!temperature.empty()) {
      detail::check_shape<const S>(function, "the router's temperature", temperature.value, 1, 1);
    }
  }

  /// Gives every expert row the length `expert_norm`. X-MoE does this in each step: it leaves the
  /// logits as they are and keeps the experts' gradients from shrinking. Call after the optimizer.
  /// Does nothing when `expert_norm` is 0.
  void rescale_experts() {
    if (!(options_.expert_norm > 0)) return;
    const auto length = static_cast<S>(options_.expert_norm);
    for (Index e = 0; e < num_experts(); ++e) {
      const S norm = experts.value.row(e).norm();
      if (norm > 0) experts.value.row(e) *= length / norm;
    }
  }

  void forward(MatrixView<const S> x, MatrixView<S> logits, const Batch& batch, State& state,
               ExecutorRef executor) const {
    detail::check_router_forward("moe::CosineRouter::forward", *this, x, logits, batch);
    const Index t_count = x.rows(), r = projection.value.rows();
    const auto eps = static_cast<S>(options_.eps);
    MatrixView<S> tokens = state.projected.resize(t_count, r);
    linear_forward<S>(x, projection.value, bias.empty() ? nullptr : bias.value.data(), tokens,
                      state.scratch, executor);
    if (options_.normalize_tokens) {
      const MatrixView<S> unit = state.tokens.resize(t_count, r);
      detail::normalize_rows<S>(tokens, eps, unit, state.token_norm.resize(t_count).data());
      tokens = unit;
    }
    const MatrixView<S> unit_experts = state.experts.resize(num_experts(), r);
    detail::normalize_rows<S>(experts.value, eps, unit_experts,
                              state.expert_norm.resize(num_experts()).data());
    linear_forward<S>(tokens, unit_experts, nullptr, logits, state.scratch, executor);
    if (!temperature.empty()) logits.eigen() *= scale();
  }

  /// Back through the scale, the cosine, the two norms and the projection.
  void backward(MatrixView<const S> x, MatrixView<const S> dlogits, MatrixView<S> dx, State& state,
                ExecutorRef executor) {
    detail::check_router_backward("moe::CosineRouter::backward", *this, x, dlogits, dx);
    detail::check_router_state("moe::CosineRouter::backward", state.projected.size(),
                               x.rows() * projection.value.rows());
    const Index t_count = x.rows(), e_count = num_experts(), r = projection.value.rows();
    const auto eps = static_cast<S>(options_.eps);
    Buffer<S>& used = options_.normalize_tokens ? state.tokens : state.projected;
    const MatrixView<const S> tokens(used.data(), t_count, r);
    const MatrixView<const S> unit_experts(state.experts.data(), e_count, r);
    const MatrixView<S> scaled = state.scaled.resize(t_count, e_count);
    scaled.eigen() = scale() * dlogits.eigen();

    const MatrixView<S> dtokens = state.dtokens.resize(t_count, r);
    // frozen experts: no product for them
    const Index trained = experts.trainable ? e_count : 0;
    const MatrixView<S> dexperts = state.dexperts.resize(trained, r);
    dtokens.eigen().setZero();
    dexperts.eigen().setZero();
    linear_backward<S>(tokens, unit_experts, scaled, dtokens, dexperts, nullptr, state.scratch,
                       executor);
    // d logits / d temperature = logits while below the bound, so the sum is <tokens, dtokens>.
    const MatrixView<S> dtemperature = detail::trained_gradient(temperature);
    if (!dtemperature.empty() && temperature.value(0, 0) <= std::log(S(kMaxScale))) {
      for (Index i = 0; i < tokens.size(); ++i) {
        dtemperature(0, 0) += tokens.data()[i] * dtokens.data()[i];
      }
    }
    const MatrixView<S> expert_gradient = detail::trained_gradient(experts);
    if (!expert_gradient.empty()) {
      detail::normalize_rows_backward<S>(unit_experts, state.expert_norm.data(), eps, dexperts);
      expert_gradient.eigen() += dexperts.eigen();
    }
    if (options_.normalize_tokens) {
      detail::normalize_rows_backward<S>(tokens, state.token_norm.data(), eps, dtokens);
    }
    detail::linear_backward_into<S>(projection, &bias, x, dtokens, dx, state.scratch, executor);
  }

  /// For experts that come and go: see moe/train/grow.hpp.
  static ExpertAxis expert_axis(std::string_view name) {
    return name == "experts" ? ExpertAxis::rows : ExpertAxis::none;
  }

  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("projection"), projection);
    if (!bias.empty()) f(std::string_view("bias"), bias);
    f(std::string_view("experts"), experts);
    if (!temperature.empty()) f(std::string_view("temperature"), temperature);
  }

  Parameter<S> projection;   ///< [R, D]
  Parameter<S> bias;         ///< [1, R], empty without
  Parameter<S> experts;      ///< [E, R]
  Parameter<S> temperature;  ///< [1, 1], ln of the scale, empty without

 private:
  S scale() const {
    if (temperature.empty()) return 1;
    return std::exp(std::min(temperature.value(0, 0), std::log(S(kMaxScale))));
  }

  void check(const Dims& dims) const {
    constexpr auto* kWhere = "moe::CosineRouter";
    detail::check_positive(kWhere, "model_dim", dims.model_dim);
    detail::check_positive(kWhere, "num_experts", dims.num_experts);
    detail::check_positive(kWhere, "projection_dim", options_.projection_dim);
    const auto above_zero = [&](std::string_view what, double value) {
      if (!(value > 0) || !std::isfinite(value)) {
        detail::fail(kWhere, what, " is ", value, ", expected a finite value above 0");
      }
    };
    above_zero("initial_scale", options_.initial_scale);
    above_zero("eps", options_.eps);
  }

  Options options_;
};

MOE_NAMESPACE_END
