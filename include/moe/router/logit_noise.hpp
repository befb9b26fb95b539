// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Fixed noise on the logits of any router: logits [T, E] = Base(x) + scale * noise in training.
#pragma once

#include "moe/core/draws.hpp"
#include "moe/router/noise_record.hpp"
#include "moe/router/wrapper.hpp"

MOE_NAMESPACE_BEGIN

enum class NoiseKind : std::uint8_t {
  gaussian,  ///< N(0, 1): Tutel's gate_noise and V-MoE's noise_std, both with `per_expert`
  gumbel,    ///< top-k of logits + Gumbel samples k experts without replacement
  uniform,   ///< U(-1, 1): FastMoE's switch gate
};

/// Off in evaluation. Gaussian noise is shown to the smooth load estimator (V-MoE's load loss); for
/// the other kinds, which that estimator does not describe, the recorded stddev is 0.
template <class Base>
class LogitNoise : public RouterWrapper<Base> {
  static_assert(
      !adds_noise<Base>,
      "moe::LogitNoise: Base already adds noise to the logits, expected one such wrapper");

 public:
  using RouterWrapper<Base>::base;
  using RouterWrapper<Base>::num_experts;
  using Scalar = typename Base::Scalar;
  struct Options {
    typename Base::Options base{};
    NoiseKind kind = NoiseKind::gaussian;
    double scale = 1;
    bool per_expert = false;  ///< scale / E (Tutel, V-MoE)

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("base", base);
      f("kind", kind);
      f("scale", scale);
      f("per_expert", per_expert);
    }
  };
  struct State : Base::State {
    NoiseRecord<Scalar> noise;
    Buffer<Scalar> dclean;  ///< [T, E]
  };

  LogitNoise() = default;

  /// Throws std::invalid_argument unless scale is finite and not negative.
  LogitNoise(const Dims& dims, const Options& options, Random& random)
      : RouterWrapper<Base>(dims, options.base, random),
        kind_(options.kind),
        scale_(options.scale),
        per_expert_(options.per_expert) {
    if (!(scale_ >= 0) || !std::isfinite(scale_)) {
      detail::fail("moe::LogitNoise", "scale is ", scale_, ", expected a finite value, 0 or more");
    }
  }

  Options options() const { return {detail::options_behind(base), kind_, scale_, per_expert_}; }

  /// What the noise is multiplied by.
  double scale() const {
    return per_expert_ ? scale_ / static_cast<double>(num_experts()) : scale_;
  }

  void forward(MatrixView<const Scalar> x, MatrixView<Scalar> logits, const Batch& batch,
               State& state, ExecutorRef executor) const {
    base.forward(x, logits, batch, state, executor);
    const double factor = scale();
    const bool noisy = batch.training && factor > 0;
    const Draws draws(batch, "router.logit_noise");
    state.noise.resize(x.rows(), num_experts());
    const double stddev = noisy && kind_ == NoiseKind::gaussian ? factor : 0;
    state.noise.clean.eigen() = logits.eigen();
    state.noise.stddev.eigen().setConstant(static_cast<Scalar>(stddev));
    if (!noisy) return;
    detail::for_random_rows(executor, x.rows(), num_experts(), [&](Index t) {
      for (Index e = 0; e < num_experts(); ++e) {
        logits(t, e) += static_cast<Scalar>(factor * draw(draws, t, e));
      }
    });
  }

  /// The noise is a constant: the clean logits get dlogits and what the losses gave them.
  void backward(MatrixView<const Scalar> x, MatrixView<const Scalar> dlogits, MatrixView<Scalar> dx,
                State& state, ExecutorRef executor) {
    detail::check_router_backward("moe::LogitNoise::backward", *this, x, dlogits, dx);
    detail::check_router_state("moe::LogitNoise::backward", state.noise.clean.size(),
                               x.rows() * num_experts());
    const MatrixView<Scalar> dclean = state.dclean.resize(x.rows(), num_experts());
    dclean.eigen() = dlogits.eigen() + state.noise.dclean.eigen();
    base.backward(x, dclean, dx, state, executor);
  }

 private:
  double draw(const Draws& draws, Index t, Index e) const {
    switch (kind_) {
      case NoiseKind::gaussian:
        return draws.normal(t, e);
      case NoiseKind::gumbel:
        return draws.gumbel(t, e);
      case NoiseKind::uniform:
        return 2 * draws.uniform(t, e) - 1;
    }
    return 0;
  }

  NoiseKind kind_ = NoiseKind::gaussian;
  double scale_ = 1;
  bool per_expert_ = false;
};

MOE_NAMESPACE_END
