// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/bias_update.hpp"

#include "loss/losses.hpp"
#include "moe/loss/global_balance.hpp"

namespace moe_test {
namespace {

using moe::BiasRule;
using moe::BiasUpdate;

template <class S = double>
std::vector<S> updated(const BiasUpdate& update, std::vector<S> bias,
                       const std::vector<std::int32_t>& counts) {
  update(std::span(bias), counts);
  return bias;
}

}  // namespace

TEST_CASE("the bias moves by the rate against the load", "[loss]") {
  const std::vector<std::int32_t> counts{6, 0, 3, 1, 5};  // mean 3
  CHECK(updated({0.5}, {0, 0, 0, 0, 0}, counts) == std::vector<double>{-0.5, 0.5, 0, 0.5, -0.5});
  CHECK(updated<float>({0.5}, {1, 1, 1, 1, 1}, counts) ==
        std::vector<float>{0.5F, 1.5F, 1, 1.5F, 0.5F});
  CHECK(updated({0.5, BiasRule::proportional}, {0, 0, 0, 0, 0}, counts) ==
        std::vector<double>{-1.5, 1.5, 0, 1, -1});
}

TEST_CASE("the centered rule keeps the sum of the bias", "[loss]") {
  // signs -1 1 1 1: mean 0.5
  CHECK(updated({1, BiasRule::centered_sign}, {0, 0, 0, 0}, {9, 1, 1, 1}) ==
        std::vector<double>{-1.5, 0.5, 0.5, 0.5});
}

TEST_CASE("equal counts and no counts leave the bias alone, whatever E", "[loss]") {
  for (const std::size_t experts : {1u, 3u, 65u, 512u}) {
    for (const std::int32_t count : {0, 1, 3, 1000003}) {
      for (const BiasRule rule :
           {BiasRule::sign, BiasRule::centered_sign, BiasRule::proportional}) {
        const std::vector<std::int32_t> counts(experts, count);
        const std::vector<float> bias(experts, 0.25F);
        CHECK(updated<float>({1e-3, rule}, bias, counts) == bias);
      }
    }
  }
  std::vector<double> nothing;
  BiasUpdate{}(std::span(nothing), std::vector<std::int32_t>{});
}

TEST_CASE("the bias takes the counts of a plan or of a whole batch", "[loss]") {
  LossCase<double> c(random_matrix<double>(6, 4, 1), 2);
  moe::BalanceCounts counts;
  counts.add(c.plan, c.batch);
  std::vector<double> one(4, 0.0), two(4, 0.0);
  BiasUpdate{}(std::span(one), c.plan.demanded);
  BiasUpdate{}(std::span(two), counts.choices);
  CHECK(one == two);
  CHECK(sentence_of([&] {
          BiasUpdate{}(std::span(one), std::vector<int>{1, 2});
        }) == "moe::BiasUpdate: counts has 2 values, the bias is 4");
}

TEST_CASE("the bias update balances a skewed router", "[loss]") {
  // A fixed preference for low experts; the K best of score + bias are chosen.
  const Index tokens = 400, experts = 6, k = 2;
  Matrix<double> scores = random_matrix<double>(tokens, experts, 5) * 0.1;
  for (Index e = 0; e < experts; ++e) scores.col(e).array() -= 0.05 * static_cast<double>(e);
  std::vector<double> bias(static_cast<std::size_t>(experts), 0.0);
  const auto count = [&] {
    std::vector<std::int32_t> counts(bias.size(), 0);
    for (Index t = 0; t < tokens; ++t) {
      naive::Row key(scores.row(t).begin(), scores.row(t).end());
      for (std::size_t e = 0; e < key.size(); ++e) key[e] += bias[e];
      const auto order = naive::ranking(key);
      for (std::size_t j = 0; j < static_cast<std::size_t>(k); ++j) ++counts[order[j]];
    }
    return counts;
  };
  const auto spread = [&] {
    const auto counts = count();
    return *std::max_element(counts.begin(), counts.end()) -
           *std::min_element(counts.begin(), counts.end());
  };
  const std::int32_t before = spread();
  for (int step = 0; step < 400; ++step) BiasUpdate{1e-3}(std::span(bias), count());
  CHECK(spread() < before / 10);
}

}  // namespace moe_test
