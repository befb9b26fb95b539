// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/load.hpp"

#include "loss/losses.hpp"

namespace moe_test {
namespace {

using Estimate = moe::LoadLoss::Estimate;

double normal_cdf(double z) { return 0.5 * (1 + std::erf(z / std::sqrt(2.0))); }

/// P_e of tensor2tensor: the noisy logits sorted, thr_in = v[k], thr_out = v[k - 1].
naive::Row smooth_load(const PlainTokens& tokens, double experts, bool own_excluded) {
  naive::Row load(static_cast<std::size_t>(experts), 0.0);
  for (const PlainToken& token : tokens) {
    const std::size_t k = token.choice.size();
    naive::Row sorted = token.logit;
    std::sort(sorted.rbegin(), sorted.rend());
    for (std::size_t e = 0; e < load.size(); ++e) {
      const bool chosen = std::count(token.choice.begin(), token.choice.end(), e) > 0;
      if (k >= load.size()) {
        load[e] += 1;
      } else if (token.stddev[e] == 0) {
        load[e] += chosen ? 1 : 0;
      } else {
        const bool is_in = own_excluded && token.logit[e] > sorted[k];
        load[e] +=
            normal_cdf((token.clean[e] - (is_in ? sorted[k] : sorted[k - 1])) / token.stddev[e]);
      }
    }
  }
  return load;
}

double cv_squared(const naive::Row& x, bool sample) {
  const auto n = static_cast<double>(x.size());
  if (n == 1) return 0;
  const double mean = total(x) / n;
  double squares = 0;
  for (const double value : x) squares += (value - mean) * (value - mean);
  return squares / (sample ? n - 1 : n) / (mean * mean + 1e-10);
}

/// A router's noise under the logits of the case: stddev in [0.5, 1.5], or all `stddev`.
void add_noise(LossCase<double>& c, double stddev = -1) {
  const Index t = c.logits.rows(), e = c.logits.cols();
  const Matrix<double> normal = random_matrix<double>(t, e, 41);
  Matrix<double> sigma = random_matrix<double>(t, e, 42).array().tanh() / 2 + 1;
  if (stddev >= 0) sigma.setConstant(stddev);
  c.add_noise(c.logits - sigma.cwiseProduct(normal), sigma);
}

}  // namespace

TEST_CASE("the load loss is CV squared of the smooth load", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    add_noise(c);
    c.check(moe::LoadLoss{0.3}, [](const PlainTokens& tokens, double experts) {
      return 0.3 * cv_squared(smooth_load(tokens, experts, true), false);
    });
  });
}

TEST_CASE("the load loss with V-MoE's single threshold and the sample variance", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    add_noise(c);
    const moe::LoadLoss loss{0.3, Estimate::kth_of_all, {.variance = moe::Variance::sample}};
    c.check(loss, [](const PlainTokens& tokens, double experts) {
      return 0.3 * cv_squared(smooth_load(tokens, experts, false), true);
    });
  });
}

// davidmrau/mixture-of-experts#9 and #16, FastMoE: 0 / 0 at evaluation; k + 1 > E.
TEST_CASE("without noise the load loss counts, and has no gradient", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    const auto formula = [](const PlainTokens& tokens, double experts) {
      return 0.3 * cv_squared(choices_of(tokens, experts), false);
    };
    c.check(moe::LoadLoss{0.3}, formula);  // no noise record
    c.check(moe::LoadLoss{0.3, Estimate::count}, formula);
    CHECK(c.dlogits.isZero(0));
    for (const double stddev : {0.0, 1e-35}) {
      add_noise(c, stddev);
      const double value = c.value_of(moe::LoadLoss{0.3});
      CHECK(value == c.value_of(moe::LoadLoss{0.3, Estimate::count}));
      CHECK(c.gradients_are_finite());
      CHECK(c.dlogits.isZero(0));
      CHECK(c.noise.dclean.eigen().isZero(0));
      CHECK(c.noise.dstddev.eigen().isZero(0));
    }
  });
}

TEST_CASE("tiny noise approaches the counts without leaving float", "[loss]") {
  Matrix<float> logits = random_matrix<float>(6, 5, 3);
  LossCase<float> c(logits, 2);
  for (const float stddev : {1.0F, 1e-3F, 1e-10F, 1e-20F, 1e-29F, 1e-38F, 0.0F}) {
    c.add_noise(logits, Matrix<float>::Constant(6, 5, stddev));
    const double value = c.value_of(moe::LoadLoss{1});
    CHECK(std::isfinite(value));
    CHECK(c.gradients_are_finite());
    if (stddev < 1e-2F) {
      CHECK(value == Approx(c.value_of(moe::LoadLoss{1, Estimate::count})));
    }
  }
}

TEST_CASE("the load loss is zero at perfect balance, and so is its gradient", "[loss]") {
  Matrix<double> logits(4, 4);  // every expert wins once by the same margin
  logits << 3, 2, 1, 0, 0, 3, 2, 1, 1, 0, 3, 2, 2, 1, 0, 3;
  LossCase<double> c(logits, 1);
  c.add_noise(logits, Matrix<double>::Ones(4, 4));
  for (const Estimate estimate : {Estimate::exclude_own, Estimate::kth_of_all, Estimate::count}) {
    CHECK(c.value_of(moe::LoadLoss{1, estimate}) == Approx(0).margin(1e-25));
    CHECK(c.gradients_are_finite());
    CHECK(c.dlogits.isZero(1e-12));
    CHECK(c.noise.dclean.eigen().isZero(1e-12));
  }
}

}  // namespace moe_test
