// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A trainable matrix with its gradient, and how optimizers and checkpoints reach all of them.
#pragma once

#include <cmath>
#include <string>
#include <string_view>

#include "moe/core/random.hpp"
#include "moe/core/types.hpp"

MOE_NAMESPACE_BEGIN

/// Value and gradient of one weight. The gradient is empty until training first needs it, so a
/// layer used for inference holds its weights only. An optional weight that is absent (a bias that
/// is switched off) has an empty value and is not visited.
template <class S>
struct Parameter {
  Matrix<S> value;
  Matrix<S> grad;
  bool trainable = true;

  Parameter() = default;
  Parameter(Index rows, Index cols) : value(Matrix<S>::Zero(rows, cols)) {}

  bool empty() const { return value.size() == 0; }

  /// Gives the gradient its shape, zero, if it has none yet.
  void ensure_grad() {
    if (grad.rows() != value.rows() || grad.cols() != value.cols()) {
      grad.setZero(value.rows(), value.cols());
    }
  }

  /// Uniform in +-1/sqrt(fan_in), the default of the usual Linear layer.
  void init_uniform(Random& random, Index fan_in) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
    for (Index i = 0; i < value.size(); ++i) {
      value.data()[i] = static_cast<S>(random.uniform(-bound, bound));
    }
  }
};

/// Anything whose parameters can be visited: calls f(std::string_view name, Parameter<S>&) for
/// each, in a fixed order, with names such as "router.weight" or "experts.3.w_out".
template <class X, class S>
concept HasParameters = requires(X& x, void (*f)(std::string_view, Parameter<S>&)) {
  x.visit_parameters(f);
};

/// Sets every existing gradient to zero. Call before accumulating a new step.
template <class X>
void zero_grad(X& module) {
  module.visit_parameters([](std::string_view, auto& p) { p.grad.setZero(); });
}

/// Number of weights, frozen ones included.
template <class X>
Index parameter_count(X& module) {
  Index count = 0;
  module.visit_parameters([&](std::string_view, auto& p) { count += p.value.size(); });
  return count;
}

MOE_NAMESPACE_END
