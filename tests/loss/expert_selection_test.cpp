// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/expert_selection.hpp"

#include "loss/losses.hpp"

namespace moe_test {

TEST_CASE("the expert-selection loss is T sum q^2 of the softmax over tokens", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    c.check(moe::ExpertSelectionLoss{0.3}, [](const PlainTokens& tokens, double experts) {
      naive::Row q(tokens.size(), 0.0);
      for (std::size_t e = 0; e < tokens[0].logit.size(); ++e) {
        naive::Row column;
        for (const PlainToken& token : tokens) column.push_back(token.logit[e]);
        const naive::Row p = naive::softmax(column, 1);
        for (std::size_t t = 0; t < q.size(); ++t) q[t] += p[t] / experts;
      }
      // mesh: mean over tokens of q^2 * (valid tokens), times the group size
      double mean = 0;
      for (const double x : q)
        mean += x * x * static_cast<double>(q.size()) / static_cast<double>(q.size());
      return 0.3 * mean * static_cast<double>(q.size());
    });
  });
}

TEST_CASE("the expert-selection loss is 1 when all tokens are wanted the same", "[loss]") {
  LossCase<double> c(Matrix<double>::Constant(6, 4, 3), 2, {1, 1, 0, 1, 0, 1});
  CHECK(c.value_of(moe::ExpertSelectionLoss{0.3}) == Approx(0.3));
  CHECK(c.dlogits.isZero(1e-15));
  Matrix<double> logits = Matrix<double>::Zero(6, 4);
  logits.row(2).setConstant(2000);
  LossCase<double> one(logits, 2);
  CHECK(one.value_of(moe::ExpertSelectionLoss{1}) == Approx(6));
  CHECK(one.gradients_are_finite());
}

}  // namespace moe_test
