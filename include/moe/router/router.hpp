// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What a router is: x [T, D] -> logits [T, E], how well each expert fits each token.
#pragma once

#include <string_view>

#include "moe/core/batch.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/parameter.hpp"

MOE_NAMESPACE_BEGIN

/// A policy that scores experts. `State` is memory of one call, kept in the workspace or tape
/// (NoState when nothing is needed).
///   forward:  writes logits; must not change x; a row of logits depends on its row of x alone
///   backward: adds to dx and to the parameters' gradients, given dlogits and the forward's x and
///   state
/// A router that noise, jitter or a cap may wrap also names its `Scalar` and its `Options`.
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
