// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Forward at the corners of the shape space, against the oracle.
#include "layer/forward_cases.hpp"
#include "moe/moe.hpp"

namespace moe_test {
namespace {

template <class S>
void check(const Case& c) {
  check_forward_case<S, moe::GatedFfn<S>>(c);
}

}  // namespace

TEMPLATE_TEST_CASE("a layer works for any number of experts around the powers of two", "[layer]",
                   float, double) {
  for (const Index e : {1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 130}) {
    check<TestType>({.t = 9, .d = 7, .h = 5, .e = e, .k = std::min<Index>(e, 3), .seed = 9});
  }
}

TEMPLATE_TEST_CASE("a layer works when every token takes every expert", "[layer]", float, double) {
  for (const Index e : {1, 2, 5, 65}) {
    check<TestType>({.t = 6, .d = 5, .h = 9, .e = e, .k = e, .seed = 10});
  }
}

TEMPLATE_TEST_CASE("a layer works with one token, one column and one hidden unit", "[layer]", float,
                   double) {
  for (const Index t : {0, 1, 2}) {
    for (const Index d : {1, 17}) {
      for (const Index h : {1, 33}) check<TestType>({.t = t, .d = d, .h = h, .seed = 11});
    }
  }
}

TEMPLATE_TEST_CASE("one expert may take all tokens and the others none", "[layer]", float, double) {
  const Case c{.t = 37, .d = 11, .h = 13, .e = 9, .k = 1, .flooded = true, .seed = 12};
  check<TestType>(c);
  using Layer = LayerOf<TestType, moe::GatedFfn<TestType>>;
  const Layer layer = make_layer<Layer>(c);
  Matrix<TestType> y(c.t, c.d);
  typename Layer::Workspace workspace;
  layer.forward(random_matrix<TestType>(c.t, c.d, 1), y, workspace);
  CHECK(workspace.plan.load(c.e / 2) == c.t);
}

TEMPLATE_TEST_CASE("a layer with capacity drops the same tokens as the textbook", "[layer]", float,
                   double) {
  for (const double factor : {0.01, 0.3, 0.5, 1.0, 1.25, 100.0}) {
    for (const bool flooded : {false, true}) {
      check<TestType>({.t = 24,
                       .d = 6,
                       .h = 7,
                       .e = 6,
                       .k = 2,
                       .capacity = factor,
                       .masked = flooded,
                       .flooded = flooded,
                       .seed = 13});
    }
  }
}

TEMPLATE_TEST_CASE("x and y may be maps with any distance between rows", "[layer]", float, double) {
  using Layer = LayerOf<TestType, moe::GatedFfn<TestType>>;
  const Case c{.t = 5, .d = 3, .h = 4, .e = 3, .k = 2};
  const Layer layer = make_layer<Layer>(c);
  const Matrix<TestType> x = random_matrix<TestType>(c.t, c.d, 2);
  Matrix<TestType> y(c.t, c.d);
  typename Layer::Workspace workspace;
  layer.forward(x, y, workspace);

  using Map = Eigen::Map<Matrix<TestType>, 0, Eigen::OuterStride<>>;
  std::vector<TestType> x_memory(64, 7), y_memory(64, 7);
  Map x_map(x_memory.data() + 1, c.t, c.d, Eigen::OuterStride<>(11));
  Map y_map(y_memory.data() + 2, c.t, c.d, Eigen::OuterStride<>(9));
  x_map = x;
  layer.forward(x_map, y_map, workspace);
  CHECK(same_bits(y, y_map));
  CHECK(std::count(y_memory.begin(), y_memory.end(), TestType(7)) == 64 - c.t * c.d);

  // One row read many times.
  const Eigen::Map<const Matrix<TestType>, 0, Eigen::OuterStride<>> repeated(
      x.data(), c.t, c.d, Eigen::OuterStride<>(0));
  Matrix<TestType> z(c.t, c.d);
  layer.forward(repeated, z, workspace);
  for (Index t = 0; t < c.t; ++t) CHECK(same_bits(z.row(t), y.row(0)));
}

}  // namespace moe_test
