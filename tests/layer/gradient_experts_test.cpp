// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Gradients of whole layers of every expert kind and activation.
#include "layer/gradient_cases.hpp"
#include "moe/moe.hpp"

namespace moe_test {
namespace {

template <template <class, class> class ExpertType, class Act>
void check() {
  for (const bool bias : {false, true}) {
    check_layer_gradients<ExpertType<double, Act>>(
        {.t = 6, .d = 4, .h = 5, .e = 4, .k = 2, .expert_bias = bias, .seed = 21});
  }
  // Sizes that fill no register and no block evenly.
  check_layer_gradients<ExpertType<double, Act>>(
      {.t = 11, .d = 19, .h = 35, .e = 5, .k = 2, .seed = 22}, {}, 40);
}

}  // namespace

TEST_CASE("a layer of Ffn experts has the gradients of its differences", "[layer][gradient]") {
  SECTION("Identity") { check<moe::Ffn, moe::Identity>(); }
  SECTION("Relu") { check<moe::Ffn, moe::Relu>(); }
  SECTION("Gelu") { check<moe::Ffn, moe::Gelu>(); }
  SECTION("GeluTanh") { check<moe::Ffn, moe::GeluTanh>(); }
  SECTION("Silu") { check<moe::Ffn, moe::Silu>(); }
}

TEST_CASE("a layer of GatedFfn experts has the gradients of its differences", "[layer][gradient]") {
  SECTION("Identity") { check<moe::GatedFfn, moe::Identity>(); }
  SECTION("Relu") { check<moe::GatedFfn, moe::Relu>(); }
  SECTION("Gelu") { check<moe::GatedFfn, moe::Gelu>(); }
  SECTION("GeluTanh") { check<moe::GatedFfn, moe::GeluTanh>(); }
  SECTION("Silu") { check<moe::GatedFfn, moe::Silu>(); }
}

}  // namespace moe_test
