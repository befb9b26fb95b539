// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/relu_l1.hpp"

#include "loss/losses.hpp"

namespace moe_test {
namespace {

using Form = moe::ReluL1Loss::Form;

/// Scores become relu(logits), moved away from the kink.
void use_relu(LossCase<double>& c) {
  for (Index t = 0; t < c.logits.rows(); ++t) {
    for (Index e = 0; e < c.logits.cols() && !c.batch.is_padding(t); ++e) {
      c.routing.scores(t, e) = c.logits(t, e) > 0 ? c.logits(t, e) + 0.1 : -0.1;
      if (c.logits(t, e) <= 0) c.routing.scores(t, e) = 0;
    }
  }
}

/// Gradients of positive scores only: at 0 the count of the formula jumps.
void check_positive_gradients(LossCase<double>& c, const moe::ReluL1Loss& loss) {
  c.value_of(loss);
  const Matrix<double> gradient = c.dscores;
  for (Index t = 0; t < c.logits.rows(); ++t) {
    for (Index e = 0; e < c.logits.cols(); ++e) {
      if (!(c.routing.scores(t, e) > 0)) continue;
      check_gradient("score", {&c.routing.scores(t, e), 1, 1}, {&gradient(t, e), 1, 1},
                     [&] { return c.value_of(loss); });
    }
  }
}

}  // namespace

TEST_CASE("ReMoE's L1 loss is lambda E / (k T^2) sum count sum relu", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    if (c.logits.cols() > 100) return;
    use_relu(c);
    c.tied = true;
    const moe::ReluL1Loss balanced{0.3, 2}, plain{0.3, 2, Form::plain};
    c.check(balanced, [](const PlainTokens& tokens, double experts) {
      const auto t = static_cast<double>(tokens.size());
      double sum = 0;
      for (std::size_t e = 0; e < tokens[0].score.size(); ++e) {
        double count = 0, scores = 0;
        for (const PlainToken& token : tokens) {
          count += token.score[e] > 0 ? 1 : 0;
          scores += token.score[e];
        }
        sum += count * scores;
      }
      return 0.3 * experts / (2 * t * t) * sum;
    });
    check_positive_gradients(c, balanced);
    c.check(plain, [](const PlainTokens& tokens, double) {
      double sum = 0;
      for (const PlainToken& token : tokens) sum += total(token.score);
      return 0.3 * sum / static_cast<double>(tokens.size());
    });
    check_positive_gradients(c, plain);
  });
}

TEST_CASE("balanced use makes ReMoE's two forms the same", "[loss]") {
  LossCase<double> c(Matrix<double>::Zero(6, 3), 2);
  c.routing.scores.eigen().setZero();
  for (Index t = 0; t < 6; ++t) {
    c.routing.scores(t, t % 3) = 0.5;
    c.routing.scores(t, (t + 1) % 3) = 0.25;
  }
  CHECK(c.value_of(moe::ReluL1Loss{0.3, 2}) == Approx(0.3 * 0.75));
  CHECK(c.value_of(moe::ReluL1Loss{0.3, 2, Form::plain}) == Approx(0.3 * 0.75));
  c.routing.scores.eigen().setZero();
  CHECK(c.value_of(moe::ReluL1Loss{0.3, 2}) == 0);
  CHECK(sentence_of([&] {
          c.value_of(moe::ReluL1Loss{0.3, 0});
        }) == "moe::ReluL1Loss: target_k is 0.000000, expected a value above 0");
}

TEST_CASE("the controller of lambda follows the sparsity", "[loss]") {
  moe::ReluL1Controller control;
  CHECK(control.lambda == 1e-8);
  CHECK(control.update(0.5, 1, 4) == Approx(1.2e-8));  // too dense
  CHECK(control.update(0.8, 1, 4) == Approx(1e-8));    // too sparse
  CHECK(control.update(0.75, 1, 4) == Approx(1e-8 / 1.2));
  moe::ReluL1Controller resumed{control.lambda};
  CHECK(resumed.update(0, 1, 4) == control.update(0, 1, 4));
  for (int step = 0; step < 10000; ++step) control.update(0, 1, 4);
  CHECK(std::isfinite(control.lambda));
  for (int step = 0; step < 10000; ++step) control.update(1, 1, 4);
  CHECK(control.lambda > 0);
}

TEST_CASE("sparsity is the share of zero scores among real tokens", "[loss]") {
  LossCase<double> c(random_matrix<double>(3, 4, 1), 2, {1, 0, 1});
  c.routing.scores.eigen().setZero();
  c.routing.scores(0, 1) = c.routing.scores(2, 0) = c.routing.scores(2, 3) = 1;
  CHECK(moe::ReluL1Controller::sparsity(c.routing, c.batch) == Approx(5.0 / 8));
  LossCase<double> none(random_matrix<double>(2, 4, 1), 2, {0, 0});
  CHECK(moe::ReluL1Controller::sparsity(none.routing, none.batch) == 0);
}

}  // namespace moe_test
