// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Input jitter around any router: logits = Base(x * U(1 - eps, 1 + eps)) in training.
#pragma once

#include "moe/core/draws.hpp"
#include "moe/router/wrapper.hpp"

MOE_NAMESPACE_BEGIN

/// Multiplicative jitter of the router's input (Fedus et al. 2021, Switch; mesh, Megatron,
/// MegaBlocks). Every value of x has a factor of its own; only the router's copy is jittered, the
/// experts see x. Off in evaluation.
template <class Base>
class InputJitter : public RouterWrapper<Base> {
 public:
  using RouterWrapper<Base>::base;
  using RouterWrapper<Base>::num_experts;
  using Scalar = typename Base::Scalar;
  struct Options {
    typename Base::Options base{};
    double epsilon = 1e-2;

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("base", base);
      f("epsilon", epsilon);
    }
  };
  struct State : Base::State {
    bool jittered = false;
    Buffer<Scalar> factor;  ///< [T, D]
    Buffer<Scalar> input;   ///< [T, D], x * factor
    Buffer<Scalar> dinput;  ///< [T, D]
  };

  InputJitter() = default;

  /// Throws std::invalid_argument unless 0 <= epsilon < 1.
  InputJitter(const Dims& dims, const Options& options, Random& random)
      : RouterWrapper<Base>(dims, options.base, random), epsilon_(options.epsilon) {
    if (!(epsilon_ >= 0 && epsilon_ < 1)) {
      detail::fail("moe::InputJitter", "epsilon is ", epsilon_, ", expected at least 0, below 1");
    }
  }

  Options options() const { return {detail::options_behind(base), epsilon_}; }
  double epsilon() const { return epsilon_; }

  void forward(MatrixView<const Scalar> x, MatrixView<Scalar> logits, const Batch& batch,
               State& state, ExecutorRef executor) const {
    state.jittered = batch.training && epsilon_ > 0;
    if (!state.jittered) return base.forward(x, logits, batch, state, executor);
    detail::check_router_forward("moe::InputJitter::forward", *this, x, logits, batch);
    const Draws draws(batch, "router.input_jitter");
    const MatrixView<Scalar> factor = state.factor.resize(x.rows(), x.cols());
    const MatrixView<Scalar> input = state.input.resize(x.rows(), x.cols());
    detail::for_random_rows(executor, x.rows(), x.cols(), [&](Index t) {
      for (Index d = 0; d < x.cols(); ++d) {
        factor(t, d) = static_cast<Scalar>(1 + epsilon_ * (2 * draws.uniform(t, d) - 1));
        input(t, d) = x(t, d) * factor(t, d);
      }
    });
    base.forward(input, logits, batch, state, executor);
  }

  /// dx += dinput * factor, the rest is Base's.
  void backward(MatrixView<const Scalar> x, MatrixView<const Scalar> dlogits, MatrixView<Scalar> dx,
                State& state, ExecutorRef executor) {
    if (!state.jittered) return base.backward(x, dlogits, dx, state, executor);
    detail::check_router_backward("moe::InputJitter::backward", *this, x, dlogits, dx);
    detail::check_router_state("moe::InputJitter::backward", state.factor.size(), x.size());
    const MatrixView<const Scalar> input(state.input.data(), x.rows(), x.cols());
    if (dx.empty()) return base.backward(input, dlogits, dx, state, executor);
    const MatrixView<Scalar> dinput = state.dinput.resize(x.rows(), x.cols());
    state.dinput.fill(Scalar(0));
    base.backward(input, dlogits, dinput, state, executor);
    for (Index t = 0; t < x.rows(); ++t) {
      for (Index d = 0; d < x.cols(); ++d) {
        dx(t, d) += dinput(t, d) * state.factor[t * x.cols() + d];
      }
    }
  }

 private:
  double epsilon_ = 1e-2;
};

MOE_NAMESPACE_END
