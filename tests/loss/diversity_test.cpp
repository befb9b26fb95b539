// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/diversity.hpp"

#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

namespace moe_test {
namespace {

/// |sims * m m^T - I * m m^T|_F + mean |w_e|, entry by entry.
double plain(const Matrix<double>& w, const std::vector<std::uint8_t>& active, double diverse,
             double simple) {
  double squares = 0, lengths = 0;
  for (Index a = 0; a < w.rows(); ++a) {
    lengths += w.row(a).norm() / static_cast<double>(w.rows());
    for (Index b = 0; b < w.rows(); ++b) {
      if (!active.empty() && (active[std::size_t(a)] == 0 || active[std::size_t(b)] == 0)) continue;
      double along = w.row(a).dot(w.row(b));
      along /= std::max(w.row(a).norm(), 1e-12) * std::max(w.row(b).norm(), 1e-12);
      squares += (along - (a == b ? 1 : 0)) * (along - (a == b ? 1 : 0));
    }
  }
  return diverse * std::sqrt(squares) + simple * lengths;
}

}  // namespace

TEST_CASE("the diversity loss is its formula, with the gradient of its differences",
          "[loss][diversity]") {
  for (const Index e : {2, 5, 65}) {
    std::vector<std::uint8_t> some(static_cast<std::size_t>(e), 1);
    some[0] = 0;
    for (const auto& active : {std::vector<std::uint8_t>{}, some}) {
      moe::Parameter<double> experts(e, 4);
      experts.value = random_matrix<double>(e, 4, 3);
      const moe::DiversityLoss loss{0.7, 1.5, 0.5};
      const auto value = [&] { return loss(experts, active); };
      CHECK(value() == Approx(0.7 * plain(experts.value, active, 1.5, 0.5)));
      moe::Parameter<double> fresh(e, 4);
      fresh.value = experts.value;
      loss(fresh, active);
      const Matrix<double> gradient = fresh.grad;
      check_gradient("experts", experts.value, gradient, value);
      loss(fresh, active);  // adds
      CHECK(distance(fresh.grad, Matrix<double>(2 * gradient)) < 1e-14);
    }
  }
}

TEST_CASE("the diversity loss is finite at orthogonality, for zeros and one expert",
          "[loss][diversity]") {
  moe::Parameter<float> experts(3, 4);
  const moe::DiversityLoss loss{1};
  CHECK(loss(experts) ==
        Approx(std::sqrt(3.0)));  // zeros are orthogonal to all, but not of length 1
  CHECK(experts.grad.isZero(0));
  experts.value << 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 4, 0;
  CHECK(loss(experts) == Approx(3));  // the mean length
  CHECK(experts.grad.isApprox(Matrix<float>(Matrix<float>::Identity(3, 4) / 3)));
  moe::Parameter<float> one(1, 4), none;
  one.value.setConstant(1);
  CHECK(loss(one) == Approx(2));
  CHECK(one.grad.allFinite());
  CHECK(loss(none) == 0);
  experts.trainable = false;
  const Matrix<float> before = experts.grad;
  loss(experts);
  CHECK(same_bits(experts.grad, before));
}

TEST_CASE("the diversity loss refuses a list of another size", "[loss][diversity][misuse]") {
  moe::Parameter<float> experts(3, 4);
  const std::vector<std::uint8_t> active(2, 1);
  CHECK(sentence_of([&] { moe::DiversityLoss{}(experts, active); }) ==
        "moe::DiversityLoss: active has 2 values, the number of experts is 3");
}

}  // namespace moe_test
