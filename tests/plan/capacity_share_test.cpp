// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Capacities that differ between experts: MoE++'s per kind, and any shares.
#include "moe/loss/weighted_balance.hpp"
#include "moe/plan/plan.hpp"
#include "support/plans.hpp"

namespace moe_test {
namespace {

std::vector<Index> capacities(const moe::CapacityOptions& options, Index t, Index k, Index e) {
  std::vector<Index> limit;
  moe::expert_capacities(options, t, k, e, /*training=*/true, limit);
  return limit;
}

}  // namespace

TEST_CASE("capacity per kind is MoE++'s formula", "[plan][capacity]") {
  for (const double tau : {0.1, 0.25, 0.5, 0.75, 1.0}) {
    for (const double f : {1.0, 1.1, 2.0}) {
      for (const Index t : {0, 1, 17, 64, 1000}) {
        const Index ffns = 8, others = 4, k = 2;
        const auto limit = capacities(
            {.factor = f, .share = moe::shares_of_kinds(ffns, others, tau)}, t, k, ffns + others);
        const double below = tau * static_cast<double>(ffns) + static_cast<double>(others);
        const double all = f * static_cast<double>(t * k);
        for (Index e = 0; e < ffns + others; ++e) {
          const double share = (e < ffns ? tau : 1) * all / below;
          INFO("tau " << tau << " f " << f << " T " << t << " e " << e << " share " << share);
          CHECK(static_cast<double>(limit[static_cast<std::size_t>(e)]) == std::ceil(share - 1e-9));
        }
      }
    }
  }
}

TEST_CASE("equal shares are no shares, and without a factor they limit nobody",
          "[plan][capacity]") {
  using F = moe::CapacityFormula;
  for (const F formula : {F::megatron, F::deepspeed, F::lingvo, F::megablocks, F::fairseq}) {
    const moe::CapacityOptions plain{.factor = 1.3, .formula = formula};
    moe::CapacityOptions equal = plain;
    equal.share.assign(7, 3.5);
    CHECK(capacities(plain, 93, 2, 7) == capacities(equal, 93, 2, 7));
  }
  const auto free = capacities({.share = {1, 2, 3}}, 10, 1, 3);
  CHECK(free == std::vector<Index>(3, std::numeric_limits<Index>::max()));
}

TEST_CASE("each expert keeps as many tokens as its own capacity says", "[plan][capacity]") {
  // 12 choices of 3 experts, four each; shares 1 : 2 : 3 leave room for 2, 4 and 6.
  std::vector<std::vector<std::int32_t>> choices;
  for (int t = 0; t < 12; ++t) choices.push_back({t % 3});
  for (const auto order : {moe::DropOrder::position, moe::DropOrder::weight}) {
    const moe::Plan plan = plan_of(3, choices, {.factor = 1, .order = order, .share = {1, 2, 3}});
    CHECK(plan.load(0) == 2);
    CHECK(plan.load(1) == 4);
    CHECK(plan.load(2) == 4);
    CHECK(plan.dropped() == 2);
    CHECK(plan.limit == std::vector<Index>{2, 4, 6});
    CHECK(plan.capacity == 6);
    const std::int32_t first_kept = order == moe::DropOrder::position ? 0 : 6;  // weights ascend
    CHECK(plan.token[0] == first_kept);
  }
  // What overflows an expert goes where the shares left room.
  const moe::Plan plan =
      plan_of(3, choices, {.factor = 1, .overflow = moe::Overflow::next_best, .share = {1, 2, 3}});
  CHECK(plan.count() == 12);
  CHECK(plan.load(2) == 6);
}

TEST_CASE("a group of tokens has the shares of its own capacity", "[plan][capacity]") {
  std::vector<std::vector<std::int32_t>> choices(8, std::vector<std::int32_t>{0});
  const moe::Plan plan = plan_of(2, choices, {.factor = 1, .group_size = 4, .share = {1, 3}});
  CHECK(plan.load(0) == 2);  // one of each four
  CHECK(plan.token[0] == 0);
  CHECK(plan.token[1] == 4);
}

TEST_CASE("capacity shares whose sum overflows are still shares", "[plan][capacity]") {
  std::vector<Index> limit, expected;
  moe::expert_capacities({.factor = 1, .share = {1, 1}}, 6, 1, 2, true, expected);
  moe::expert_capacities({.factor = 1, .share = {1.5e308, 1.5e308}}, 6, 1, 2, true, limit);
  CHECK(limit == expected);
  moe::expert_capacities({.factor = 1, .share = {1.5e308, 1}}, 0, 1, 2, true, limit);
  CHECK(limit == std::vector<Index>{0, 0});
}

TEST_CASE("capacity shares must be positive, and one for each expert", "[plan][capacity]") {
  CHECK(sentence_of([] {
          moe::check_capacity("f", {.share = {1, 0}});
        }) == "f: a capacity share is 0.000000, expected a finite value above 0");
  CHECK(sentence_of([] {
          plan_of(3, {{0}}, {.factor = 1, .share = {1, 2}});
        }) == "moe::make_plan: capacity share has 2 values, the number of experts is 3");
  CHECK(sentence_of([] { moe::shares_of_kinds(2, 1, 0); }) ==
        "moe::shares_of_kinds: tau is 0.000000, expected a finite value above 0");
  CHECK(sentence_of([] { moe::shares_of_kinds(2, -1, 1); }) ==
        "moe::shares_of_kinds: 2 FFNs and -1 others, expected at least 0 of each");
}

}  // namespace moe_test
