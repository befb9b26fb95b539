// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Squared coefficient of variation of a vector [E], with its gradient.
#pragma once

#include <span>

#include "moe/core/types.hpp"

MOE_NAMESPACE_BEGIN

enum class Variance {
  population,  ///< / E: tensor2tensor, V-MoE
  sample,      ///< / (E - 1), torch's var(): FastMoE, Tutel; 0 for one expert
};

/// CV^2 = variance / (mean^2 + eps): 0 at perfect balance, with a gradient of 0. Never through a
/// standard deviation, whose gradient is NaN there (V-MoE).
struct CvSquared {
  Variance variance = Variance::population;
  double eps = 1e-10;  ///< makes CV^2 of all zeros 0

  /// Returns coefficient * CV^2 of x and replaces x by its gradient:
  /// dCV^2/dx_e = 2 (x_e - mean) / (n D) - variance * 2 mean / (E D^2), D = mean^2 + eps.
  double operator()(std::span<double> x, double coefficient) const {
    const auto count = static_cast<double>(x.size());
    const double n = variance == Variance::sample ? count - 1 : count;
    double mean = 0, squares = 0;
    for (const double value : x) mean += value;
    mean /= count;
    for (const double value : x) squares += (value - mean) * (value - mean);
    const double spread = n > 0 ? squares / n : 0;
    const double below = mean * mean + eps;
    for (double& value : x) {
      const double direct = n > 0 ? 2 * (value - mean) / (n * below) : 0;
      value = coefficient * (direct - spread * 2 * mean / (count * below * below));
    }
    return coefficient * spread / below;
  }
};

MOE_NAMESPACE_END
