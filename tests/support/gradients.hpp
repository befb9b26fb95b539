// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Gradients against central differences in double precision.
#pragma once

#include <string>

#include "moe/core/types.hpp"
#include "support/catch.hpp"

namespace moe_test {

using moe::Index;

inline constexpr double kStep = 1e-5;
inline constexpr double kRelative = 1e-6;  ///< what a gradient may be off, of itself
inline constexpr double kNoise = 2e-9;     ///< rounding of the loss over the step

/// Holds `gradient` against (loss(v + h) - loss(v - h)) / 2h for the values of `at`, which it moves
/// and puts back; for at most about `most` of them, spread evenly.
template <class F>
void check_gradient(const std::string& name, moe::MatrixView<double> at,
                    moe::MatrixView<const double> gradient, F&& loss, Index most = 1000) {
  INFO("gradient of " << name);
  REQUIRE(gradient.rows() == at.rows());
  REQUIRE(gradient.cols() == at.cols());
  const Index every = std::max<Index>(1, at.size() / most);
  Index wrong = 0;
  std::string first;
  for (Index n = 0; n < at.size(); n += every) {
    const Index i = n / at.cols(), j = n % at.cols();
    double& value = at(i, j);
    const double before = value;
    value = before + kStep;
    const double above = loss();
    value = before - kStep;
    const double below = loss();
    value = before;
    const double expected = (above - below) / (2 * kStep), actual = gradient(i, j);
    const double allowed = kRelative * std::max(std::abs(expected), std::abs(actual)) + kNoise;
    if (std::abs(actual - expected) <= allowed) continue;
    if (wrong++ == 0) {
      first = "(" + std::to_string(i) + ", " + std::to_string(j) + ") is " +
              std::to_string(actual) + ", the difference quotient " + std::to_string(expected);
    }
  }
  INFO("first: " << first);
  CHECK(wrong == 0);
}

}  // namespace moe_test
