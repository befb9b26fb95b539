// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/plan/plan.hpp"

#include "moe/core/random.hpp"
#include "support/plans.hpp"

namespace moe_test {

using Ints = std::vector<std::int32_t>;
using moe::Outcome;

TEST_CASE("a plan groups the assignments by expert, inside an expert by token", "[plan]") {
  // token 0 -> experts 2, 0; token 1 -> 0, 3; token 2 -> 2, 0
  const moe::Plan plan = plan_of(4, {{2, 0}, {0, 3}, {2, 0}});
  CHECK(plan.offset == Ints{0, 3, 3, 5, 6});
  CHECK(plan.token == Ints{0, 1, 2, 0, 2, 1});
  CHECK(plan.origin == Ints{1, 2, 5, 0, 4, 3});
  CHECK(plan.slot == Ints{3, 0, 1, 5, 4, 2});
  CHECK(plan.demanded == Ints{3, 0, 2, 1});
  CHECK(plan.outcome == std::vector<Outcome>(6, Outcome::kept));
  CHECK(plan.tokens == 3);
  CHECK(plan.top_k == 2);
  CHECK(plan.num_experts() == 4);
  CHECK(plan.count() == 6);
  CHECK(plan.load(0) == 3);
  CHECK(plan.load(1) == 0);
  CHECK(plan.dropped() == 0);
  CHECK(plan.capacity == std::numeric_limits<Index>::max());
}

TEST_CASE("a full expert keeps its first tokens and every drop is on record", "[plan]") {
  // ceil(0.5 * 4 * 2 / 3) = 2 each; expert 0 is wanted by all four tokens.
  const moe::Plan plan = plan_of(3, {{0, 1}, {2, 0}, {0, 1}, {0, 2}}, {.factor = 0.5});
  CHECK(plan.capacity == 2);
  CHECK(plan.demanded == Ints{4, 2, 2});
  CHECK(plan.offset == Ints{0, 2, 4, 6});
  CHECK(plan.token == Ints{0, 1, 0, 2, 1, 3});
  CHECK(plan.slot == Ints{0, 2, 4, 1, -1, 3, -1, 5});
  CHECK(plan.outcome == std::vector<Outcome>{Outcome::kept, Outcome::kept, Outcome::kept,
                                             Outcome::kept, Outcome::dropped, Outcome::kept,
                                             Outcome::dropped, Outcome::kept});
  CHECK(plan.dropped() == 2);
  CHECK(plan.count() == 6);
}

TEST_CASE("slot and origin are each other's inverse at random routings", "[plan]") {
  for (std::uint64_t n = 0; n < 30; ++n) {
    moe::Random random(n);
    const auto experts = static_cast<Index>(1 + random.below(20));
    const Index k = std::min<Index>(experts, 3);
    std::vector<Ints> choices;
    for (Index t = 0; t < 15; ++t) {
      const auto first =
          static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(experts)));
      Ints row;
      for (Index j = 0; j < k; ++j)
        row.push_back((first + static_cast<int>(j)) % static_cast<int>(experts));
      choices.push_back(row);
    }
    const moe::Plan plan = plan_of(experts, choices, {.factor = random.uniform(0.2, 2)});
    Index kept = 0;
    for (std::size_t a = 0; a < plan.slot.size(); ++a) {
      CHECK((plan.slot[a] >= 0) == (plan.outcome[a] == Outcome::kept));
      if (plan.slot[a] < 0) continue;
      ++kept;
      const auto s = static_cast<std::size_t>(plan.slot[a]);
      CHECK(plan.origin[s] == static_cast<std::int32_t>(a));
      CHECK(plan.token[s] == static_cast<std::int32_t>(a) / static_cast<std::int32_t>(k));
    }
    CHECK(kept == plan.count());
    for (Index e = 0; e < experts; ++e) {
      CHECK(plan.load(e) ==
            std::min<Index>(plan.demanded[static_cast<std::size_t>(e)], plan.capacity));
    }
  }
}

TEST_CASE("capacity is the rounded-up share of the real tokens", "[plan]") {
  const auto capacity = [](double factor, Index tokens, Index k, Index e) {
    return moe::expert_capacity({.factor = factor}, tokens, k, e);
  };
  CHECK(capacity(1, 8, 2, 4) == 4);
  CHECK(capacity(1, 9, 2, 4) == 5);
  CHECK(capacity(1.25, 8, 2, 4) == 5);
  CHECK(capacity(0.01, 8, 2, 4) == 1);
  CHECK(capacity(1.1, 10, 1, 1) == 11);  // 1.1 * 10 is 11.000000000000002 in binary
  CHECK(capacity(0.7, 10, 1, 1) == 7);
  CHECK(capacity(3, 5, 1, 5) == 3);
  CHECK(capacity(1, 0, 2, 4) == 0);
  CHECK(moe::expert_capacity({}, 8, 2, 4) == std::numeric_limits<Index>::max());
}

TEST_CASE("a capacity factor of any size gives a capacity, not an overflow", "[plan]") {
  const Index all = moe::expert_capacity({.factor = 1e300}, 8, 2, 4);
  CHECK(all >= 8);
  CHECK(plan_of(2, {{0}, {0}, {0}}, {.factor = 1e300}).dropped() == 0);
  CHECK(plan_of(2, {{0}, {0}, {0}}, {.factor = 1e-300}).count() == 1);
}

TEST_CASE("padding takes no place and does not raise the capacity", "[plan]") {
  const std::vector<std::uint8_t> mask{1, 0, 1, 0};
  // Two real tokens: ceil(1 * 2 * 1 / 2) = 1.
  const moe::Plan plan = plan_of(2, {{0}, {-1}, {0}, {-1}}, {.factor = 1.0}, {.mask = mask});
  CHECK(plan.capacity == 1);
  CHECK(plan.token == Ints{0});
  CHECK(plan.outcome ==
        std::vector<Outcome>{Outcome::kept, Outcome::none, Outcome::dropped, Outcome::none});
}

TEST_CASE("no tokens make an empty plan", "[plan]") {
  for (const std::optional<double> factor : {std::optional<double>{}, std::optional<double>{1.0}}) {
    const moe::Plan plan = plan_of(3, {}, {.factor = factor});
    CHECK(plan.offset == Ints{0, 0, 0, 0});
    CHECK(plan.count() == 0);
    CHECK(plan.dropped() == 0);
    CHECK(plan.tokens == 0);
  }
}

TEST_CASE("a plan that is made again forgets the old one", "[plan]") {
  moe::Plan plan = plan_of(3, {{0, 1}, {2, 0}, {0, 1}, {0, 2}}, {.factor = 0.5});
  make_plan(RoutingOf(3, {{1}, {1}}).routing, {}, {}, plan);
  const moe::Plan fresh = plan_of(3, {{1}, {1}});
  CHECK(plan.offset == fresh.offset);
  CHECK(plan.token == fresh.token);
  CHECK(plan.slot == fresh.slot);
  CHECK(plan.outcome == fresh.outcome);
  CHECK(plan.demanded == fresh.demanded);
  CHECK(plan.capacity == fresh.capacity);
}

TEST_CASE("a plan refuses experts that do not exist, and one expert twice", "[plan][misuse]") {
  CHECK(sentence_of([] {
          plan_of(4, {{0, 1}, {2, 4}});
        }) == "moe::make_plan: token 1 is routed to expert 4, expected 0 to 3");
  CHECK(sentence_of([] {
          plan_of(4, {{0, 1}, {-2, 3}});
        }) == "moe::make_plan: token 1 is routed to expert -2, expected 0 to 3");
  CHECK(sentence_of([] {
          plan_of(4, {{0, 1}, {3, 3}});
        }) == "moe::make_plan: token 1 is routed to expert 3 twice, expected distinct experts");
  CHECK_NOTHROW(plan_of(4, {{0, 1}, {1, 0}}));
}

TEST_CASE("a plan refuses a mask of another length", "[plan][misuse]") {
  const std::vector<std::uint8_t> mask(2, 1);
  CHECK(sentence_of([&] {
          plan_of(2, {{0}, {1}, {0}}, {}, {.mask = mask});
        }) == "moe::make_plan: mask has 2 values, the number of tokens is 3");
  moe::Plan plan = plan_of(2, {{0}, {1}, {0}});
  CHECK_THROWS(make_plan(RoutingOf(5, {{4}}).routing, {}, {.mask = mask}, plan));
  CHECK(plan.num_experts() == 2);  // nothing has changed
}

TEST_CASE("a capacity factor must be finite and positive", "[plan][misuse]") {
  const auto sentence = [](double factor) {
    return sentence_of([&] { moe::check_capacity("here", {.factor = factor}); });
  };
  const std::string end = ", expected a finite value above 0 (leave it empty for a dropless layer)";
  CHECK(sentence(0) == "here: capacity factor is 0.000000" + end);
  CHECK(sentence(-1) == "here: capacity factor is -1.000000" + end);
  CHECK(sentence(std::numeric_limits<double>::quiet_NaN()) == "here: capacity factor is nan" + end);
  CHECK(sentence(std::numeric_limits<double>::infinity()) == "here: capacity factor is inf" + end);
  CHECK_NOTHROW(moe::check_capacity("here", {}));
}

}  // namespace moe_test
