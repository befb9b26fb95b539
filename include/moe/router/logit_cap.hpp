// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Tanh cap on the logits of any router: logits [T, E] = cap * tanh(Base(x) / cap).
#pragma once

#include <cmath>

#include "moe/router/wrapper.hpp"

MOE_NAMESPACE_BEGIN

/// Keeps every logit inside (-cap, cap); nearly the identity for small ones (praxis
/// gating_logit_cap, GLaM). Noise goes outside: LearnedNoise<LogitCap<...>>.
template <class Base>
class LogitCap : public RouterWrapper<Base> {
  static_assert(
      !adds_noise<Base>,
      "moe::LogitCap: Base adds noise to the logits, expected the noise around the cap, as in "
      "moe::LearnedNoise<moe::LogitCap<...>>");

  static_assert(
      !requires(const Base& b) { b.table(); },
      "moe::LogitCap: Base masks experts by logits of -inf, which a cap would undo, expected the "
      "cap "
      "inside, as in moe::HashRouter<moe::LogitCap<...>>");

 public:
  using RouterWrapper<Base>::base;
  using RouterWrapper<Base>::num_experts;
  using Scalar = typename Base::Scalar;
  struct Options {
    typename Base::Options base{};
    double cap = 30;

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("base", base);
      f("cap", cap);
    }
  };
  struct State : Base::State {
    Buffer<Scalar> slope;      ///< [T, E], 1 - tanh^2; empty after an evaluation
    Buffer<Scalar> duncapped;  ///< [T, E]
  };

  LogitCap() = default;

  /// Throws std::invalid_argument unless cap is finite and positive.
  LogitCap(const Dims& dims, const Options& options, Random& random)
      : RouterWrapper<Base>(dims, options.base, random), cap_(options.cap) {
    if (!(cap_ > 0) || !std::isfinite(cap_)) {
      detail::fail("moe::LogitCap", "cap is ", cap_, ", expected a finite value above 0");
    }
  }

  Options options() const { return {detail::options_behind(base), cap_}; }
  double cap() const { return cap_; }

  /// No logit can be shifted for good, or below -cap.
  void shift_logit(Index, double) = delete;

  void forward(MatrixView<const Scalar> x, MatrixView<Scalar> logits, const Batch& batch,
               State& state, ExecutorRef executor) const {
    base.forward(x, logits, batch, state, executor);
    const auto cap = static_cast<Scalar>(cap_);
    const Index slopes = batch.training ? x.rows() * num_experts() : 0;
    Scalar* slope = state.slope.resize(slopes).data();
    for (Index t = 0; t < x.rows(); ++t) {
      for (Index e = 0; e < num_experts(); ++e) {
        const Scalar squashed = std::tanh(logits(t, e) / cap);
        if (slopes > 0) *slope++ = 1 - squashed * squashed;
        logits(t, e) = cap * squashed;
      }
    }
  }

  /// Throws std::invalid_argument unless the forward had Batch::training: an evaluation keeps no
  /// slopes.
  void backward(MatrixView<const Scalar> x, MatrixView<const Scalar> dlogits, MatrixView<Scalar> dx,
                State& state, ExecutorRef executor) {
    detail::check_router_backward("moe::LogitCap::backward", *this, x, dlogits, dx);
    detail::check_router_state("moe::LogitCap::backward", state.slope.size(),
                               x.rows() * num_experts());
    const MatrixView<Scalar> duncapped = state.duncapped.resize(x.rows(), num_experts());
    for (Index t = 0; t < x.rows(); ++t) {
      for (Index e = 0; e < num_experts(); ++e) {
        duncapped(t, e) = dlogits(t, e) * state.slope[t * num_experts() + e];
      }
    }
    base.backward(x, duncapped, dx, state, executor);
  }

 private:
  double cap_ = 30;
};

MOE_NAMESPACE_END
