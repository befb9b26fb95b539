// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/weighted_balance.hpp"

#include "loss/losses.hpp"
#include "moe/loss/switch.hpp"

namespace moe_test {

using moe::WeightedBalanceLoss;

TEST_CASE("the weighted loss is MoE++'s sum eta f P", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    naive::Row eta;
    for (Index e = 0; e < c.logits.cols(); ++e) eta.push_back(e % 3 == 0 ? 0.75 : 1);
    const auto sum = [&](const PlainTokens& tokens, double experts) {
      const naive::Row count = choices_of(tokens, experts), p = mean_score(tokens, experts);
      double value = 0;
      for (std::size_t e = 0; e < eta.size(); ++e) {
        value += eta[e] * count[e] / static_cast<double>(tokens.size()) * p[e];
      }
      return value;
    };
    c.check(WeightedBalanceLoss{0.3, eta},
            [&](const PlainTokens& tokens, double experts) { return 0.3 * sum(tokens, experts); });
    c.check(WeightedBalanceLoss{0.3, eta, WeightedBalanceLoss::Scale::like_switch},
            [&](const PlainTokens& tokens, double experts) {
              const auto k = static_cast<double>(tokens[0].choice.size());
              return 0.3 * sum(tokens, experts) * experts / k;
            });
  });
}

TEST_CASE("equal weights make it the Switch loss", "[loss]") {
  LossCase<double> c(random_matrix<double>(6, 5, 1), 2);
  const naive::Row ones(5, 1.0);
  CHECK(c.value_of(WeightedBalanceLoss{0.3, ones, WeightedBalanceLoss::Scale::like_switch}) ==
        Approx(c.value_of(moe::SwitchLoss{0.3})));
  CHECK(sentence_of([&] { c.value_of(WeightedBalanceLoss{0.3}); }) ==
        "moe::WeightedBalanceLoss: eta has 0 values, the number of experts is 5");
}

}  // namespace moe_test
