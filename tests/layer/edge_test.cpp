// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Ordinary cases that look like special ones: nothing to do, nothing to choose, parts that differ.
#include "layer/gradient_cases.hpp"
#include "moe/moe.hpp"

namespace moe_test {
namespace {

template <class S>
using Layer = LayerOf<S, moe::GatedFfn<S>>;

}  // namespace

TEMPLATE_TEST_CASE("no tokens work everywhere", "[layer]", float, double) {
  using S = TestType;
  for (const std::optional<double> capacity : {std::optional<double>{}, std::optional{1.0}}) {
    const Case c{.t = 0, .capacity = capacity};
    Layer<S> layer = make_layer<Layer<S>>(c);
    const Matrix<S> x(0, c.d), dy(0, c.d);
    typename Layer<S>::Tape tape;
    Matrix<S> y(0, c.d), dx(0, c.d);
    layer.forward(x, y, tape);
    CHECK(tape.add_loss(moe::SwitchLoss{}) == 0);
    CHECK(tape.add_loss(moe::RouterZLoss{}) == 0);
    moe::RoutingStats stats;
    routing_stats(tape.routing, tape.plan, stats);
    CHECK(stats.entropy == 0);
    layer.backward(dy, dx, tape);
    layer.visit_parameters([](std::string_view, auto& p) { CHECK(p.grad.isZero(0)); });
    // Before and after some tokens, on one tape and in any order.
    const Matrix<S> tokens = random_matrix<S>(3, c.d, 1);
    const Step<S> some = train_step(layer, tokens, tokens, tape);
    train_step(layer, x, dy, tape);
    CHECK(same_bits(train_step(layer, tokens, tokens, tape), some));
  }
}

TEMPLATE_TEST_CASE("a batch of padding gives zeros", "[layer]", float, double) {
  using S = TestType;
  const Case c{.t = 4, .capacity = 1.0};
  Layer<S> layer = make_layer<Layer<S>>(c);
  const std::vector<std::uint8_t> mask(4, 0);
  const Matrix<S> x = random_matrix<S>(4, c.d, 1);
  const Step<S> step = train_step(layer, x, x, {.mask = mask}, {.balance = 1, .z = 1});
  CHECK(step.loss == 0);
  CHECK(step.y.isZero(0));
  CHECK(step.dx.isZero(0));
  for (const auto& [name, gradient] : step.gradient) CHECK(gradient.isZero(0));
}

TEMPLATE_TEST_CASE("equal logits choose the first experts with equal weights", "[layer]", float,
                   double) {
  using S = TestType;
  const Case c{.t = 3, .e = 9, .k = 4, .router_bias = false};
  Layer<S> layer = make_layer<Layer<S>>(c);
  layer.router().weight.value.setZero();
  const Matrix<S> x = random_matrix<S>(3, c.d, 1);
  Matrix<S> y(3, c.d);
  typename Layer<S>::Workspace workspace;
  layer.forward(x, y, workspace);
  for (Index t = 0; t < 3; ++t) {
    for (Index j = 0; j < 4; ++j) {
      CHECK(workspace.routing.expert(t, j) == j);
      CHECK(workspace.routing.weight(t, j) == S(0.25));
    }
  }
  const auto expected = naive::forward(to_naive_layer(layer), to_table(x));
  CHECK(distance(y, to_matrix(expected.y, c.d)) <= tolerance<S>(c.d + c.h));
}

TEST_CASE("with K = 1 the router learns, renormalised or not", "[layer][gradient]") {
  for (const bool renormalize : {false, true}) {
    const Case c{.t = 5, .k = 1, .renormalize = renormalize};
    auto layer = make_layer<Layer<double>>(c);
    const Step<double> step =
        train_step(layer, decided_input(layer, c, 1e-3), random_matrix<double>(5, c.d, 2));
    CHECK(step.gradient.at("router.weight").norm() > 1e-3);
    CHECK(step.gradient.at("router.bias").norm() > 1e-3);
  }
}

TEST_CASE("a token whose every expert is full gives zero and gets no gradient but the losses'",
          "[layer][gradient]") {
  const Case c{.t = 12, .e = 3, .k = 1, .capacity = 0.1, .flooded = true};
  auto layer = make_layer<Layer<double>>(c);
  const Matrix<double> x = random_matrix<double>(12, c.d, 1);
  const Step<double> step = train_step(layer, x, x);
  CHECK_FALSE(step.y.row(0).isZero(0));
  CHECK(step.y.bottomRows(11).isZero(0));
  CHECK(step.dx.bottomRows(11).isZero(0));
  const Step<double> with_loss = train_step(layer, x, x, {}, {.z = 1});
  CHECK_FALSE(with_loss.dx.row(11).isZero(0));
}

TEST_CASE("experts of one layer may differ in their biases and in what is frozen", "[layer]") {
  using X = moe::GatedFfn<double>;
  moe::Random random(3);
  const moe::Dims dims{.model_dim = 5, .hidden_dim = 7, .num_experts = 4, .top_k = 3};
  std::vector<X> experts;
  for (const bool bias : {true, false, true, false})
    experts.emplace_back(dims, X::Options{bias}, random);
  experts[1].b_out = moe::Parameter<double>(1, 5);
  experts[1].b_out.value.setConstant(0.3);
  experts[2].b_gate = {};
  Layer<double> layer(moe::LinearRouter<double>(dims, {}, random), {dims, {}}, experts);
  const Case c{.t = 6, .d = 5, .h = 7, .e = 4, .k = 3};
  const Matrix<double> x = decided_input(layer, c, 1e-3), dy = random_matrix<double>(6, 5, 2);
  const auto expected = naive::forward(to_naive_layer(layer), to_table(x));
  const Step<double> step = train_step(layer, x, dy);
  CHECK(distance(step.y, to_matrix(expected.y, 5)) <= tolerance<double>(12));

  layer.expert(0).w_in.trainable = layer.expert(0).b_out.trainable = false;
  layer.expert(3).w_gate.trainable = layer.expert(3).w_out.trainable = false;
  layer.router().weight.trainable = false;
  layer.visit_parameters([](std::string_view, auto& p) { p.grad.resize(0, 0); });
  const Step<double> partly = train_step(layer, x, dy);
  CHECK(same_bits(partly.dx, step.dx));
  int frozen = 0;
  for (const auto& [name, gradient] : partly.gradient) {
    INFO(name);
    if (gradient.size() == 0) {
      ++frozen;
    } else {
      CHECK(same_bits(gradient, step.gradient.at(name)));
    }
  }
  CHECK(frozen == 5);
}

}  // namespace moe_test
