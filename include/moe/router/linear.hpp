// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Linear router: logits [T, E] = x [T, D] W^T + b.
#pragma once

#include "moe/core/error.hpp"
#include "moe/core/expert_axis.hpp"
#include "moe/router/parameters.hpp"
#include "moe/router/router.hpp"

MOE_NAMESPACE_BEGIN

/// One score per expert, a learned linear map of the token (Shazeer et al. 2017; every LLM since).
template <class S>
class LinearRouter {
 public:
  using Scalar = S;
  struct Options {
    bool bias = false;       ///< adds b [E]; gpt-oss has one, most models do not
    bool zero_init = false;  ///< start at zero: all experts alike (Shazeer et al. 2017)

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("bias", bias);
      f("zero_init", zero_init);
    }
  };
  struct State {
    LinearScratch<S> scratch;
  };

  LinearRouter() = default;

  /// Uniform weights in +-1/sqrt(D), or zero. Throws std::invalid_argument unless D and E are at
  /// least 1.
  LinearRouter(const Dims& dims, const Options& options, Random& random) {
    detail::check_positive("moe::LinearRouter", "model_dim", dims.model_dim);
    detail::check_positive("moe::LinearRouter", "num_experts", dims.num_experts);
    weight = Parameter<S>(dims.num_experts, dims.model_dim);
    if (!options.zero_init) weight.init_uniform(random, dims.model_dim);
    if (options.bias) {
      bias = Parameter<S>(1, dims.num_experts);
      if (!options.zero_init) bias.init_uniform(random, dims.model_dim);
    }
  }

  /// zero_init is of the start, and past.
  Options options() const { return {.bias = !bias.empty()}; }
  Index model_dim() const { return weight.value.cols(); }
  Index num_experts() const { return weight.value.rows(); }

  /// Throws std::invalid_argument unless the bias is absent or has a value for each expert.
  void check_shapes(std::string_view function) const {
    if (!bias.empty()) {
      detail::check_shape<const S>(function, "the router's bias", bias.value, 1, num_experts());
    }
  }

  /// logits_te = sum_d x_td W_ed + b_e.
  void forward(MatrixView<const S> x, MatrixView<S> logits, const Batch& batch, State& state,
               ExecutorRef executor) const {
    detail::check_router_forward("moe::LinearRouter::forward", *this, x, logits, batch);
    linear_forward<S>(x, weight.value, bias.empty() ? nullptr : bias.value.data(), logits,
                      state.scratch, executor);
  }

  /// dx += dlogits W, dW += dlogits^T x, db += sum_t dlogits_t.
  void backward(MatrixView<const S> x, MatrixView<const S> dlogits, MatrixView<S> dx, State& state,
                ExecutorRef executor) {
    detail::check_router_backward("moe::LinearRouter::backward", *this, x, dlogits, dx);
    detail::linear_backward_into<S>(weight, &bias, x, dlogits, dx, state.scratch, executor);
  }

  /// For experts that come and go: see moe/train/grow.hpp.
  static ExpertAxis expert_axis(std::string_view name) {
    return name == "bias" ? ExpertAxis::columns : ExpertAxis::rows;
  }

  /// Adds to the logit of expert e, for every token. A router without a bias gets one of zeros first:
  /// that leaves the other logits as they are.
  void shift_logit(Index e, double by) {
    if (bias.empty()) {
      bias = Parameter<S>(1, num_experts());
      bias.trainable = weight.trainable;
    }
    bias.value(0, e) += static_cast<S>(by);
  }

  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("weight"), weight);
    if (!bias.empty()) f(std::string_view("bias"), bias);
  }

  Parameter<S> weight;  ///< [E, D]
  Parameter<S> bias;    ///< [1, E], empty without a bias
};

MOE_NAMESPACE_END
