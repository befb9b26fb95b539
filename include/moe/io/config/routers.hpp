// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Which tensors our routers have in a file, so that it is seen to hold them before a router is made.
#pragma once

#include "moe/io/config/blueprint.hpp"

MOE_NAMESPACE_BEGIN

template <class S>
class LinearRouter;
template <class S>
class MlpRouter;
template <class S>
class CosineRouter;
template <class S>
class UniformRouter;
template <class Base>
class HashRouter;
template <class Base>
class LearnedNoise;
template <class Base>
class LogitNoise;
template <class Base>
class LogitCap;
template <class Base>
class InputJitter;

namespace detail {

/// a b for the shape of a tensor; -1, which is none, when it is too large.
inline Index times(Index a, Index b) {
  Index product = 0;
  return __builtin_mul_overflow(a, b, &product) ? -1 : product;
}

template <class S, class O>
void expect_tensors(const Section& at, Type<LinearRouter<S>>, O&) {
  at.expect("weight", {at.dims.num_experts, at.dims.model_dim});
}

template <class S, class O>
void expect_tensors(const Section& at, Type<MlpRouter<S>>, O& options) {
  const Index e = at.dims.num_experts;
  const Index hidden = options.hidden_dim == 0 ? times(8, e) : options.hidden_dim;
  at.expect("w_in", {hidden, at.dims.model_dim});
  at.expect("w_out", {e, hidden});
  if (options.residual) at.expect("w_previous", {e, e});
}

template <class S, class O>
void expect_tensors(const Section& at, Type<CosineRouter<S>>, O& options) {
  at.expect("projection", {options.projection_dim, at.dims.model_dim});
  at.expect("experts", {at.dims.num_experts, options.projection_dim});
}

template <class S, class O>
void expect_tensors(const Section&, Type<UniformRouter<S>>, O&) {}

template <class Base, class O>
void expect_tensors(const Section& at, Type<HashRouter<Base>>, O& options) {
  at.expect("table", {times(options.vocabulary, at.dims.top_k)});
  expect_tensors(at, Type<Base>(), options.base);
}

template <class Base, class O>
void expect_tensors(const Section& at, Type<LearnedNoise<Base>>, O& options) {
  at.expect("noise_weight", {at.dims.num_experts, at.dims.model_dim});
  expect_tensors(at, Type<Base>(), options.base);
}

template <class Base, class O>
void expect_tensors(const Section& at, Type<LogitNoise<Base>>, O& options) {
  expect_tensors(at, Type<Base>(), options.base);
}
template <class Base, class O>
void expect_tensors(const Section& at, Type<LogitCap<Base>>, O& options) {
  expect_tensors(at, Type<Base>(), options.base);
}
template <class Base, class O>
void expect_tensors(const Section& at, Type<InputJitter<Base>>, O& options) {
  expect_tensors(at, Type<Base>(), options.base);
}

}  // namespace detail
MOE_NAMESPACE_END
