// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Gradients of whole layers through every way of routing: K, weights, temperature, capacity, mask,
// balance losses.
#include "layer/gradient_cases.hpp"
#include "moe/moe.hpp"

namespace moe_test {
namespace {

void check(const Case& c, Losses losses = {}) {
  check_layer_gradients<moe::GatedFfn<double>>(c, losses);
}

constexpr Losses kBoth{.balance = 0.3, .z = 0.2};

}  // namespace

TEST_CASE("gradients are right for K from 1 to E, renormalised or not", "[layer][gradient]") {
  for (const Index k : {1, 2, 3, 4}) {
    for (const bool renormalize : {false, true}) {
      for (const Losses losses : {Losses{}, kBoth}) {
        check({.t = 6, .k = k, .renormalize = renormalize, .seed = 31}, losses);
      }
    }
  }
}

TEST_CASE("gradients are right for one expert", "[layer][gradient]") {
  check({.t = 3, .e = 1, .k = 1, .seed = 32}, kBoth);
}

TEST_CASE("gradients are right with and without a router bias", "[layer][gradient]") {
  for (const bool bias : {false, true}) check({.router_bias = bias, .seed = 33}, kBoth);
}

TEST_CASE("gradients are right at any temperature", "[layer][gradient]") {
  for (const double temperature : {0.4, 1.7, 5.0}) {
    for (const bool renormalize : {false, true}) {
      check({.renormalize = renormalize, .temperature = temperature, .seed = 34}, kBoth);
    }
  }
}

TEST_CASE("gradients are right when capacity drops tokens", "[layer][gradient]") {
  for (const double factor : {0.1, 0.5, 0.9}) {
    for (const Index k : {1, 2}) {
      check({.t = 9, .k = k, .capacity = factor, .seed = 35});
      check({.t = 9, .k = k, .capacity = factor, .seed = 35}, kBoth);
    }
  }
}

TEST_CASE("gradients are right when some tokens are padding", "[layer][gradient]") {
  for (const std::uint64_t seed : {36u, 37u}) {
    check({.t = 9, .masked = true, .seed = seed}, kBoth);
    check({.t = 9, .capacity = 0.6, .masked = true, .seed = seed}, kBoth);
  }
}

TEST_CASE("gradients of each balance loss alone reach the router", "[layer][gradient]") {
  check({.t = 7, .seed = 38}, {.balance = 2});
  check({.t = 7, .seed = 38}, {.z = 2});
  check({.t = 7, .k = 1, .temperature = 1.5, .seed = 38}, {.balance = 2});
}

TEST_CASE("gradients are right with more experts than fit a 64-bit set", "[layer][gradient]") {
  check_layer_gradients<moe::Ffn<double>>({.t = 8, .d = 3, .h = 2, .e = 65, .k = 5, .seed = 39},
                                          kBoth, 30);
}

TEST_CASE("gradients are right at random settings", "[layer][gradient]") {
  for (std::uint64_t n = 400; n < 430; ++n) {
    Case c = random_case(n);
    c.t = std::min<Index>(c.t, 8);
    c.d = std::min<Index>(c.d, 9);
    c.h = std::min<Index>(c.h, 7);
    c.e = std::min<Index>(c.e, 9);
    c.k = std::min(c.k, c.e);
    c.flooded = false;
    check_layer_gradients<moe::GatedFfn<double, moe::Gelu>>(c, kBoth, 25);
  }
}

TEST_CASE("backward adds to the gradients, and zero_grad empties them", "[layer][gradient]") {
  using Layer = LayerOf<double, moe::GatedFfn<double>>;
  Layer layer = make_layer<Layer>({});
  const Matrix<double> x = random_matrix<double>(5, 4, 1), dy = random_matrix<double>(5, 4, 2);
  const Step<double> once = train_step(layer, x, dy);

  Layer::Tape tape;
  Matrix<double> y(5, 4), dx(5, 4);
  layer.forward(x, y, tape);
  layer.backward(dy, dx, tape);
  CHECK(same_bits(dx, once.dx));  // inputs' gradients are written, not added
  layer.visit_parameters([&](std::string_view name, auto& p) {
    CHECK(distance(p.grad, Matrix<double>(2 * once.gradient.at(std::string(name)))) < 1e-14);
  });
  moe::zero_grad(layer);
  layer.visit_parameters([](std::string_view, auto& p) { CHECK(p.grad.isZero(0)); });
}

TEST_CASE("gradients in float agree with those in double", "[layer][gradient]") {
  for (const Case& c :
       {Case{.t = 33, .d = 21, .h = 19, .e = 7, .k = 3, .seed = 41}, Case{.t = 50,
                                                                     .d = 8,
                                                                     .h = 40,
                                                                     .e = 3,
                                                                     .k = 1,
                                                                     .renormalize = false,
                                                                     .capacity = 0.8,
                                                                     .masked = true,
                                                                     .seed = 42}}) {
    INFO(c);
    auto narrow = make_layer<LayerOf<float, moe::GatedFfn<float>>>(c);
    auto wide = make_layer<LayerOf<double, moe::GatedFfn<double>>>(c);
    std::map<std::string, Matrix<float>> weights;
    narrow.visit_parameters(
        [&](std::string_view name, auto& p) { weights[std::string(name)] = p.value; });
    wide.visit_parameters([&](std::string_view name, auto& p) {
      p.value = weights.at(std::string(name)).template cast<double>();
    });
    const Matrix<float> x = decided_input(narrow, c, 1e-4), dy = random_matrix<float>(c.t, c.d, 3);
    const std::vector<std::uint8_t> mask = random_mask(c);
    const auto got = train_step(narrow, x, dy, {.mask = mask}, kBoth);
    const auto want = train_step(wide, Matrix<double>(x.cast<double>()),
                                 Matrix<double>(dy.cast<double>()), {.mask = mask}, kBoth);
    const double allowed = tolerance<float>(c.t + c.d + c.h + c.k);
    CHECK(distance(got.dx, want.dx) <= allowed);
    for (const auto& [name, gradient] : got.gradient) {
      INFO(name);
      CHECK(distance(gradient, want.gradient.at(name)) <= allowed);
    }
  }
}

}  // namespace moe_test
