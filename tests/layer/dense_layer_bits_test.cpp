// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The same bits of a dense layer as of a sparse one with all experts.
#include "layer/dense_cases.hpp"

namespace moe_test {

TEMPLATE_TEST_CASE("the dense layer has the bits of the sparse layer with all experts",
                   "[layer][dense][bitwise]", float, double) {
  using S = TestType;
  const auto compare = [](auto layer, bool masked) {
    auto twin = sparse_twin(layer);
    const Case c{.t = 37, .d = 21, .masked = masked};
    const std::vector<std::uint8_t> mask = random_mask(c);
    const Matrix<S> x = random_matrix<S>(c.t, c.d, 1), dy = random_matrix<S>(c.t, c.d, 2);
    const moe::Batch batch{.mask = mask};
    CHECK(same_bits(shape_step(layer, x, dy, batch, kLosses),
                    shape_step(twin, x, dy, batch, kLosses)));
  };
  for (const bool masked : {false, true}) {
    compare(make_dense<Dense<S>>(21, 18, 5), masked);
    compare(make_dense<Dense<S>>(21, 7, 11), masked);
    compare(make_dense<Scaling<S>>(21, 1, 5), masked);
  }
}

}  // namespace moe_test
