// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The same bits of a dense layer as of a sparse one with all experts, over threads, batches and
// padding; NaN in one token.
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

TEMPLATE_TEST_CASE("the dense layer gives the same bits on any threads and in any batch",
                   "[layer][dense][bitwise]", float, double) {
  using S = TestType;
  const Case c{.t = 61, .d = 40, .masked = true};
  const std::vector<std::uint8_t> mask = random_mask(c);
  const Matrix<S> x = random_matrix<S>(c.t, c.d, 1);
  auto layer = make_dense<Dense<S>>(40, 50, 6);
  check_shape_threads(layer, x, {}, kLosses);
  check_shape_threads(layer, x, {.mask = mask}, kLosses);
  auto scaling = make_dense<Scaling<S>>(40, 1, 6);
  check_shape_threads(scaling, x, {.mask = mask}, kLosses);
  const Matrix<S> dy = random_matrix<S>(c.t, c.d, 2);
  const Step<S> all = shape_step(layer, x, dy);
  for (const Index size : {1, 2, 9, 40}) {
    const Index first = (c.t - size) / 2;
    const Step<S> part = shape_step(layer, Matrix<S>(x.middleRows(first, size)),
                                    Matrix<S>(dy.middleRows(first, size)));
    CHECK(same_bits(part.y, all.y.middleRows(first, size)));
    CHECK(same_bits(part.dx, all.dx.middleRows(first, size)));
  }
}

TEMPLATE_TEST_CASE("NaN stays in its token of the dense layer, and padding may hold anything",
                   "[layer][dense]", float, double) {
  using S = TestType;
  const Case c{.t = 20, .d = 9, .masked = true};
  const std::vector<std::uint8_t> mask = random_mask(c);
  Matrix<S> x = random_matrix<S>(c.t, c.d, 1);
  auto layer = make_dense<Dense<S>>(9, 8, 3);
  auto scaling = make_dense<Scaling<S>>(9, 1, 3);
  check_shape_padding(layer, x, {.mask = mask}, kLosses);
  check_shape_padding(scaling, x, {.mask = mask}, kLosses);
  const Step<S> clean = shape_step(layer, x, x);
  x(7, 2) = std::numeric_limits<S>::quiet_NaN();
  const Step<S> spoilt = shape_step(layer, x, clean.y);
  CHECK(spoilt.y.row(7).array().isNaN().all());
  CHECK(same_bits(spoilt.y.topRows(7), clean.y.topRows(7)));
  CHECK(same_bits(spoilt.y.bottomRows(12), clean.y.bottomRows(12)));
}

}  // namespace moe_test
