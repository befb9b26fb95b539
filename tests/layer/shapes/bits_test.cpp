// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every layer shape over threads, batches and padding: not a bit of a token changes.
#include "layer/shapes/token_shapes.hpp"

namespace moe_test {

TEMPLATE_TEST_CASE("every layer shape has the same bits on any threads", "[layer][bitwise]", float,
                   double) {
  using S = TestType;
  const Case c{.t = 61, .masked = true};
  const std::vector<std::uint8_t> mask = random_mask(c);
  for_token_shapes<S>({40, 50, 6, 2, 33}, [&](auto& layer, const auto& losses) {
    for (const Index tokens : {0, 1, 61}) {
      check_shape_threads(layer, random_matrix<S>(tokens, 40, 1), {}, losses);
    }
    check_shape_threads(layer, random_matrix<S>(61, 40, 1), {.mask = mask}, losses);
  });
}

TEMPLATE_TEST_CASE("in every layer shape a token has the same bits in any batch",
                   "[layer][bitwise]", float, double) {
  using S = TestType;
  for_token_shapes<S>({40, 50, 6, 2, 33}, [&](auto& layer, const auto&) {
    check_shape_batches(layer, random_matrix<S>(60, 40, 1));
  });
}

}  // namespace moe_test
