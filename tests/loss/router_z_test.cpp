// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/router_z.hpp"

#include "loss/losses.hpp"

namespace moe_test {

TEST_CASE("the router z-loss of zero logits is the squared logarithm of E", "[loss]") {
  LossCase<double> c(Matrix<double>::Zero(3, 7), 2);
  CHECK(c.value_of(moe::RouterZLoss{0.5}) == Approx(0.5 * std::log(7.0) * std::log(7.0)));
}

TEST_CASE("the router z-loss is the mean squared log-sum-exp by hand", "[loss]") {
  Matrix<double> logits(2, 3);  // sums of exponentials: 8 and 2
  logits << 0, std::log(2.0), std::log(5.0), std::log(0.5), std::log(0.5), 0;
  LossCase<double> c(logits, 1);
  const double a = std::log(8.0), b = std::log(2.0);
  CHECK(c.value_of(moe::RouterZLoss{1}) == Approx((a * a + b * b) / 2));
  CHECK(c.dlogits(0, 2) == Approx(a * 5 / 8));  // 2 z p / T
  CHECK(c.dscores.isZero(0));
}

TEST_CASE("the router z-loss is its formula on every case, with the gradient of its differences",
          "[loss][gradient]") {
  for_loss_cases([](LossCase<double>& c) {
    c.tied = false;  // it looks at no choice
    c.check(moe::RouterZLoss{0.7}, [](const PlainTokens& tokens, double) {
      double mean = 0;
      for (const PlainToken& token : tokens) {
        double sum = 0;
        for (const double l : token.logit) sum += std::exp(l);
        mean += std::log(sum) * std::log(sum) / static_cast<double>(tokens.size());
      }
      return 0.7 * mean;
    });
  });
}

TEST_CASE("the router z-loss does not overflow", "[loss]") {
  LossCase<double> c(Matrix<double>::Constant(2, 4, 1e4), 1);
  const double z = 1e4 + std::log(4.0);
  CHECK(c.value_of(moe::RouterZLoss{1}) == Approx(z * z));
  LossCase<double> low(Matrix<double>::Constant(2, 4, -1e4), 1);
  CHECK(std::isfinite(low.value_of(moe::RouterZLoss{1})));
}

TEST_CASE("the router z-loss has the gradient of its differences", "[loss][gradient]") {
  LossCase<double>(random_matrix<double>(6, 5, 1), 2).check_gradients(moe::RouterZLoss{0.7});
  LossCase<double>(random_matrix<double>(6, 5, 2), 2, {0, 1, 1, 0, 1, 1})
      .check_gradients(moe::RouterZLoss{0.7});
}

TEST_CASE("padding counts in no part of the router z-loss", "[loss]") {
  const Matrix<double> logits = random_matrix<double>(3, 4, 4);
  Matrix<double> padded = Matrix<double>::Constant(5, 4, std::nan(""));
  padded.topRows(2) = logits.topRows(2);
  padded.row(3) = logits.row(2);
  LossCase<double> plain(logits, 2), masked(padded, 2, {1, 1, 0, 1, 0});
  CHECK(plain.value_of(moe::RouterZLoss{1}) == Approx(masked.value_of(moe::RouterZLoss{1})));
  CHECK(masked.dlogits.row(2).isZero(0));
  CHECK(masked.dlogits.row(4).isZero(0));
  CHECK(masked.dlogits.row(3).isApprox(plain.dlogits.row(2)));
}

TEST_CASE("the router z-loss of nothing is zero", "[loss]") {
  CHECK(LossCase<double>(Matrix<double>(0, 4), 2).value_of(moe::RouterZLoss{1}) == 0);
  LossCase<double> padding(random_matrix<double>(2, 4, 1), 2, {0, 0});
  CHECK(padding.value_of(moe::RouterZLoss{1}) == 0);
  CHECK(padding.dlogits.isZero(0));
}

TEST_CASE("a NaN token spoils the router z-loss but no other token's gradient", "[loss]") {
  Matrix<double> logits = random_matrix<double>(3, 4, 1);
  LossCase<double> clean(logits, 2);
  clean.value_of(moe::RouterZLoss{1});
  logits.row(1).setConstant(std::nan(""));
  LossCase<double> broken(logits, 2);
  CHECK(std::isnan(broken.value_of(moe::RouterZLoss{1})));
  CHECK(broken.dlogits.row(1).array().isNaN().all());
  CHECK(same_bits(broken.dlogits.row(0), clean.dlogits.row(0)));
  CHECK(same_bits(broken.dlogits.row(2), clean.dlogits.row(2)));
}

}  // namespace moe_test
