// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What a router is: x [T, D] -> logits [T, E], how well each expert fits each token.
#pragma once

#include <string_view>

#include "moe/core/batch.hpp"
#include "moe/core/error.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameter.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Do the parameters of a router, which are public, fit one another? Throws std::invalid_argument.
template <class R>
void check_router_shapes(std::string_view function, const R& router) {
  if constexpr (requires { router.check_shapes(function); }) router.check_shapes(function);
}

/// What every router's forward asks first, before it writes: x [T, D], logits [T, E], a mask of T,
/// parameters that fit. Throws std::invalid_argument.
template <class R, class S>
void check_router_forward(std::string_view function, const R& router, MatrixView<const S> x,
                          MatrixView<S> logits, const Batch& batch) {
  check_router_shapes(function, router);
  check_size(function, "x", x.cols(), "columns", "the router's model_dim", router.model_dim());
  check_shape(function, "logits", logits, x.rows(), router.num_experts());
  if (!batch.mask.empty()) {
    check_size(function, "mask", std::ssize(batch.mask), "values", "the number of tokens",
               x.rows());
  }
}

/// And its backward; an empty dx is allowed and skipped.
template <class R, class S>
void check_router_backward(std::string_view function, const R& router, MatrixView<const S> x,
                           MatrixView<const S> dlogits, MatrixView<S> dx) {
  check_router_shapes(function, router);
  check_size(function, "x", x.cols(), "columns", "the router's model_dim", router.model_dim());
  check_shape(function, "dlogits", dlogits, x.rows(), router.num_experts());
  if (!dx.empty()) check_shape(function, "dx", dx, x.rows(), router.model_dim());
}

/// The state must have the size that the forward of this x gave it.
inline void check_router_state(std::string_view function, Index size, Index expected) {
  check_size(function, "the state", size, "values", "their number after the forward of x",
             expected);
}

}  // namespace detail

/// A policy that scores experts. `State` is memory of one call, kept in the workspace or tape
/// (NoState when nothing is needed).
///   forward:  writes logits; must not change x; a row of logits depends on its row of x alone
///   backward: adds to dx and to the parameters' gradients, given dlogits and the forward's x and
///   state
/// A router that noise, jitter or a cap may wrap also names its `Scalar` and its `Options`. One with
/// several parameters has check_shapes(function) const, which throws unless they fit one another.
template <class R, class S>
concept Router = requires(const R& router, R& trained, MatrixView<const S> in, MatrixView<S> out,
                          const Batch& batch, typename R::State& state, ExecutorRef executor) {
  { router.model_dim() } -> std::convertible_to<Index>;
  { router.num_experts() } -> std::convertible_to<Index>;
  router.forward(in, out, batch, state, executor);
  trained.backward(in, in, out, state, executor);
}
&&HasParameters<R, S>;

MOE_NAMESPACE_END
