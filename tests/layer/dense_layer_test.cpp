// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The dense layer against the naive oracle and differences.
#include "moe/layer/dense_layer.hpp"

#include "layer/dense_cases.hpp"
#include "moe/layer/layer.hpp"
#include "moe/observe/stats.hpp"
#include "moe/router/uniform.hpp"

namespace moe_test {

TEST_CASE("the dense layer is a layer with a router", "[layer][dense]") {
  STATIC_REQUIRE(moe::RoutedLayer<moe::DenseLayer<float>, float>);
  STATIC_REQUIRE(moe::RoutedLayer<Scaling<double>, double>);
}

TEMPLATE_TEST_CASE("the dense layer is the sum of all experts by the softmax of the router",
                   "[layer][dense]", float, double) {
  using S = TestType;
  for (const auto& [t, d, h, e, temperature] :
       {std::tuple{7, 5, 6, 4, 1.0}, {1, 3, 2, 1, 1.0}, {40, 33, 17, 9, 1.7}, {0, 4, 4, 3, 1.0}}) {
    INFO("T " << t << " D " << d << " H " << h << " E " << e);
    const auto layer = make_dense<Dense<S>>(d, h, e, temperature);
    naive::Layer oracle;
    oracle.router_weight = to_table(layer.router().weight.value);
    oracle.router_bias = to_row(layer.router().bias.value);
    oracle.temperature = temperature;
    oracle.renormalize = false;
    oracle.top_k = static_cast<std::size_t>(e);
    for (Index i = 0; i < e; ++i) oracle.experts.push_back(to_naive_expert(layer.expert(i)));
    const Matrix<S> x = random_matrix<S>(t, d, 1);
    Matrix<S> y(t, d);
    typename Dense<S>::Workspace workspace;
    layer.forward(x, y, workspace);
    const auto expected = naive::forward(oracle, to_table(x));
    CHECK(distance(y, to_matrix(expected.y, d)) <= tolerance<S>(d + h + e));
  }
}

TEST_CASE("the plan of everything is what the sparse planner makes of all assignments",
          "[layer][dense]") {
  for (const bool masked : {false, true}) {
    const Case c{.t = 9, .masked = masked};
    const std::vector<std::uint8_t> mask = random_mask(c);
    const moe::Batch batch{.mask = mask};
    moe::Routing<double> routing;
    routing.resize(c.t, 3, 3);
    for (Index t = 0; t < c.t; ++t) {
      for (Index e = 0; e < 3; ++e) {
        routing.expert(t, e) = static_cast<std::int32_t>(e);
        routing.weight(t, e) = static_cast<double>(10 * t + e);
      }
    }
    routing.clear_padding(batch);
    moe::Plan made, sorted;
    moe::plan_everything(c.t, 3, batch, made);
    moe::make_plan(routing, {}, batch, sorted);
    CHECK(made.offset == sorted.offset);
    CHECK(made.token == sorted.token);
    CHECK(made.origin == sorted.origin);
    CHECK(made.slot == sorted.slot);
    CHECK(made.outcome == sorted.outcome);
    CHECK(made.demanded == sorted.demanded);
    CHECK(made.capacity == sorted.capacity);
    std::vector<double> weight(made.token.size()), gathered(weight);
    moe::transpose_weights<double>(routing, made, weight);
    moe::gather_slot_weights<double>(routing, sorted, gathered);
    CHECK(weight == gathered);
  }
  moe::Plan plan;
  CHECK(sentence_of([&] { moe::plan_everything(Index{1} << 30, 4, {}, plan); }) ==
        "moe::plan_everything: tokens * experts is 4294967296, expected less than 2^31");
}

TEST_CASE("gradients of the dense layer are right", "[layer][dense][gradient]") {
  const Case c{.t = 6, .masked = true};
  const std::vector<std::uint8_t> mask = random_mask(c);
  for (const double temperature : {0.6, 1.0, 2.5}) {
    auto layer = make_dense<Dense<double>>(4, 5, 3, temperature);
    check_shape_gradients(layer, random_matrix<double>(6, 4, 5), {}, kLosses);
    check_shape_gradients(layer, random_matrix<double>(6, 4, 6), {.mask = mask}, kLosses);
    auto scaling = make_dense<Scaling<double>>(4, 1, 3, temperature);
    check_shape_gradients(scaling, random_matrix<double>(6, 4, 5), {}, kLosses);
    check_shape_gradients(scaling, random_matrix<double>(6, 4, 6), {.mask = mask}, kLosses);
  }
  auto one = make_dense<Dense<double>>(4, 5, 1);
  check_shape_gradients(one, random_matrix<double>(3, 4, 7), {}, kLosses);
}

TEST_CASE("with a uniform router the dense layer is the mean of its experts", "[layer][dense]") {
  using Mean = moe::DenseLayer<double, moe::UniformRouter<double>, moe::GatedFfn<double>>;
  Mean layer({.model_dim = 4, .hidden_dim = 5, .num_experts = 3}, 1);
  const Matrix<double> x = random_matrix<double>(5, 4, 1);
  Matrix<double> y(5, 4), one(5, 4), mean = Matrix<double>::Zero(5, 4);
  Mean::Workspace workspace;
  layer.forward(x, y, workspace);
  for (Index e = 0; e < 3; ++e) {
    moe::GatedFfn<double>::State state;
    layer.expert(e).forward(x, one, state);
    mean += one / 3;
  }
  CHECK(distance(y, mean) < 1e-14);
  Index parameters = 0;
  layer.visit_parameters([&](std::string_view name, auto&) {
    CHECK(name.substr(0, 8) == "experts.");
    ++parameters;
  });
  CHECK(parameters == 9);
  check_shape_gradients(layer, x);
}

TEST_CASE("statistics of the dense layer: everyone at everything", "[layer][dense][observe]") {
  const auto layer = make_dense<Dense<float>>(4, 5, 3);
  const std::vector<std::uint8_t> mask{1, 1, 0, 1};
  const Matrix<float> x = random_matrix<float>(4, 4, 1);
  Matrix<float> y(4, 4);
  Dense<float>::Workspace workspace;
  layer.forward(x, y, workspace, {.mask = mask});
  moe::RoutingStats stats;
  routing_stats(workspace.routing, workspace.plan, stats);
  CHECK(stats.tokens_per_expert == std::vector<Index>{3, 3, 3});
  CHECK(stats.load_cv == 0);
  CHECK(stats.dropped_share == 0);
  CHECK(stats.entropy > 0);
}

TEST_CASE("misuse of the dense layer is named", "[layer][dense][misuse]") {
  auto layer = make_dense<Dense<float>>(4, 5, 3), other = make_dense<Dense<float>>(4, 5, 3);
  Matrix<float> x = random_matrix<float>(2, 4, 1), y(2, 4), narrow(2, 3);
  Dense<float>::Tape tape;
  CHECK(sentence_of([&] { layer.forward(narrow, y, tape); }) ==
        "moe::DenseLayer::forward: x has 3 columns, the layer's model_dim is 4");
  CHECK(sentence_of([&] { tape.add_loss(moe::SwitchLoss{}); }) ==
        "moe::DenseLayer::Tape::add_loss: the tape is empty, expected a forward before");
  CHECK(sentence_of([&] { layer.backward(x, y, tape); }) ==
        "moe::DenseLayer::backward: the tape is empty, expected one training forward before each "
        "backward");
  layer.forward(x, y, tape);
  CHECK_THAT(sentence_of([&] { other.backward(x, y, tape); }),
             StartsWith("moe::DenseLayer::backward: the tape was filled by layer #"));
  CHECK(sentence_of([&] { layer.backward(x, narrow, tape); }) ==
        "moe::DenseLayer::backward: dx is [2, 3], expected [2, 4]");
  layer.expert(1).w_in.value.resize(5, 3);
  CHECK(sentence_of([&] { layer.forward(x, y, tape); }) ==
        "moe::DenseLayer::forward: expert 1 is [5, 3], expected [5, 4] as expert 0");
  CHECK(sentence_of([] { make_dense<Dense<float>>(4, 5, 0); }) ==
        "moe::LinearRouter: num_experts is 0, expected at least 1");
}

}  // namespace moe_test
