// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Uniform router: logits [T, E] = 0. No parameters; what a hash table or noise chooses among.
#pragma once

#include "moe/core/error.hpp"
#include "moe/router/router.hpp"

MOE_NAMESPACE_BEGIN

/// All experts alike for every token. HashRouter<UniformRouter> is a hash layer without a gate,
/// LogitNoise<UniformRouter> with Gumbel noise routes at random.
template <class S>
class UniformRouter {
 public:
  using Scalar = S;
  using Options = NoOptions;
  using State = NoState;

  UniformRouter() = default;

  /// Throws std::invalid_argument unless D and E are at least 1.
  UniformRouter(const Dims& dims, const Options&, Random&) : dims_(dims) {
    detail::check_positive("moe::UniformRouter", "model_dim", dims.model_dim);
    detail::check_positive("moe::UniformRouter", "num_experts", dims.num_experts);
  }

  Index model_dim() const { return dims_.model_dim; }
  Index num_experts() const { return dims_.num_experts; }

  void forward(MatrixView<const S> x, MatrixView<S> logits, const Batch& batch, State&,
               ExecutorRef) const {
    detail::check_router_forward("moe::UniformRouter::forward", *this, x, logits, batch);
    logits.eigen().setZero();
  }
  void backward(MatrixView<const S> x, MatrixView<const S> dlogits, MatrixView<S> dx, State&,
                ExecutorRef) {
    detail::check_router_backward("moe::UniformRouter::backward", *this, x, dlogits, dx);
  }

  template <class F>
  void visit_parameters(F&&) {}

 private:
  Dims dims_;
};

MOE_NAMESPACE_END
