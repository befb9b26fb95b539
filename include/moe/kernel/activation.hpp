// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Scalar double-precision activations: the double kernels call them lane by lane.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "moe/kernel/problem.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// x = act(x), and the derivative at the old x. Finite arguments beyond +-40 count as +-40 in the
/// slope.
inline void activate_f64(Activation kind, double& x, double& slope) {
  const double z = x;
  // Keeps -Inf * 0 and Inf - Inf out; at the bounds the true slope is 0 or 1 to the last bit.
  const double c = z > 800 ? 800 : z < -800 ? -800 : z;
  switch (kind) {
    case Activation::relu:
      x = z < 0 ? 0 : z;
      slope = z > 0 ? 1 : x * 0;
      return;
    case Activation::relu_squared: {
      const double r = z < 0 ? 0 : z;
      x = r * r;
      slope = 2 * r;
      return;
    }
    case Activation::silu: {
      const double s = 1 / (1 + std::exp(-c));
      x = (z < c ? c : z) * s;
      slope = s * (1 + c / (1 + std::exp(c)));
      return;
    }
    case Activation::gelu: {
      const double cdf = 0.5 * std::erfc(-c * (std::numbers::sqrt2 / 2));
      x = (z < c ? c : z) * cdf;
      slope = cdf + c * 0.3989422804014327 * std::exp(-c * c / 2);
      return;
    }
    case Activation::gelu_tanh: {
      constexpr double k2 = 1.5957691216057308;  // 2 sqrt(2/pi)
      const double u = k2 * c * (1 + 0.044715 * c * c);
      const double s = 1 / (1 + std::exp(-u));
      x = (z < c ? c : z) * s;
      slope = s + c * s / (1 + std::exp(u)) * k2 * (1 + 3 * 0.044715 * c * c);
      return;
    }
    case Activation::identity:
    case Activation::clamped_swiglu:  // not of one argument, see clamped-inl.hpp
      break;
  }
  slope = 1;
}

/// log sum_i exp(scale * x_i) from `sum` of exp(scale * x_i - max), without widening the kernels by a
/// logarithm. The sum is NaN when a scale * x_i is, and also when `max` is infinite: then that is the
/// result.
template <class S>
S log_of_sum(S sum, S max, const S* x, Index n, S scale) {
  if (sum == sum) {
    return static_cast<S>(std::log(static_cast<double>(sum)) + static_cast<double>(max));
  }
  return std::any_of(x, x + n, [scale](S v) { return std::isnan(scale * v); }) ? sum : max;
}

}  // namespace detail
MOE_NAMESPACE_END
