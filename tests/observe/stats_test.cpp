// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/observe/stats.hpp"

#include "support/plans.hpp"

namespace moe_test {
namespace {

moe::RoutingStats stats_of(const moe::Routing<double>& routing,
                           const moe::CapacityOptions& capacity = {}) {
  moe::Plan plan;
  make_plan(routing, capacity, {}, plan);
  moe::RoutingStats stats;
  routing_stats(routing, plan, stats);
  return stats;
}

using Loads = std::vector<Index>;

}  // namespace

TEST_CASE("statistics of a balanced routing", "[observe]") {
  const auto stats = stats_of(RoutingOf(4, {{0, 1}, {2, 3}, {1, 0}, {3, 2}}).routing);
  CHECK(stats.tokens_per_expert == Loads{2, 2, 2, 2});
  CHECK(stats.load_cv == 0);
  CHECK(stats.entropy == Approx(std::log(4.0)));
  CHECK(stats.dropped_share == 0);
}

TEST_CASE("statistics of a skewed routing by hand", "[observe]") {
  // demand 4, 2, 1, 1, 0: mean 1.6, variance (16 + 4 + 1 + 1) / 5 - 2.56 = 1.84
  const auto stats = stats_of(RoutingOf(5, {{0, 1}, {0, 2}, {0, 3}, {0, 1}}).routing);
  CHECK(stats.tokens_per_expert == Loads{4, 2, 1, 1, 0});
  CHECK(stats.load_cv == Approx(std::sqrt(1.84) / 1.6));
}

TEST_CASE("the dropped share and the load variation are about demand", "[observe]") {
  // ceil(0.5 * 4 * 2 / 3) = 2: expert 0 drops two of its four, of eight in all.
  const auto stats =
      stats_of(RoutingOf(3, {{0, 1}, {2, 0}, {0, 1}, {0, 2}}).routing, {.factor = 0.5});
  CHECK(stats.tokens_per_expert == Loads{2, 2, 2});
  CHECK(stats.dropped_share == Approx(0.25));
  CHECK(stats.load_cv == Approx(std::sqrt(8.0 - 64.0 / 9) / (8.0 / 3)));
}

TEST_CASE("entropy is the mean over tokens, of scores that need not sum to one", "[observe]") {
  RoutingOf made(2, {{0}, {1}, {1}});
  auto& scores = made.routing.scores;
  scores(0, 0) = 1, scores(0, 1) = 0;  // entropy 0
  scores(1, 0) = 3, scores(1, 1) = 3;  // ln 2
  scores(2, 0) = 0.25, scores(2, 1) = 0.75;
  const double third = -(0.25 * std::log(0.25) + 0.75 * std::log(0.75));
  CHECK(stats_of(made.routing).entropy == Approx((std::log(2.0) + third) / 3));
}

TEST_CASE("a broken score makes the entropy NaN instead of looking decided", "[observe]") {
  RoutingOf made(2, {{0}, {1}});
  made.routing.scores(1, 0) = std::numeric_limits<double>::quiet_NaN();
  const auto stats = stats_of(made.routing);
  CHECK(std::isnan(stats.entropy));
  CHECK(stats.tokens_per_expert == Loads{1, 1});
  made.routing.scores(1, 0) = made.routing.scores(1, 1) = 0;  // nobody scored: nothing to choose
  CHECK(stats_of(made.routing).entropy == Approx(std::log(2.0) / 2));
}

TEST_CASE("padding counts nowhere in the statistics", "[observe]") {
  const auto plain = stats_of(RoutingOf(3, {{0, 1}, {0, 2}}).routing);
  RoutingOf padded(3, {{-1, -1}, {0, 1}, {-1, -1}, {0, 2}});
  for (Index e = 0; e < 3; ++e) padded.routing.scores(0, e) = padded.routing.scores(2, e) = 0;
  const auto stats = stats_of(padded.routing);
  CHECK(stats.tokens_per_expert == plain.tokens_per_expert);
  CHECK(stats.load_cv == plain.load_cv);
  CHECK(stats.entropy == Approx(plain.entropy));
}

TEST_CASE("statistics of nothing are zero, also in a used struct", "[observe]") {
  moe::RoutingStats stats;
  stats.load_cv = stats.entropy = stats.dropped_share = 7;
  const RoutingOf none(3, {});
  moe::Plan plan;
  make_plan(none.routing, {}, {}, plan);
  routing_stats(none.routing, plan, stats);
  CHECK(stats.tokens_per_expert == Loads{0, 0, 0});
  CHECK(stats.load_cv == 0);
  CHECK(stats.entropy == 0);
  CHECK(stats.dropped_share == 0);
}

}  // namespace moe_test
