// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The same bits of a hierarchical layer with noise over threads and batches.
#include "layer/hierarchical_cases.hpp"

namespace moe_test {

TEST_CASE("the hierarchical layer gives the same bits on any number of threads",
          "[layer][hierarchical][bitwise]") {
  using S = float;
  const Case c{.t = 150, .masked = true};
  const std::vector<std::uint8_t> mask = random_mask(c);
  auto layer = make_levels<NoisyLevels<S>>({40, 50, 4, 2, 5, 2}, {.factor = 0.9});
  for (const Index tokens : {0, 1, 13, 150}) {
    const Matrix<S> x = random_matrix<S>(tokens, 40, 1);
    check_shape_threads(layer, x, {.seed = 4}, kLevelLosses);
  }
  check_shape_threads(layer, random_matrix<S>(150, 40, 1), {.mask = mask, .seed = 4}, kLevelLosses);
}

TEMPLATE_TEST_CASE("a token gives the same bits in any batch, its noise on both levels included",
                   "[layer][hierarchical][bitwise]", float, double) {
  using S = TestType;
  auto layer = make_levels<NoisyLevels<S>>({23, 30, 4, 2, 5, 2});
  const Matrix<S> x = random_matrix<S>(60, 23, 1), dy = random_matrix<S>(60, 23, 2);
  const Step<S> all = shape_step(layer, x, dy, {.seed = 4, .first_token = 100});
  for (const Index size : {1, 2, 9, 40}) {
    for (const Index first : {Index{0}, (60 - size) / 2, 60 - size}) {
      const Step<S> part = shape_step(layer, Matrix<S>(x.middleRows(first, size)),
                                      Matrix<S>(dy.middleRows(first, size)),
                                      {.seed = 4, .first_token = 100 + first});
      CHECK(same_bits(part.y, all.y.middleRows(first, size)));
      CHECK(same_bits(part.dx, all.dx.middleRows(first, size)));
    }
  }
  // Picked out of the batch in another order.
  const std::vector<Index> rows = {59, 3, 17, 4};
  const std::vector<std::int64_t> places = {159, 103, 117, 104};
  const Step<S> picks =
      shape_step(layer, picked(x, rows), picked(dy, rows), {.seed = 4, .token_places = places});
  CHECK(same_bits(picks.y, picked(all.y, rows)));
  CHECK(same_bits(picks.dx, picked(all.dx, rows)));
}

TEST_CASE("levels and groups draw noise of their own", "[layer][hierarchical]") {
  const auto layer = make_levels<NoisyLevels<double>>({.k = 3});  // everyone in every group
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  Matrix<double> y(6, 5);
  NoisyLevels<double>::Tape tape;
  layer.forward(x, y, tape, {.seed = 4});
  const double outer = tape.router_state.normal[0];
  const double first = tape.group(0).router_state.normal[0];
  const double second = tape.group(1).router_state.normal[0];
  CHECK(outer != first);
  CHECK(first != second);
  const auto twin = make_levels<NoisyLevels<double>>({.k = 3});
  CHECK(same_bits(layer.group(1).router().base.weight.value,
                  twin.group(1).router().base.weight.value));
  CHECK_FALSE(same_bits(layer.group(0).router().base.weight.value,
                        layer.group(1).router().base.weight.value));
}

}  // namespace moe_test
