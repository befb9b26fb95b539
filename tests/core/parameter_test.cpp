// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/core/parameter.hpp"

#include "moe/moe.hpp"
#include "support/catch.hpp"
#include "support/layers.hpp"

namespace moe_test {

TEST_CASE("a parameter has no gradient until one is asked for, then keeps it", "[core]") {
  moe::Parameter<float> p(2, 3);
  CHECK(p.value.isZero(0));
  CHECK(p.grad.size() == 0);
  CHECK_FALSE(p.empty());
  CHECK(moe::Parameter<float>().empty());
  p.ensure_grad();
  CHECK(p.grad.rows() == 2);
  CHECK(p.grad.isZero(0));
  p.grad.setOnes();
  p.ensure_grad();
  CHECK(p.grad.isOnes(0));
}

TEST_CASE("a layer shows its parameters in a fixed order under full names", "[core][layer]") {
  auto layer = make_layer<LayerOf<float, moe::Ffn<float>>>({.d = 3, .h = 5, .e = 2, .k = 1});
  std::vector<std::string> names;
  layer.visit_parameters([&](std::string_view name, auto&) { names.emplace_back(name); });
  CHECK(names == std::vector<std::string>{"router.weight", "router.bias", "experts.0.w_in",
                                          "experts.0.w_out", "experts.0.b_in", "experts.0.b_out",
                                          "experts.1.w_in", "experts.1.w_out", "experts.1.b_in",
                                          "experts.1.b_out"});
  CHECK(moe::parameter_count(layer) == 2 * 3 + 2 + 2 * (2 * 15 + 5 + 3));
}

TEST_CASE("zero_grad empties the gradients that exist and makes no others", "[core]") {
  auto layer = make_layer<LayerOf<float, moe::Ffn<float>>>({.d = 3, .h = 5, .e = 2, .k = 1});
  layer.router().weight.ensure_grad();
  layer.router().weight.grad.setOnes();
  moe::zero_grad(layer);
  CHECK(layer.router().weight.grad.isZero(0));
  CHECK(layer.router().weight.grad.rows() == 2);
  CHECK(layer.expert(0).w_in.grad.size() == 0);
}

TEST_CASE("the same seed makes the same layer, another seed another", "[core][layer]") {
  using Layer = LayerOf<double, moe::GatedFfn<double>>;
  const Case c{};
  const Layer a = make_layer<Layer>(c), b = make_layer<Layer>(c);
  CHECK(same_bits(a.router().weight.value, b.router().weight.value));
  CHECK(same_bits(a.expert(3).w_out.value, b.expert(3).w_out.value));
  CHECK_FALSE(same_bits(a.expert(3).w_out.value, a.expert(2).w_out.value));
  CHECK_FALSE(
      same_bits(a.router().weight.value, make_layer<Layer>({.seed = 2}).router().weight.value));
}

}  // namespace moe_test
