// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/switch.hpp"

#include "loss/losses.hpp"

namespace moe_test {

TEST_CASE("the Switch loss is its coefficient when the load is balanced", "[loss]") {
  Matrix<double> logits = Matrix<double>::Zero(4, 4);
  logits.diagonal().setConstant(3);  // each expert is the favourite of one token
  LossCase<double> one(logits, 1);
  CHECK(one.value_of(moe::SwitchLoss{0.25}) == Approx(0.25));
  LossCase<double> all(random_matrix<double>(5, 4, 1), 4);
  CHECK(all.value_of(moe::SwitchLoss{2}) == Approx(2));
}

TEST_CASE("the Switch loss approaches E when all tokens want one expert", "[loss]") {
  Matrix<double> logits = Matrix<double>::Zero(6, 5);
  logits.col(3).setConstant(40);
  LossCase<double> flooded(logits, 1);
  CHECK(flooded.value_of(moe::SwitchLoss{1}) == Approx(5));
}

TEST_CASE("the Switch loss is E sum f P by hand", "[loss]") {
  // scores: (3/4, 1/4) twice and (1/4, 3/4); K = 1: f = (2/3, 1/3), P = (7/12, 5/12)
  Matrix<double> logits(3, 2);
  const double l = std::log(3.0);
  logits << l, 0, l, 0, 0, l;
  LossCase<double> made(logits, 1);
  CHECK(made.value_of(moe::SwitchLoss{1}) == Approx(2 * (2.0 / 3 * 7 / 12 + 1.0 / 3 * 5 / 12)));
  // d/dp_te = E f_e / T
  CHECK(made.dscores(0, 0) == Approx(2 * (2.0 / 3) / 3));
  CHECK(made.dscores(2, 1) == Approx(2 * (1.0 / 3) / 3));
  CHECK(made.dlogits.isZero(0));
}

TEST_CASE("the Switch loss has the gradient of its differences", "[loss][gradient]") {
  for (const Index k : {1, 2, 5}) {
    LossCase<double>(random_matrix<double>(7, 5, 1), k).check_gradients(moe::SwitchLoss{0.7});
    LossCase<double>(random_matrix<double>(7, 5, 2), k, {1, 0, 1, 1, 0, 1, 1})
        .check_gradients(moe::SwitchLoss{0.7});
  }
}

TEST_CASE("the Switch loss counts choices before capacity", "[loss]") {
  const Matrix<double> logits = random_matrix<double>(9, 4, 3);
  LossCase<double> free(logits, 2), tight(logits, 2, {}, {.factor = 0.4});
  REQUIRE(tight.plan.dropped() > 0);
  CHECK(free.value_of(moe::SwitchLoss{1}) == tight.value_of(moe::SwitchLoss{1}));
  CHECK(same_bits(free.dscores, tight.dscores));
}

TEST_CASE("padding counts in no part of the Switch loss", "[loss]") {
  const Matrix<double> logits = random_matrix<double>(5, 4, 4);
  Matrix<double> padded = Matrix<double>::Constant(8, 4, std::nan(""));
  padded.topRows(3) = logits.topRows(3);
  padded.row(4) = logits.row(3);
  padded.row(7) = logits.row(4);
  LossCase<double> plain(logits, 2), masked(padded, 2, {1, 1, 1, 0, 1, 0, 0, 1});
  CHECK(plain.value_of(moe::SwitchLoss{1}) == Approx(masked.value_of(moe::SwitchLoss{1})));
  CHECK(masked.dscores.row(3).isZero(0));
  CHECK(masked.dscores.row(4).isApprox(plain.dscores.row(3)));
}

TEST_CASE("the Switch loss of nothing is zero", "[loss]") {
  CHECK(LossCase<double>(Matrix<double>(0, 4), 2).value_of(moe::SwitchLoss{1}) == 0);
  LossCase<double> padding(random_matrix<double>(3, 4, 1), 2, {0, 0, 0});
  CHECK(padding.value_of(moe::SwitchLoss{1}) == 0);
  CHECK(padding.dscores.isZero(0));
}

TEST_CASE("the Switch loss adds to the gradients it is given", "[loss]") {
  LossCase<double> c(random_matrix<double>(3, 4, 1), 2);
  c.value_of(moe::SwitchLoss{1});
  const Matrix<double> alone = c.dscores;
  Matrix<double> dlogits = Matrix<double>::Constant(3, 4, 5), dscores = dlogits;
  moe::LossGradient<double> gradient{dlogits, dscores};
  moe::SwitchLoss{1}(
      moe::LossInput<double>{
          .logits = c.logits, .routing = c.routing, .plan = c.plan, .batch = c.batch},
      gradient);
  CHECK(distance(Matrix<double>(dscores.array() - 5), alone) < 1e-14);
}

}  // namespace moe_test
