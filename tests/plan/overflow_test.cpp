// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every drop order and overflow rule against the rule as one would say it.
#include "moe/plan/overflow.hpp"

#include <set>
#include <tuple>

#include "moe/gate/select.hpp"
#include "support/allocations.hpp"
#include "support/counted.hpp"
#include "support/layers.hpp"
#include "support/plans.hpp"

namespace moe_test {
namespace {

using moe::Batch;
using moe::CapacityOptions;
using moe::DropOrder;
using moe::kNoExpert;
using moe::Outcome;
using moe::Overflow;
using Ints = std::vector<std::int32_t>;

/// Softmax scores, top-k choices and renormalised weights of random logits.
struct RandomRouting {
  moe::Routing<double> routing;
  RandomRouting(Index t_count, Index k, Index e_count, std::uint64_t seed, double tilt = 0) {
    routing.resize(t_count, k, e_count);
    Matrix<double> logits = random_matrix<double>(t_count, e_count, seed);
    logits.col(e_count / 2).array() += tilt;
    for (Index t = 0; t < t_count; ++t) {
      moe::softmax_row(logits.row(t).data(), e_count, 1.0, routing.scores.row(t));
      moe::select_top_k(routing.scores.row(t), e_count, k, routing.expert.row(t));
      double sum = 0;
      for (Index j = 0; j < k; ++j) sum += routing.scores(t, routing.expert(t, j));
      for (Index j = 0; j < k; ++j) {
        routing.weight(t, j) = routing.scores(t, routing.expert(t, j)) / sum;
      }
    }
  }
};

/// What one assignment is served by: the smaller, the earlier. The rules, spelled out once more.
std::tuple<Index, double, Index> turn(const moe::Routing<double>& r, DropOrder order,
                                      const Batch& batch, Index t, Index j) {
  const std::int32_t e = r.expert(t, j);
  double best = 0;
  for (Index f = 0; f < r.num_experts(); ++f) best = std::max(best, r.scores(t, f));
  switch (order) {
    case DropOrder::position:
      return {0, 0, t};
    case DropOrder::choice:
      return {j, 0, t};
    case DropOrder::batch_priority:
      return {j, -best, t};
    case DropOrder::weight:
      return {0, -r.weight(t, j), t};
    case DropOrder::score:
      return {0, -r.scores(t, e), t};
    default:
      return {0, -moe::Draws(batch, "plan.drop_order").uniform(t, e), t};
  }
}

/// Among the assignments of one expert in one group: how many are served before (t, j).
Index ahead(const moe::Routing<double>& r, DropOrder order, const Batch& batch, Index group,
            Index t, Index j) {
  Index count = 0;
  for (Index u = 0; u < r.tokens(); ++u) {
    if (batch.is_padding(u) || u / group != t / group) continue;
    for (Index i = 0; i < r.top_k(); ++i) {
      count += r.expert(u, i) == r.expert(t, j) &&
               turn(r, order, batch, u, i) < turn(r, order, batch, t, j);
    }
  }
  return count;
}

/// CSR by expert, ascending tokens, inverse indices, outcomes that agree, nobody twice.
void check_invariants(const moe::Plan& plan, const moe::Routing<double>& r, const Batch& batch) {
  Index wrong = 0, computed = 0;
  for (Index e = 0; e < plan.num_experts(); ++e) {
    const auto first = static_cast<std::size_t>(plan.offset[static_cast<std::size_t>(e)]);
    const auto last = static_cast<std::size_t>(plan.offset[static_cast<std::size_t>(e) + 1]);
    for (std::size_t s = first; s < last; ++s) {
      wrong += s > first && plan.token[s] <= plan.token[s - 1];  // strictly: an expert once a token
      wrong += plan.origin[s] / plan.top_k != plan.token[s];
      wrong += plan.slot[static_cast<std::size_t>(plan.origin[s])] != static_cast<int>(s);
      wrong += plan.expert_of(plan.origin[s]) != e;
    }
  }
  for (Index a = 0; a < r.expert.size(); ++a) {
    const auto i = static_cast<std::size_t>(a);
    const Outcome outcome = plan.outcome[i];
    const std::int32_t chosen = r.expert(a / plan.top_k, a % plan.top_k);
    const bool runs =
        outcome == Outcome::kept || outcome == Outcome::rerouted || outcome == Outcome::fallback;
    computed += runs;
    wrong += runs != (plan.slot[i] >= 0);
    wrong +=
        (outcome == Outcome::none) != (chosen == kNoExpert || batch.is_padding(a / plan.top_k));
    wrong += outcome == Outcome::kept && plan.expert_of(a) != chosen;
    wrong += outcome == Outcome::rerouted && plan.expert_of(a) == chosen;
    wrong += plan.expert_of(a) == kNoExpert && runs;
  }
  CHECK(wrong == 0);
  CHECK(computed == plan.count());
  CHECK(plan.dropped() == plan.count_of(Outcome::dropped));
}

constexpr DropOrder kOrders[] = {DropOrder::position, DropOrder::choice, DropOrder::batch_priority,
                                 DropOrder::weight,   DropOrder::score,  DropOrder::random};

}  // namespace

TEST_CASE("each drop order keeps whom it promises to keep", "[plan][overflow]") {
  struct Sizes {
    Index t, k, e;
  };
  for (const DropOrder order : kOrders) {
    for (const Sizes n : {Sizes{23, 1, 4}, {23, 2, 5}, {17, 4, 4}, {40, 3, 65}, {60, 2, 512}}) {
      for (const double factor : {0.3, 0.8, 1.2}) {
        for (const Index group : {0, 7}) {
          for (const bool masked : {false, true}) {
            INFO("order " << static_cast<int>(order) << " T " << n.t << " K " << n.k << " E " << n.e
                          << " f " << factor << " group " << group << " mask " << masked);
            const RandomRouting made(n.t, n.k, n.e, 3, 1.5);
            std::vector<std::uint8_t> mask;
            for (Index t = 0; masked && t < n.t; ++t) mask.push_back(t % 3 == 1 ? 0 : 1);
            const Batch batch{.mask = mask, .seed = 9, .training = true};
            const CapacityOptions options{.factor = factor, .group_size = group, .order = order};
            moe::Plan plan;
            make_plan(made.routing, options, batch, plan);
            check_invariants(plan, made.routing, batch);
            const Index size = group == 0 ? n.t : group;
            Index wrong = 0;
            for (Index t = 0; t < n.t; ++t) {
              if (batch.is_padding(t)) continue;
              Index real = 0;
              for (Index u = t / size * size; u < std::min(n.t, t / size * size + size); ++u) {
                real += batch.is_padding(u) ? 0 : 1;
              }
              const auto capacity = static_cast<Index>(
                  std::ceil(factor * static_cast<double>(real * n.k) / static_cast<double>(n.e)));
              for (Index j = 0; j < n.k; ++j) {
                const bool keeps = ahead(made.routing, order, batch, size, t, j) < capacity;
                wrong += plan.outcome[static_cast<std::size_t>(t * n.k + j)] !=
                         (keeps ? Outcome::kept : Outcome::dropped);
              }
            }
            CHECK(wrong == 0);
          }
        }
      }
    }
  }
}

TEST_CASE("equal weights drop the later token, whatever the order: position is defined",
          "[plan][overflow][bug]") {
  // FastMoE prunes by atomics, Megatron's "position" by an unstable top-k.
  for (const DropOrder order : kOrders) {
    if (order == DropOrder::random) continue;
    RoutingOf made(2, {{0}, {0}, {0}, {0}});
    for (Index t = 0; t < 4; ++t) made.routing.weight(t, 0) = 0.5;
    moe::Plan plan;
    make_plan(made.routing, {.factor = 1, .order = order}, {}, plan);
    CHECK(plan.token == Ints{0, 1});
  }
}

TEST_CASE("GShard serves first choices first, Switch's position does not", "[plan][overflow]") {
  // Token 0 wants expert 1 second, token 1 wants it first; one place.
  const std::vector<std::vector<std::int32_t>> choices{{0, 1}, {1, 2}};
  CHECK(plan_of(4, choices, {.factor = 0.5, .order = DropOrder::position}).outcome[1] ==
        Outcome::kept);
  const moe::Plan plan = plan_of(4, choices, {.factor = 0.5, .order = DropOrder::choice});
  CHECK(plan.outcome ==
        std::vector<Outcome>{Outcome::kept, Outcome::dropped, Outcome::kept, Outcome::kept});
}

TEST_CASE("NaN scores and weights rank last and never break the order", "[plan][overflow]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const DropOrder order : kOrders) {
    RoutingOf made(2, {{0}, {0}, {0}, {0}, {0}, {0}});
    for (const Index t : {0, 3}) {
      made.routing.weight(t, 0) = nan;
      for (Index e = 0; e < 2; ++e) made.routing.scores(t, e) = nan;
    }
    for (const Overflow overflow : {Overflow::drop, Overflow::next_best}) {
      moe::Plan plan;
      make_plan(made.routing, {.factor = 0.5, .order = order, .overflow = overflow}, {}, plan);
      check_invariants(plan, made.routing, {});
      if (order == DropOrder::weight || order == DropOrder::score) {
        CHECK(plan.outcome[0] == Outcome::dropped);
        CHECK(plan.outcome[3] == Outcome::dropped);
      }
    }
  }
}

TEST_CASE("a random order depends on the seed and the token's place in the whole batch",
          "[plan][overflow]") {
  const RoutingOf made(1, std::vector<Ints>(50, Ints{0}));
  const auto kept = [&](const Batch& batch) {
    moe::Plan plan;
    make_plan(made.routing, {.factor = 0.2, .order = DropOrder::random}, batch, plan);
    return plan.token;
  };
  CHECK(kept({.seed = 1}) == kept({.seed = 1}));
  CHECK(kept({.seed = 1}) != kept({.seed = 2}));
  CHECK(kept({.seed = 1}) != kept({.seed = 1, .step = 1}));
  CHECK(kept({.seed = 1}) != kept({.seed = 1, .first_token = 50}));
  // Groups are whole batches of their own: split in two calls they decide alike.
  const RoutingOf half(1, std::vector<Ints>(25, Ints{0}));
  const CapacityOptions options{.factor = 0.2, .group_size = 25, .order = DropOrder::random};
  moe::Plan whole, first, second;
  make_plan(made.routing, options, {.seed = 1}, whole);
  make_plan(half.routing, options, {.seed = 1}, first);
  make_plan(half.routing, options, {.seed = 1, .first_token = 25}, second);
  first.outcome.insert(first.outcome.end(), second.outcome.begin(), second.outcome.end());
  CHECK(whole.outcome == first.outcome);
}

TEST_CASE("dropping is fair at random: every token keeps its place about equally often",
          "[plan][overflow]") {
  const RoutingOf made(1, std::vector<Ints>(10, Ints{0}));
  std::vector<int> count(10);
  moe::Plan plan;
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    make_plan(made.routing, {.factor = 0.3, .order = DropOrder::random}, {.seed = seed}, plan);
    for (const std::int32_t t : plan.token) ++count.at(static_cast<std::size_t>(t));
  }
  for (const int n : count) CHECK(n == Approx(600).margin(100));
}

TEST_CASE("next best is mesh's no token left behind", "[plan][overflow]") {
  // Rounds over all tokens: everybody's i-th choice before anybody's (i+1)-th.
  for (const double factor : {0.5, 1.0, 1.5}) {
    for (const Index tries : {0, 1, 3}) {
      constexpr Index kT = 37, kE = 6;
      const RandomRouting made(kT, 1, kE, 5, 2);
      const auto capacity = static_cast<Index>(std::ceil(factor * kT / kE));
      std::vector<std::int32_t> expected(kT, kNoExpert);
      std::vector<Index> used(kE);
      for (Index i = 0; i < (tries == 0 ? kE : tries + 1); ++i) {
        for (Index t = 0; t < kT; ++t) {
          Ints ranked(kE);
          moe::select_top_k(made.routing.scores.row(t), kE, kE, ranked.data());
          const auto e = static_cast<std::size_t>(ranked[static_cast<std::size_t>(i)]);
          std::int32_t& mine = expected[static_cast<std::size_t>(t)];
          if (mine != kNoExpert || used[e] == capacity) continue;
          mine = static_cast<std::int32_t>(e);
          ++used[e];
        }
      }
      moe::Plan plan;
      make_plan(made.routing,
                {.factor = factor, .overflow = Overflow::next_best, .reroute_tries = tries}, {},
                plan);
      check_invariants(plan, made.routing, {});
      Index wrong = 0;
      for (Index t = 0; t < kT; ++t) {
        wrong += plan.expert_of(t) != expected[static_cast<std::size_t>(t)];
      }
      CHECK(wrong == 0);
      if (factor >= 1 && tries == 0) CHECK(plan.dropped() == 0);
    }
  }
}

/// next_best by position, as its rules read: who asks whom, round by round.
Ints rerouted(const moe::Routing<double>& r, Index capacity, Index tries) {
  const Index k = r.top_k(), experts = r.num_experts();
  const auto size = static_cast<std::size_t>(r.expert.size());
  Ints target(size, kNoExpert);
  std::vector<Index> room(static_cast<std::size_t>(experts), capacity), asked(size, 0);
  const auto take = [&](std::size_t a, std::int32_t e) {
    if (room[static_cast<std::size_t>(e)] == 0) return;
    --room[static_cast<std::size_t>(e)];
    target[a] = e;
  };
  for (std::size_t a = 0; a < size; ++a) take(a, r.expert.data()[a]);
  for (Index round = 0; round < (tries == 0 ? experts : tries); ++round) {
    for (std::size_t a = 0; a < size; ++a) {
      if (target[a] != kNoExpert) continue;
      const Index t = static_cast<Index>(a) / k;
      Ints ranked(static_cast<std::size_t>(experts));
      moe::select_top_k(r.scores.row(t), experts, experts, ranked.data());
      for (bool done = false; !done && asked[a] < experts; ++asked[a]) {
        const std::int32_t e = ranked[static_cast<std::size_t>(asked[a])];
        bool mine = !(r.scores(t, e) > 0);
        for (Index j = 0; j < k; ++j) {
          mine |= r.expert(t, j) == e || target[static_cast<std::size_t>(t * k + j)] == e;
        }
        if (mine) continue;
        take(a, e);
        done = true;
      }
    }
  }
  return target;
}

TEST_CASE("next best with several choices, ties, bans and NaN is its rule, round by round",
          "[plan][overflow]") {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    for (const Index k : {1, 2, 3}) {
      for (const Index tries : {0, 1, 2, 5}) {
        const Index experts = 5 + static_cast<Index>(seed % 5);
        RandomRouting made(31, k, experts, seed, 2);
        for (Index t = 0; t < 31; ++t) {
          for (Index e = 0; e < experts; ++e) {
            double& s = made.routing.scores(t, e);
            s = std::round(8 * s) / 8;  // ties, and zeros: banned
            if ((t + e) % 13 == 0) s = std::numeric_limits<double>::quiet_NaN();
          }
        }
        for (const double factor : {0.4, 0.8, 1.1}) {
          moe::Plan plan;
          make_plan(made.routing,
                    {.factor = factor, .overflow = Overflow::next_best, .reroute_tries = tries}, {},
                    plan);
          const Ints expected = rerouted(made.routing, plan.capacity, tries);
          Ints got;
          for (Index a = 0; a < 31 * k; ++a) got.push_back(plan.expert_of(a));
          CHECK(got == expected);
        }
      }
    }
  }
}

TEST_CASE("asking again does not read all scores again", "[plan][overflow]") {
  constexpr Index kT = 128, kE = 64;
  moe::Routing<CountedReads> routing;
  routing.resize(kT, 1, kE);
  for (Index t = 0; t < kT; ++t) {
    routing.expert(t, 0) = 0;
    routing.weight(t, 0) = 1;
    for (Index e = 0; e < kE; ++e) routing.scores(t, e) = 1 / static_cast<double>(e + 1);
  }
  moe::Plan plan;
  CountedReads::reads = 0;
  make_plan(routing, {.factor = 1, .overflow = Overflow::next_best}, {}, plan);
  CHECK(plan.dropped() == 0);  // the last tokens are the last expert's: 63 rounds
  CHECK(CountedReads::reads < 64 * kT * kE);
}

TEST_CASE("rerouting gives a token distinct experts and displaces nobody", "[plan][overflow]") {
  for (const DropOrder order : kOrders) {
    for (const Index k : {2, 3, 6}) {
      const RandomRouting made(29, k, 6, 11, 2);
      const CapacityOptions drop{.factor = 0.9, .order = order};
      CapacityOptions reroute = drop;
      reroute.overflow = Overflow::next_best;
      moe::Plan dropped, plan;
      make_plan(made.routing, drop, {}, dropped);
      make_plan(made.routing, reroute, {}, plan);
      check_invariants(plan, made.routing, {});  // distinct: tokens ascend strictly
      Index wrong = 0;
      for (std::size_t a = 0; a < plan.outcome.size(); ++a) {
        wrong += (dropped.outcome[a] == Outcome::kept) != (plan.outcome[a] == Outcome::kept);
      }
      CHECK(wrong == 0);
      for (Index e = 0; e < 6; ++e) CHECK(plan.load(e) <= plan.capacity);
    }
  }
}

TEST_CASE("an expert with score 0 is banned and gets no rerouted token", "[plan][overflow]") {
  RoutingOf made(3, {{0}, {0}, {0}});
  for (Index t = 0; t < 3; ++t) made.routing.scores(t, 1) = 0;
  moe::Plan plan;
  make_plan(made.routing, {.factor = 1, .overflow = Overflow::next_best}, {}, plan);
  CHECK(plan.load(0) == 1);
  CHECK(plan.load(1) == 0);
  CHECK(plan.load(2) == 1);
  CHECK(plan.count_of(Outcome::dropped) == 1);
}

TEST_CASE("a fallback expert takes all overflow, without limit", "[plan][overflow]") {
  const CapacityOptions options{
      .factor = 0.5, .overflow = Overflow::fallback, .fallback_expert = 3};
  // ceil(0.5 * 5 * 2 / 4) = 2 each.
  const moe::Plan plan = plan_of(4, {{0, 1}, {0, 1}, {0, 1}, {3, 0}, {0, 3}}, options);
  CHECK(plan.outcome ==
        std::vector<Outcome>{Outcome::kept, Outcome::kept, Outcome::kept, Outcome::kept,
                             Outcome::fallback, Outcome::dropped,  // token 2 gets it once
                             Outcome::kept, Outcome::dropped,      // token 3 has it already
                             Outcome::dropped, Outcome::kept});
  CHECK(plan.load(3) == 3);
  CHECK(plan.expert_of(4) == 3);

  const RandomRouting made(50, 2, 7, 4, 1);
  moe::Plan big;
  make_plan(made.routing, options, {}, big);
  check_invariants(big, made.routing, {});
  CHECK(big.load(3) > big.capacity);
}

TEST_CASE("nothing overflows: every rule is the plain plan", "[plan][overflow]") {
  const RandomRouting made(20, 2, 5, 6);
  moe::Plan plain;
  make_plan(made.routing, {}, {}, plain);
  for (const DropOrder order : kOrders) {
    for (const Overflow overflow : {Overflow::drop, Overflow::next_best, Overflow::fallback}) {
      for (const Index group : {0, 4}) {
        moe::Plan plan;
        make_plan(made.routing,
                  {.factor = 20, .group_size = group, .order = order, .overflow = overflow}, {},
                  plan);
        CHECK(plan.token == plain.token);
        CHECK(plan.slot == plain.slot);
        CHECK(plan.outcome == plain.outcome);
      }
    }
  }
}

TEST_CASE("padding that the gate has routed is not counted and takes no place",
          "[plan][overflow][bug]") {
  // DeepSpeed masks only with K = 1, Megatron-LM counted padding (#1984, #2121, #2142).
  const std::vector<std::uint8_t> mask{0, 0, 1, 1};
  const std::vector<std::vector<std::int32_t>> choices{{0, 1}, {0, 1}, {0, 1}, {0, 1}};
  for (const DropOrder order : kOrders) {
    for (const Overflow overflow : {Overflow::drop, Overflow::next_best, Overflow::fallback}) {
      const moe::Plan plan = plan_of(
          2, choices, {.factor = 0.5, .order = order, .overflow = overflow}, {.mask = mask});
      CHECK(plan.capacity == 1);
      CHECK(plan.demanded == Ints{2, 2});
      for (std::size_t a = 0; a < 4; ++a) CHECK(plan.outcome[a] == Outcome::none);
      for (const std::int32_t t : plan.token) CHECK(t >= 2);
    }
  }
}

TEST_CASE("the demand that losses see is the one before capacity, under every rule",
          "[plan][overflow][bug]") {
  // Megatron-LM#1513 counted after the capacity mask.
  const RandomRouting made(40, 2, 6, 4, 2);
  Ints expected(6);
  for (Index a = 0; a < 80; ++a) {
    ++expected.at(static_cast<std::size_t>(made.routing.expert(a / 2, a % 2)));
  }
  for (const Overflow overflow : {Overflow::drop, Overflow::next_best, Overflow::fallback}) {
    moe::Plan plan;
    make_plan(made.routing, {.factor = 0.5, .order = DropOrder::choice, .overflow = overflow}, {},
              plan);
    CHECK(plan.demanded == expected);
  }
}

TEST_CASE("a sequence's drops do not depend on the sequences before it", "[plan][overflow][bug]") {
  // HF Switch counted per sequence, then, in transformers 5, over the flattened batch.
  const RandomRouting all(24, 2, 4, 8, 1.5);
  RandomRouting alone(8, 2, 4, 1);
  for (Index t = 0; t < 8; ++t) {
    std::copy_n(all.routing.expert.row(16 + t), 2, alone.routing.expert.row(t));
    std::copy_n(all.routing.weight.row(16 + t), 2, alone.routing.weight.row(t));
    std::copy_n(all.routing.scores.row(16 + t), 4, alone.routing.scores.row(t));
  }
  for (const DropOrder order : kOrders) {
    moe::Plan whole, one;
    const CapacityOptions options{.factor = 0.7, .group_size = 8, .order = order};
    make_plan(all.routing, options, {.seed = 2}, whole);
    make_plan(alone.routing, options, {.seed = 2, .first_token = 16}, one);
    CHECK(one.dropped() > 0);
    CHECK(std::equal(one.outcome.begin(), one.outcome.end(), whole.outcome.begin() + 32));
  }
}

TEST_CASE("all tokens padded, no tokens, capacity 0: empty plans", "[plan][overflow]") {
  const std::vector<std::uint8_t> mask{0, 0};
  for (const DropOrder order : kOrders) {
    for (const Overflow overflow : {Overflow::drop, Overflow::next_best, Overflow::fallback}) {
      const CapacityOptions options{.factor = 0.5, .order = order, .overflow = overflow};
      CHECK(plan_of(2, {{0, 1}, {1, 0}}, options, {.mask = mask}).count() == 0);
      CHECK(plan_of(2, {}, options).count() == 0);
      CapacityOptions none = options;
      none.formula = moe::CapacityFormula::fixed;
      const moe::Plan plan = plan_of(2, {{0}, {1}}, none);
      CHECK(plan.count() == (overflow == Overflow::fallback ? 2 : 0));
    }
  }
}

TEST_CASE("a fallback expert must exist", "[plan][overflow][misuse]") {
  CHECK(sentence_of([] {
          plan_of(2, {{0}}, {.factor = 1, .overflow = Overflow::fallback, .fallback_expert = 2});
        }) == "moe::make_plan: fallback_expert is 2, expected 0 to 1");
}

#if MOE_TEST_COUNTS_ALLOCATIONS
TEST_CASE("plans do not allocate from the second one on", "[plan][overflow]") {
  const RandomRouting even(50, 2, 7, 4), flooded(50, 2, 7, 4, 9);
  for (const DropOrder order : kOrders) {
    for (const Overflow overflow : {Overflow::drop, Overflow::next_best, Overflow::fallback}) {
      const CapacityOptions options{.factor = 0.7, .order = order, .overflow = overflow};
      moe::Plan plan;
      make_plan(flooded.routing, options, {}, plan);
      CHECK(allocations_in([&] {
              make_plan(even.routing, options, {}, plan);
              make_plan(flooded.routing, options, {}, plan);
            }) == 0);
    }
  }
}

TEST_CASE("a plan's first drops allocate nothing after a plan without any", "[plan][overflow]") {
  const RoutingOf even(5, std::vector<Ints>{{0, 1}, {2, 3}, {4, 0}, {1, 2}, {3, 4}}),
      flooded(5, std::vector<Ints>(5, Ints{0, 1}));
  for (const DropOrder order : kOrders) {
    for (const Overflow overflow : {Overflow::drop, Overflow::next_best, Overflow::fallback}) {
      const CapacityOptions options{.factor = 1, .order = order, .overflow = overflow};
      moe::Plan plan;
      make_plan(even.routing, options, {}, plan);
      REQUIRE(plan.count_of(Outcome::kept) == 10);
      CHECK(allocations_in([&] { make_plan(flooded.routing, options, {}, plan); }) == 0);
      CHECK(plan.count_of(Outcome::kept) < 10);
    }
  }
}
#endif

}  // namespace moe_test
