// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every layer shape at its edges: nothing, padding, NaN, one expert, all experts, no room.
#include "layer/shapes/token_shapes.hpp"

namespace moe_test {
namespace {

const ShapeSizes kSizes[] = {{},
                             {.d = 1, .h = 1, .e = 1, .k = 1, .latent = 1},
                             {.d = 5, .h = 3, .e = 3, .k = 3, .latent = 9},
                             {.capacity = {.factor = 0.6}}};

}  // namespace

TEST_CASE("nothing, and padding alone, through every layer shape", "[layer]") {
  for (const ShapeSizes& sizes : kSizes) {
    for_token_shapes<float>(
        sizes, [](auto& layer, const auto& losses) { check_shape_nothing(layer, losses); });
  }
}

TEMPLATE_TEST_CASE("NaN stays in its token of every layer shape, padding may hold anything",
                   "[layer]", float, double) {
  using S = TestType;
  const std::vector<std::uint8_t> mask = random_mask({.t = 20, .masked = true});
  for (const ShapeSizes& sizes : kSizes) {
    for_token_shapes<S>(sizes, [&](auto& layer, const auto& losses) {
      const Matrix<S> x = random_matrix<S>(20, sizes.d, 1);
      check_shape_padding(layer, x, {.mask = mask}, losses);
      if (!sizes.capacity.factor) check_shape_nan(layer, x);
    });
  }
}

TEST_CASE("one token, one expert and all experts through every layer shape", "[layer][gradient]") {
  for (const ShapeSizes& sizes : {kSizes[1], kSizes[2]}) {
    for_token_shapes<double>(sizes, [&](auto& layer, const auto& losses) {
      for (const Index tokens : {1, 4}) {
        check_shape_gradients(layer, random_matrix<double>(tokens, sizes.d, 5), {}, losses, 40);
      }
    });
  }
}

TEST_CASE("tokens that no expert has room for are zero in latent and concatenating layers",
          "[layer]") {
  const auto check = [](auto layer) {
    const Matrix<double> x = random_matrix<double>(12, layer.model_dim(), 1);
    layer.set_capacity({.factor = 0.01, .formula = moe::CapacityFormula::megablocks});
    const Step<double> none = shape_step(layer, x, random_dy(layer, 12));
    CHECK(none.y.isZero(0));
    CHECK(none.dx.isZero(0));
    for (const auto& [name, gradient] : none.gradient) CHECK(gradient.isZero(0));
    // The losses still reach the router, and through it the tokens.
    check_shape_gradients(layer, x, {}, kLosses, 40);
    layer.set_capacity({});
    CHECK_FALSE(shape_step(layer, x, random_dy(layer, 12)).y.row(11).isZero(0));
  };
  check(make_latent<Latent<double>>({}));
  check(make_concat<Concat<double>>({}));
}

}  // namespace moe_test
