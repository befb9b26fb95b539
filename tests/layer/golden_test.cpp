// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Forward and every gradient against PyTorch; see tests/golden/make_golden.py.
#include "support/golden.hpp"

#include "moe/moe.hpp"
#include "support/catch.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

template <class S>
double allowed();
template <>
double allowed<double>() {
  return 1e-10;
}
template <>
double allowed<float>() {
  return tolerance<float>(60);
}

template <class S, class ExpertType>
void check(const std::string& file, typename LayerOf<S, ExpertType>::Config config,
           Losses losses = {}) {
  INFO(file);
  const Golden golden = read_golden(file);
  const auto at = [&](const std::string& name) {
    return Matrix<S>(golden.at(name).template cast<S>());
  };
  config.model_dim = at("x").cols();
  config.num_experts = at("router.weight").rows();
  config.hidden_dim = at("experts.0.w_in").rows();
  LayerOf<S, ExpertType> layer(config);
  std::size_t parameters = 0;
  layer.visit_parameters([&](std::string_view name, auto& p) {
    const Matrix<S> value = at(std::string(name));
    REQUIRE(value.rows() == p.value.rows());
    REQUIRE(value.cols() == p.value.cols());
    p.value = value;
    ++parameters;
  });
  CHECK(golden.size() == 8 + 2 * parameters);  // no weight of the file is left out

  typename LayerOf<S, ExpertType>::Tape tape;
  const Step<S> step = train_step(layer, at("x"), at("dy"), tape, {}, losses);
  if (!config.gate.renormalize) {
    CHECK(distance(tape.routing.weight, golden.at("weight")) <= allowed<S>());
  }
  CHECK(distance(step.y, golden.at("y")) <= allowed<S>());
  CHECK(distance(step.dx, golden.at("dx")) <= allowed<S>());
  for (const auto& [name, gradient] : step.gradient) {
    INFO(name);
    CHECK(distance(gradient, golden.at(name + ".grad")) <= allowed<S>());
  }

  // PyTorch vouches for the naive oracle too.
  const naive::Layer oracle = to_naive_layer(layer);
  const naive::Result expected = naive::forward(oracle, to_table(golden.at("x")));
  CHECK(distance(to_matrix(expected.y, config.model_dim), golden.at("y")) <= allowed<S>());
  CHECK(losses.balance * naive::switch_loss(oracle, expected) ==
        Approx(golden.at("balance_loss")(0, 0)).epsilon(allowed<S>()));
  CHECK(losses.z * naive::router_z_loss(expected) ==
        Approx(golden.at("z_loss")(0, 0)).epsilon(allowed<S>()));

  Matrix<S> y(step.y.rows(), step.y.cols());
  layer.forward(at("x"), y, tape);
  CHECK(distance(moe::MatrixView<const S>(tape.logits.data(), y.rows(), config.num_experts),
                 golden.at("logits")) <= allowed<S>());
  if (losses.balance == 0) return;
  CHECK(static_cast<double>(tape.add_loss(moe::SwitchLoss{losses.balance})) ==
        Approx(golden.at("balance_loss")(0, 0)).epsilon(allowed<S>()));
  CHECK(static_cast<double>(tape.add_loss(moe::RouterZLoss{losses.z})) ==
        Approx(golden.at("z_loss")(0, 0)).epsilon(allowed<S>()));
}

}  // namespace

TEMPLATE_TEST_CASE("top-2 of Linear-GELU-Linear experts agrees with PyTorch", "[layer][golden]",
                   float, double) {
  check<TestType, moe::Ffn<TestType, moe::Gelu>>(
      "gelu_top2.txt", {.top_k = 2, .router = {.bias = true}, .expert = {.bias = true}});
}

TEMPLATE_TEST_CASE("top-3 of SwiGLU experts with balance losses agrees with PyTorch",
                   "[layer][golden]", float, double) {
  check<TestType, moe::GatedFfn<TestType>>("swiglu_top3.txt", {.top_k = 3},
                                           {.balance = 0.1, .z = 0.05});
}

TEMPLATE_TEST_CASE("top-2 of gpt-oss's clamped SwiGLU experts agrees with PyTorch",
                   "[layer][golden]", float, double) {
  check<TestType, moe::GatedFfn<TestType, moe::ClampedSilu>>(
      "clamped_top2.txt",
      {.top_k = 2, .router = {.bias = true}, .expert = {.bias = true, .clamped = {.limit = 0.9}}});
}

TEMPLATE_TEST_CASE("a Switch layer with capacity and balance losses agrees with PyTorch",
                   "[layer][golden]", float, double) {
  check<TestType, moe::Ffn<TestType, moe::Relu>>(
      "switch_top1.txt", {.top_k = 1, .gate = {.renormalize = false}, .capacity = {.factor = 1.0}},
      {.balance = 0.1, .z = 0.05});
}

}  // namespace moe_test
