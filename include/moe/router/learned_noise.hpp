// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Learned noise on the logits of any router: logits [T, E] = Base(x) + N(0, 1) * sigma(x).
#pragma once

#include "moe/core/draws.hpp"
#include "moe/router/noise_record.hpp"
#include "moe/router/parameters.hpp"
#include "moe/router/wrapper.hpp"

MOE_NAMESPACE_BEGIN

/// sigma = softplus(x Wn^T) + floor in training, 0 in evaluation (noisy top-k gating of Shazeer et
/// al. 2017; floor 1e-2 as in tensor2tensor). Wn starts at zero, as published; so does the clean
/// map there: give LinearRouter `.zero_init`. The noise record holds the clean logits and sigma.
template <class Base>
class LearnedNoise : public RouterWrapper<Base> {
  static_assert(
      !adds_noise<Base>,
      "moe::LearnedNoise: Base already adds noise to the logits, expected one such wrapper");

 public:
  using RouterWrapper<Base>::base;
  using RouterWrapper<Base>::num_experts;
  using Scalar = typename Base::Scalar;
  using S = Scalar;
  struct Options {
    typename Base::Options base{};
    double floor = 1e-2;  ///< smallest sigma in training

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("base", base);
      f("floor", floor);
    }
  };
  struct State : Base::State {
    NoiseRecord<S> noise;
    bool noisy = false;
    Buffer<S> pre;     ///< [T, E], x Wn^T
    Buffer<S> dpre;    ///< [T, E]
    Buffer<S> normal;  ///< [T, E], what was drawn
    Buffer<S> dclean;  ///< [T, E]
    LinearScratch<S> noise_scratch;
  };

  LearnedNoise() = default;

  /// Throws std::invalid_argument unless floor is finite and not negative.
  LearnedNoise(const Dims& dims, const Options& options, Random& random)
      : RouterWrapper<Base>(dims, options.base, random),
        noise_weight(dims.num_experts, dims.model_dim),
        floor_(options.floor) {
    if (!(floor_ >= 0) || !std::isfinite(floor_)) {
      detail::fail("moe::LearnedNoise", "floor is ", floor_,
                   ", expected a finite value, 0 or more");
    }
  }

  Options options() const { return {detail::options_behind(base), floor_}; }

  /// Throws std::invalid_argument unless Base's parameters fit one another, and Wn fits Base.
  void check_shapes(std::string_view function) const {
    RouterWrapper<Base>::check_shapes(function);
    detail::check_shape<const S>(function, "the router's noise_weight", noise_weight.value,
                                 num_experts(), this->model_dim());
  }

  void forward(MatrixView<const S> x, MatrixView<S> logits, const Batch& batch, State& state,
               ExecutorRef executor) const {
    detail::check_router_forward("moe::LearnedNoise::forward", *this, x, logits, batch);
    base.forward(x, logits, batch, state, executor);
    state.noise.resize(x.rows(), num_experts());
    state.noise.clean.eigen() = logits.eigen();
    state.noise.stddev.eigen().setZero();
    state.noisy = batch.training;
    if (!state.noisy) return;

    const MatrixView<S> pre = state.pre.resize(x.rows(), num_experts());
    linear_forward<S>(x, noise_weight.value, nullptr, pre, state.noise_scratch, executor);
    const MatrixView<S> normal = state.normal.resize(x.rows(), num_experts());
    const Draws draws(batch, "router.learned_noise");
    detail::for_random_rows(executor, x.rows(), num_experts(), [&](Index t) {
      for (Index e = 0; e < num_experts(); ++e) {
        normal(t, e) = static_cast<S>(draws.normal(t, e));
        state.noise.stddev(t, e) = softplus(pre(t, e)) + static_cast<S>(floor_);
        logits(t, e) += normal(t, e) * state.noise.stddev(t, e);
      }
    });
  }

  /// dclean = dlogits + noise.dclean; dsigma = dlogits * normal + noise.dstddev; softplus' =
  /// sigmoid.
  void backward(MatrixView<const S> x, MatrixView<const S> dlogits, MatrixView<S> dx, State& state,
                ExecutorRef executor) {
    detail::check_router_backward("moe::LearnedNoise::backward", *this, x, dlogits, dx);
    detail::check_router_state("moe::LearnedNoise::backward", state.noise.clean.size(),
                               x.rows() * num_experts());
    const MatrixView<S> dclean = state.dclean.resize(x.rows(), num_experts());
    dclean.eigen() = dlogits.eigen() + state.noise.dclean.eigen();
    base.backward(x, dclean, dx, state, executor);
    if (!state.noisy) return;

    const MatrixView<S> dpre = state.dpre.resize(x.rows(), num_experts());
    for (Index t = 0; t < x.rows(); ++t) {
      for (Index e = 0; e < num_experts(); ++e) {
        const Index i = t * num_experts() + e;
        const S dsigma = dlogits(t, e) * state.normal[i] + state.noise.dstddev(t, e);
        dpre(t, e) = dsigma / (1 + std::exp(-state.pre[i]));
      }
    }
    detail::linear_backward_into<S>(noise_weight, nullptr, x, dpre, dx, state.noise_scratch,
                                    executor);
  }

  static ExpertAxis expert_axis(std::string_view name) requires requires {
    Base::expert_axis(name);
  }
  { return name == "noise_weight" ? ExpertAxis::rows : Base::expert_axis(name); }

  template <class F>
  void visit_parameters(F&& f) {
    RouterWrapper<Base>::visit_parameters(f);
    f(std::string_view("noise_weight"), noise_weight);
  }

  Parameter<S> noise_weight;  ///< Wn, [E, D]

 private:
  /// log(1 + e^v) without overflow.
  static S softplus(S v) { return std::max(v, S(0)) + std::log1p(std::exp(-std::abs(v))); }

  double floor_ = 1e-2;
};

MOE_NAMESPACE_END
