// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/cv_squared.hpp"

#include "loss/losses.hpp"

namespace moe_test {
namespace {

double plain_cv_squared(const std::vector<double>& x, bool sample) {
  const auto n = static_cast<double>(x.size());
  const double mean = total(x) / n;
  double squares = 0;
  for (const double value : x) squares += (value - mean) * (value - mean);
  if (x.size() == 1) return 0;
  return squares / (sample ? n - 1 : n) / (mean * mean + 1e-10);
}

}  // namespace

TEST_CASE("CV squared is the variance over the squared mean", "[loss]") {
  for (const Index n : {1, 2, 3, 65, 512}) {
    for (const moe::Variance variance : {moe::Variance::population, moe::Variance::sample}) {
      Matrix<double> x = random_matrix<double>(1, n, 3).cwiseAbs();
      const moe::CvSquared cv{variance};
      const auto value = [&] {
        std::vector<double> copy(x.data(), x.data() + n);
        return cv(copy, 0.7);
      };
      const bool sample = variance == moe::Variance::sample;
      CHECK(value() ==
            Approx(0.7 * plain_cv_squared({x.data(), x.data() + n}, sample)).margin(1e-15));
      Matrix<double> gradient = x;
      cv({gradient.data(), static_cast<std::size_t>(n)}, 0.7);
      check_gradient("x", x, gradient, value);
    }
  }
}

// vmoe#218: through std the gradient is 0 / 0 at perfect balance.
TEST_CASE("CV squared is zero with a zero gradient at perfect balance", "[loss]") {
  for (const double size : {0.0, 1e-20, 1.0, 0.1, 1e6}) {
    for (const moe::Variance variance : {moe::Variance::population, moe::Variance::sample}) {
      std::vector<double> x(65, size);
      CHECK(moe::CvSquared{variance}(x, 1) == Approx(0).margin(1e-25));
      for (const double slope : x) CHECK(slope == Approx(0).margin(1e-12));
    }
  }
}

}  // namespace moe_test
