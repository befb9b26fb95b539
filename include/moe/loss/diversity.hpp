// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Diversity loss: keeps the experts' rows [E, R] of a router apart from one another, and short.
#pragma once

#include <cmath>
#include <span>

#include "moe/core/error.hpp"
#include "moe/core/parameter.hpp"

MOE_NAMESPACE_BEGIN

/// coefficient * (diverse * |U U^T - I|_F + simple * mean_e |w_e|), u_e = w_e / |w_e|: not a loss
/// on the routing but on the parameter whose rows stand for experts, a CosineRouter's `experts` or a
/// LinearRouter's `weight`. Call it once per step beside the losses of the tape. Balanced value:
/// coefficient * simple * the mean length, when all rows are orthogonal. At orthogonality and for
/// rows of zeros, where a norm has no gradient, it is 0. Guo et al. 2024 (DynMoE, arXiv 2405.14297,
/// released code).
struct DiversityLoss {
  double coefficient = 1e-2;
  double diverse = 1;
  double simple = 1;

  /// Adds to the parameter's gradient unless it is frozen. `active` [E] or empty: rows with 0 count
  /// in the mean length alone (a TopAnyGate's active()). With G = U U^T - I and F = |G|_F:
  /// du = 2 G U / F, dw_e = (du_e - u_e <u_e, du_e>) / |w_e|. Throws std::invalid_argument when
  /// active has another size.
  template <class S>
  double operator()(Parameter<S>& experts, std::span<const std::uint8_t> active = {}) const {
    const Index e_count = experts.value.rows();
    if (!active.empty()) {
      detail::check_size("moe::DiversityLoss", "active", std::ssize(active), "values",
                         "the number of experts", e_count);
    }
    if (experts.empty()) return 0;
    const Matrix<double> w = experts.value.template cast<double>();
    const Eigen::VectorXd length = w.rowwise().norm();
    const auto is_off = [&](Index e) {
      return !active.empty() && active[static_cast<std::size_t>(e)] == 0;
    };
    Matrix<double> u = w;
    for (Index e = 0; e < e_count; ++e) u.row(e) /= length(e) > 0 ? length(e) : 1;
    Matrix<double> g = u * u.transpose();
    for (Index e = 0; e < e_count; ++e) {
      g(e, e) -= 1;
      if (!is_off(e)) continue;
      g.row(e).setZero();
      g.col(e).setZero();
    }
    const double spread = g.norm(), rows = static_cast<double>(e_count);
    const double value = coefficient * (diverse * spread + simple * length.mean());
    if (!experts.trainable) return value;
    experts.ensure_grad();
    Matrix<double> du = Matrix<double>::Zero(u.rows(), u.cols());
    if (spread > 0) du = diverse * 2 / spread * (g * u);
    for (Index e = 0; e < e_count; ++e) {
      if (!(length(e) > 0)) continue;
      const double along = u.row(e).dot(du.row(e));
      experts.grad.row(e) +=
          (coefficient * ((du.row(e) - along * u.row(e)) / length(e) + simple / rows * u.row(e)))
              .template cast<S>();
    }
    return value;
  }
};

MOE_NAMESPACE_END
