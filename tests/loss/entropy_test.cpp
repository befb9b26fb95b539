// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "loss/losses.hpp"
#include "moe/loss/global_entropy.hpp"
#include "moe/loss/kl_uniform.hpp"
#include "moe/loss/local_entropy.hpp"

namespace moe_test {
namespace {

double entropy(const naive::Row& p) {
  double sum = 0;
  for (const double x : p) sum -= x > 0 ? x * std::log(x) : 0;
  return sum;
}

naive::Row mean_distribution(const PlainTokens& tokens, double experts) {
  naive::Row mean(static_cast<std::size_t>(experts), 0.0);
  for (const PlainToken& token : tokens) {
    const naive::Row p = naive::softmax(token.logit, 1);
    for (std::size_t e = 0; e < mean.size(); ++e) {
      mean[e] += p[e] / static_cast<double>(tokens.size());
    }
  }
  return mean;
}

}  // namespace

TEST_CASE("the KL loss is sum P log(E P) of the mean distribution", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    c.check(moe::KlUniformLoss{0.3}, [](const PlainTokens& tokens, double experts) {
      double sum = 0;
      for (const double p : mean_distribution(tokens, experts)) {
        sum += p > 0 ? p * std::log(experts * p) : 0;
      }
      return 0.3 * sum;
    });
  });
}

TEST_CASE("the global entropy loss is minus the entropy of the mean distribution", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    c.check(moe::GlobalEntropyLoss{0.3}, [](const PlainTokens& tokens, double experts) {
      return -0.3 * entropy(mean_distribution(tokens, experts));
    });
  });
}

TEST_CASE("the global entropy loss stops at its threshold", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    for (const double threshold : {0.0, 0.5, 1.3, 20.0}) {
      c.check(moe::GlobalEntropyLoss{0.3, threshold},
              [&](const PlainTokens& tokens, double experts) {
                return 0.3 * std::max(0.0, threshold - entropy(mean_distribution(tokens, experts)));
              });
    }
  });
}

TEST_CASE("the local entropy loss is the mean entropy of the tokens", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    c.check(moe::LocalEntropyLoss{0.3}, [](const PlainTokens& tokens, double) {
      double sum = 0;
      for (const PlainToken& token : tokens) sum += entropy(naive::softmax(token.logit, 1));
      return 0.3 * sum / static_cast<double>(tokens.size());
    });
  });
}

TEST_CASE("entropies have their documented values at balance and at certainty", "[loss]") {
  const double log5 = std::log(5.0);
  LossCase<double> even(Matrix<double>::Zero(4, 5), 2);
  CHECK(even.value_of(moe::KlUniformLoss{2}) == Approx(0).margin(1e-15));
  CHECK(even.dlogits.isZero(1e-15));
  CHECK(even.value_of(moe::GlobalEntropyLoss{2}) == Approx(-2 * log5));
  CHECK(even.value_of(moe::GlobalEntropyLoss{2, std::log(4.0)}) == 0);
  CHECK(even.value_of(moe::LocalEntropyLoss{2}) == Approx(2 * log5));

  Matrix<double> logits = Matrix<double>::Constant(5, 5, -2000);
  logits.diagonal().setConstant(2000);  // certain and balanced; exp underflows to 0
  LossCase<double> certain(logits, 2);
  CHECK(certain.value_of(moe::KlUniformLoss{2}) == Approx(0).margin(1e-15));
  CHECK(certain.value_of(moe::GlobalEntropyLoss{2}) == Approx(-2 * log5));
  CHECK(certain.value_of(moe::LocalEntropyLoss{2}) == Approx(0).margin(1e-15));
  CHECK(certain.gradients_are_finite());

  logits.setConstant(-2000);
  logits.col(1).setConstant(2000);
  LossCase<double> flooded(logits, 2);  // four experts have P = 0
  CHECK(flooded.value_of(moe::KlUniformLoss{2}) == Approx(2 * log5));
  CHECK(flooded.gradients_are_finite());
  CHECK(flooded.value_of(moe::GlobalEntropyLoss{2, log5}) == Approx(2 * log5));
  CHECK(flooded.gradients_are_finite());
}

TEST_CASE("an expert that is masked by minus infinity spoils no entropy", "[loss]") {
  Matrix<double> logits = random_matrix<double>(4, 5, 2);
  logits.col(2).setConstant(-std::numeric_limits<double>::infinity());
  LossCase<double> c(logits, 2);
  const auto finite = [&](const auto& loss) {
    return std::isfinite(c.value_of(loss)) && c.gradients_are_finite();
  };
  CHECK(finite(moe::KlUniformLoss{1}));
  CHECK(finite(moe::GlobalEntropyLoss{1}));
  CHECK(finite(moe::LocalEntropyLoss{1}));
}

}  // namespace moe_test
