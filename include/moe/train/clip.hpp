// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Gradient clipping by the global norm.
#pragma once

#include <cmath>

#include "moe/core/error.hpp"
#include "moe/core/parameter.hpp"

MOE_NAMESPACE_BEGIN

/// Scales all gradients by max_norm / norm when their joint Euclidean norm exceeds max_norm
/// (Pascanu et al. 2013). Returns the norm before clipping; a NaN or Inf norm leaves the gradients
/// as they are, for the caller to skip the step. Throws std::invalid_argument unless max_norm is
/// above 0.
template <class M>
double clip_grad_norm(M& module, double max_norm) {
  if (!(max_norm > 0)) {
    detail::fail("moe::clip_grad_norm", "max_norm is ", max_norm, ", expected a value above 0");
  }
  double sum = 0;
  module.visit_parameters([&](std::string_view, auto& p) {
    if (!p.trainable) return;
    for (Index i = 0; i < p.grad.size(); ++i) {
      const auto g = static_cast<double>(p.grad.data()[i]);
      sum += g * g;
    }
  });
  const double norm = std::sqrt(sum);
  if (std::isfinite(norm) && norm > max_norm) {
    module.visit_parameters([&](std::string_view, auto& p) {
      using S = typename std::remove_cvref_t<decltype(p.grad)>::Scalar;
      if (p.trainable) p.grad *= static_cast<S>(max_norm / norm);
    });
  }
  return norm;
}

MOE_NAMESPACE_END
