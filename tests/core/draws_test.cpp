// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/core/draws.hpp"

#include "support/catch.hpp"

namespace moe_test {

using moe::Draws;
using moe::Index;

TEST_CASE("draws depend on seed, step, purpose, token and column, and on nothing else", "[draws]") {
  const moe::Batch batch{.seed = 1, .step = 2, .first_token = 10};
  const double value = Draws(batch, "a").uniform(5, 3);
  CHECK(value == Draws(batch, "a").uniform(5, 3));
  CHECK(value == Draws({.seed = 1, .step = 2, .first_token = 15}, "a").uniform(0, 3));
  CHECK(value ==
        Draws({.seed = 1, .step = 2, .first_token = 10, .training = true}, "a").uniform(5, 3));
  CHECK(value != Draws({.seed = 2, .step = 2, .first_token = 10}, "a").uniform(5, 3));
  CHECK(value != Draws({.seed = 1, .step = 3, .first_token = 10}, "a").uniform(5, 3));
  CHECK(value != Draws(batch, "b").uniform(5, 3));
  CHECK(value != Draws(batch, "a").uniform(6, 3));
  CHECK(value != Draws(batch, "a").uniform(5, 4));
}

TEST_CASE("a row picked out of a batch draws what it drew there", "[draws]") {
  const std::int64_t places[] = {15, 3, 11};
  const Draws whole({.seed = 1, .step = 2, .first_token = 3}, "a");
  const Draws picked({.seed = 1, .step = 2, .first_token = 99, .token_places = places}, "a");
  CHECK(picked.uniform(0, 4) == whole.uniform(12, 4));
  CHECK(picked.uniform(1, 4) == whole.uniform(0, 4));
  CHECK(picked.normal(2, 0) == whole.normal(8, 0));
}

TEST_CASE("draws have the moments of their distributions", "[draws]") {
  const Draws draws({.seed = 3}, "moments");
  constexpr Index kCount = 40000;
  double uniform = 0, normal = 0, normal2 = 0, gumbel = 0, gumbel2 = 0, low = 1, high = 0;
  for (Index t = 0; t < kCount / 10; ++t) {
    for (Index i = 0; i < 10; ++i) {
      const double u = draws.uniform(t, i), n = draws.normal(t, i), g = draws.gumbel(t, i);
      low = std::min(low, u);
      high = std::max(high, u);
      uniform += u / kCount;
      normal += n / kCount;
      normal2 += n * n / kCount;
      gumbel += g / kCount;
      gumbel2 += g * g / kCount;
    }
  }
  CHECK(low > 0);
  CHECK(high < 1);
  CHECK(uniform == Approx(0.5).margin(0.01));
  CHECK(normal == Approx(0).margin(0.02));
  CHECK(normal2 == Approx(1).margin(0.03));
  CHECK(gumbel == Approx(0.5772).margin(0.03));                     // Euler's constant
  CHECK(gumbel2 - gumbel * gumbel == Approx(1.6449).margin(0.06));  // pi^2 / 6
}

}  // namespace moe_test
