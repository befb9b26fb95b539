// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The backward of a linear map into its parameters, for every router that has one.
#pragma once

#include "moe/core/parameter.hpp"
#include "moe/kernel/linear.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// Gradient to add to, in its shape; empty when the parameter is absent or frozen.
template <class S>
MatrixView<S> trained_gradient(Parameter<S>& p) {
  if (p.empty() || !p.trainable) return {};
  p.ensure_grad();
  return p.grad;
}

/// For y = x W^T + b: dx += dy W, dW += dy^T x, db += sum dy. An empty dx is skipped.
template <class S>
void linear_backward_into(Parameter<S>& weight, Parameter<S>* bias, MatrixView<const S> x,
                          MatrixView<const S> dy, MatrixView<S> dx, LinearScratch<S>& scratch,
                          ExecutorRef executor) {
  S* dbias = bias == nullptr ? nullptr : trained_gradient(*bias).data();
  linear_backward<S>(x, weight.value, dy, dx, trained_gradient(weight), dbias, scratch, executor);
}

}  // namespace detail
MOE_NAMESPACE_END
