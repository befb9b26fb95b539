// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/importance.hpp"

#include "loss/losses.hpp"

namespace moe_test {
namespace {

using Of = moe::ImportanceLoss::Of;

double formula(const PlainTokens& tokens, double experts, bool weights, double n) {
  naive::Row importance(static_cast<std::size_t>(experts), 0.0);
  for (const PlainToken& token : tokens) {
    for (std::size_t e = 0; e < importance.size(); ++e) {
      importance[e] += weights ? token.weight[e] : token.score[e];
    }
  }
  const double mean = total(importance) / experts;
  double squares = 0;
  for (const double value : importance) squares += (value - mean) * (value - mean);
  return n == 0 ? 0 : squares / n / (mean * mean + 1e-10);
}

}  // namespace

TEST_CASE("the importance loss is CV squared of the summed weights", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    c.check(moe::ImportanceLoss{0.3}, [](const PlainTokens& tokens, double experts) {
      return 0.3 * formula(tokens, experts, true, experts);
    });
  });
}

TEST_CASE("the importance loss is CV squared of the summed scores", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    const moe::ImportanceLoss loss{0.3, Of::scores, {.variance = moe::Variance::sample}};
    c.check(loss, [](const PlainTokens& tokens, double experts) {
      return 0.3 * formula(tokens, experts, false, experts - 1);
    });
  });
}

TEST_CASE("the importance loss is zero at perfect balance, and so is its gradient", "[loss]") {
  LossCase<double> c(Matrix<double>::Zero(6, 3), 2);
  for (Index t = 0; t < 6; ++t) {
    for (Index j = 0; j < 2; ++j) c.routing.expert(t, j) = static_cast<std::int32_t>((t + j) % 3);
  }
  for (const Of of : {Of::weights, Of::scores}) {
    CHECK(c.value_of(moe::ImportanceLoss{1, of}) == Approx(0).margin(1e-30));
    CHECK(c.gradients_are_finite());
    CHECK(c.dweight.isZero(1e-15));
    CHECK(c.dscores.isZero(1e-15));
  }
}

// NeMo Automodel#1408: an auxiliary gradient that never reached the gate.
TEST_CASE("a gradient of weights that has nowhere to go is refused", "[loss]") {
  LossCase<double> c(random_matrix<double>(3, 4, 1), 2);
  Matrix<double> dlogits = Matrix<double>::Zero(3, 4), dscores = dlogits;
  moe::LossGradient<double> gradient{dlogits, dscores};
  const moe::LossInput<double> in{
      .logits = c.logits, .routing = c.routing, .plan = c.plan, .batch = c.batch};
  CHECK(sentence_of([&] { moe::ImportanceLoss{1}(in, gradient); }) ==
        "moe::ImportanceLoss: gradient.dweight has 0 rows, expected 3 (or of = "
        "ImportanceLoss::Of::scores)");
  CHECK(moe::ImportanceLoss{1, Of::scores}(in, gradient) > 0);
}

}  // namespace moe_test
