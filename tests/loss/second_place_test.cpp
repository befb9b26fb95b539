// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/second_place.hpp"

#include "loss/losses.hpp"

namespace moe_test {

TEST_CASE("the second-place loss is mesh TensorFlow's", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    for (const PlainToken& token : c.plain()) {  // a rest smaller than the step of a difference
      c.tied = c.tied || 1 - token.score[token.choice[0]] < 1e-3;
    }
    c.check(moe::SecondPlaceLoss{0.3}, [](const PlainTokens& tokens, double experts) {
      const auto t = static_cast<double>(tokens.size());
      naive::Row density(static_cast<std::size_t>(experts), 0.0), proxy = density;
      for (const PlainToken& token : tokens) {
        if (token.choice.size() < 2) return 0.0;
        density[token.choice[1]] += 1 / t;
        naive::Row rest = token.score;
        rest[token.choice[0]] = 0;
        for (std::size_t e = 0; e < rest.size(); ++e)
          proxy[e] += rest[e] / (total(rest) + 1e-9) / t;
      }
      return 0.3 * dot(density, proxy) / experts * experts * experts;
    });
  });
}

TEST_CASE("the second-place loss is its coefficient at balance", "[loss]") {
  LossCase<double> c(Matrix<double>::Zero(10, 5), 2);
  for (Index t = 0; t < 10; ++t) {
    c.routing.expert(t, 0) = static_cast<std::int32_t>(t % 5);
    c.routing.expert(t, 1) = static_cast<std::int32_t>((t + 2) % 5);
  }
  CHECK(c.value_of(moe::SecondPlaceLoss{0.3}) == Approx(0.3));
}

TEST_CASE("a certain first choice leaves no rest to divide by", "[loss]") {
  LossCase<double> c(random_matrix<double>(3, 4, 1), 2);
  c.routing.scores.eigen().setZero();
  for (Index t = 0; t < 3; ++t) c.routing.scores(t, c.routing.expert(t, 0)) = 1;
  CHECK(c.value_of(moe::SecondPlaceLoss{1}) == 0);
  CHECK(c.gradients_are_finite());
}

TEST_CASE("a token without a second choice has no second place", "[loss]") {
  LossCase<double> c(random_matrix<double>(3, 4, 1), 2);
  const double before = c.value_of(moe::SecondPlaceLoss{1});
  c.routing.expert(1, 1) = moe::kNoExpert;
  CHECK(c.value_of(moe::SecondPlaceLoss{1}) < before);
  CHECK(c.dscores.row(1).isZero(0));
}

}  // namespace moe_test
