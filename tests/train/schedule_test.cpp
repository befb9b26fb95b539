// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/train/schedule.hpp"

#include "support/catch.hpp"

namespace moe_test {

TEST_CASE("warm-up rises in a line to the peak, its first step not zero", "[train]") {
  const moe::WarmupCosine lr{.peak = 2, .warmup_steps = 4, .total_steps = 12, .floor = 0.5};
  CHECK(lr.at(0) == Approx(0.5));
  CHECK(lr.at(1) == Approx(1));
  CHECK(lr.at(3) == Approx(2));
}

TEST_CASE("after the warm-up comes half a cosine to the floor, which stays", "[train]") {
  const moe::WarmupCosine lr{.peak = 2, .warmup_steps = 4, .total_steps = 12, .floor = 0.5};
  CHECK(lr.at(4) == Approx(2));
  CHECK(lr.at(6) == Approx(0.5 + 1.5 * (1 + std::sqrt(0.5)) / 2));
  CHECK(lr.at(8) == Approx(1.25));
  CHECK(lr.at(12) == Approx(0.5));
  CHECK(lr.at(1000) == Approx(0.5));
}

TEST_CASE("a schedule without warm-up starts at the peak", "[train]") {
  const moe::WarmupCosine lr{.peak = 3, .warmup_steps = 0, .total_steps = 10};
  CHECK(lr.at(0) == Approx(3));
  CHECK(lr.at(5) == Approx(1.5));
  CHECK(lr.at(10) == Approx(0).margin(1e-15));
}

TEST_CASE("a schedule that is all warm-up stays finite", "[train]") {
  const moe::WarmupCosine lr{.peak = 1, .warmup_steps = 5, .total_steps = 5};
  CHECK(lr.at(4) == Approx(1));
  CHECK(lr.at(5) == Approx(1));
  CHECK(lr.at(6) == Approx(0).margin(1e-15));
}

TEST_CASE("the temperature falls by equal factors and then stays", "[train]") {
  const moe::TemperatureAnnealing temperature{.start = 8, .end = 0.5, .steps = 4};
  const double expected[] = {8, 4, 2, 1, 0.5, 0.5};
  for (int step = 0; step < 6; ++step) CHECK(temperature.at(step) == Approx(expected[step]));
  CHECK(moe::TemperatureAnnealing{.start = 1, .end = 4, .steps = 2}.at(1) == Approx(2));
  CHECK(moe::TemperatureAnnealing{.start = 3, .end = 2, .steps = 0}.at(1) == Approx(2));
}

}  // namespace moe_test
