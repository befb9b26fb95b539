// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/plan/capacity.hpp"

#include "support/catch.hpp"
#include "support/compare.hpp"

namespace moe_test {
namespace {

using moe::CapacityFormula;
using moe::expert_capacity;
constexpr Index kNoLimit = std::numeric_limits<Index>::max();

}  // namespace

TEST_CASE("every published capacity is its project's formula", "[plan][capacity]") {
  // Integer arithmetic on f = n / 4, as each project's code has it.
  const auto ceil_div = [](Index a, Index b) { return (a + b - 1) / b; };
  const auto up4 = [](Index c) { return (c + 3) / 4 * 4; };
  for (const Index n : {1, 2, 4, 5, 8, 13}) {
    for (const Index t : {0, 1, 7, 8, 64, 101}) {
      for (const Index k : {1, 2, 5}) {
        for (const Index e : {1, 4, 7, 65, 512}) {
          const auto c = [&](CapacityFormula formula) {
            return expert_capacity({.factor = static_cast<double>(n) / 4, .formula = formula}, t, k,
                                   e);
          };
          INFO("f " << n << "/4 T " << t << " K " << k << " E " << e);
          using F = CapacityFormula;
          const Index full = ceil_div(n * t * k, 4 * e);
          CHECK(c(F::megatron) == full);
          CHECK(c(F::deepspeed) == std::max<Index>(full, 4));
          CHECK(c(F::vmoe) == up4(full));
          CHECK(c(F::megablocks) == n * t * k / (4 * e));
          CHECK(c(F::mesh) == std::max<Index>(std::min(t, n * t / (4 * e)), 4));
          CHECK(c(F::lingvo) == std::max<Index>(up4(n * t / (4 * e)), 4));
          CHECK(c(F::tutel) == k * (n * ceil_div(t, e) / 4));
          CHECK(c(F::fairseq) == n * ceil_div(t, e) / 4);
          CHECK(c(F::fastmoe_gshard) == ceil_div(n * t, 4) * k / e);
          CHECK(c(F::fastmoe_switch) == ceil_div(n * t, 4 * e));
          CHECK(c(F::praxis_expert_choice) == n * (t / e) / 4);
          CHECK(c(F::fixed) == n / 4);
          const Index twice = 2 * n * t * k, whole = twice / (8 * e), rest = twice % (8 * e);
          const bool up = rest > 4 * e || (rest == 4 * e && whole % 2 == 1);
          CHECK(c(F::vmoe_round) == up4(whole + (up ? 1 : 0)));
        }
      }
    }
  }
}

TEST_CASE("a whole product is not pushed over by its last bit", "[plan][capacity]") {
  CHECK(expert_capacity({.factor = 1.1}, 10, 1, 1) == 11);
  CHECK(expert_capacity({.factor = 0.7}, 10, 1, 1) == 7);
  // 0.29 * 100 is 28.999999999999996 in binary.
  CHECK(expert_capacity({.factor = 0.29, .formula = CapacityFormula::megablocks}, 100, 1, 1) == 29);
}

TEST_CASE("evaluation has a factor of its own", "[plan][capacity]") {
  const moe::CapacityOptions both{.factor = 1.0, .evaluation_factor = 2.0};
  CHECK(expert_capacity(both, 8, 1, 4, /*training=*/true) == 2);
  CHECK(expert_capacity(both, 8, 1, 4, /*training=*/false) == 4);
  CHECK(expert_capacity({.factor = 1.0}, 8, 1, 4, false) == 2);
  CHECK(expert_capacity({.evaluation_factor = 1.0}, 8, 1, 4, true) == kNoLimit);
  CHECK(expert_capacity({.evaluation_factor = 1.0}, 8, 1, 4, false) == 2);
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(expert_capacity({.factor = 1.0, .evaluation_factor = infinity}, 8, 1, 4, false) ==
        kNoLimit);
  // NLLB: a share of all tokens in evaluation.
  const moe::CapacityOptions nllb{
      .factor = 2.0, .evaluation_factor = 0.25, .formula = CapacityFormula::fairseq};
  CHECK(expert_capacity(nllb, 101, 2, 8, true) == 26);
  CHECK(expert_capacity(nllb, 101, 2, 8, false) == 26);
  CHECK(expert_capacity(nllb, 40, 2, 8, true) == 10);
  CHECK(expert_capacity(nllb, 44, 2, 8, false) == 11);
}

TEST_CASE("minimum and multiple replace the formula's own", "[plan][capacity]") {
  CHECK(expert_capacity({.factor = 0.1, .minimum = 3}, 8, 1, 4) == 3);
  CHECK(expert_capacity({.factor = 1.0, .multiple = 8}, 20, 1, 4) == 8);
  CHECK(expert_capacity({.factor = 0.1, .minimum = 3, .multiple = 2}, 8, 1, 4) == 4);
  CHECK(expert_capacity({.factor = 1.0, .formula = CapacityFormula::deepspeed, .minimum = 0}, 8, 1,
                        8) == 1);
  CHECK(expert_capacity({.factor = 1.0, .formula = CapacityFormula::vmoe, .multiple = 1}, 9, 1,
                        8) == 2);
}

TEST_CASE("a capacity of any size is no overflow", "[plan][capacity]") {
  CHECK(expert_capacity({.factor = 1e300}, 8, 2, 4) == kNoLimit);
  CHECK(expert_capacity({.factor = 1e300, .formula = CapacityFormula::fixed}, 8, 2, 4) == kNoLimit);
  CHECK(expert_capacity({.factor = 1e-300, .formula = CapacityFormula::fixed}, 8, 2, 4) == 0);
}

TEST_CASE("bad capacity options are sentences", "[plan][capacity][misuse]") {
  const auto sentence = [](const moe::CapacityOptions& options) {
    return sentence_of([&] { moe::check_capacity("here", options); });
  };
  CHECK(sentence({.evaluation_factor = 0}) ==
        "here: capacity evaluation_factor is 0.000000, expected a value above 0 (infinity for a "
        "dropless evaluation)");
  CHECK(sentence({.minimum = -1}) == "here: capacity minimum is -1, expected at least 0");
  CHECK(sentence({.multiple = 0}) == "here: capacity multiple is 0, expected at least 1");
  CHECK(sentence({.group_size = -2}) == "here: capacity group_size is -2, expected at least 0");
  CHECK(sentence({.reroute_tries = -2}) ==
        "here: capacity reroute_tries is -2, expected at least 0");
  CHECK(sentence({.fallback_expert = -1}) ==
        "here: capacity fallback_expert is -1, expected at least 0");
  CHECK(sentence({.renormalize_floor = 0}) ==
        "here: capacity renormalize_floor is 0.000000, expected a finite value above 0");
}

}  // namespace moe_test
