// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The hierarchical layer against the textbook one and PyTorch (tests/golden/make_shape_golden.py).
#include "moe/layer/hierarchical_layer.hpp"

#include "layer/hierarchical_cases.hpp"
#include "moe/observe/stats.hpp"
#include "moe/router/hash.hpp"
#include "support/golden.hpp"

namespace moe_test {
namespace {

/// Weights from the file, then one step held against it; the losses' sum is returned.
template <class L, class F>
void check_golden(const std::string& file, const LevelSizes& sizes, std::size_t others, double loss,
                  F&& losses) {
  using S = typename L::Scalar;
  INFO(file);
  const double allowed = std::is_same_v<S, double> ? 1e-10 : tolerance<float>(60);
  const Golden golden = read_golden(file);
  auto layer = make_levels<L>(sizes);
  std::size_t parameters = 0;
  layer.visit_parameters([&](std::string_view name, auto& p) {
    const Matrix<double>& value = golden.at(std::string(name));
    REQUIRE(value.rows() == p.value.rows());
    REQUIRE(value.cols() == p.value.cols());
    p.value = value.template cast<S>();
    ++parameters;
  });
  CHECK(golden.size() == 4 + others + 2 * parameters);
  const Matrix<S> x = golden.at("x").template cast<S>(), dy = golden.at("dy").template cast<S>();
  double added = 0;
  const Step<S> step = shape_step(layer, x, dy, {.seed = 7, .step = 3, .first_token = 40},
                                  [&](auto& tape) { return added = losses(tape); });
  CHECK(added == Approx(loss).epsilon(allowed));
  CHECK(distance(step.y, golden.at("y")) <= allowed);
  CHECK(distance(step.dx, golden.at("dx")) <= allowed);
  for (const auto& [name, gradient] : step.gradient) {
    INFO(name);
    CHECK(distance(gradient, golden.at(name + ".grad")) <= allowed);
  }
}

double value_of(const std::string& file, const std::string& name) {
  return read_golden(file).at(name)(0, 0);
}

const auto kImportance = [](auto& tape) {
  return static_cast<double>(tape.add_loss(moe::SwitchLoss{0.3}) +
                             tape.add_group_losses(moe::SwitchLoss{0.2}) +
                             tape.add_loss(moe::HierarchicalImportanceLoss{0.5}));
};

}  // namespace

TEST_CASE("the hierarchical layer is a layer with a router, and so are its groups",
          "[layer][hierarchical]") {
  STATIC_REQUIRE(moe::RoutedLayer<moe::HierarchicalLayer<float>, float>);
  STATIC_REQUIRE(
      moe::RoutedLayer<moe::HierarchicalLayer<float, moe::HierarchicalLayer<float>>, float>);
  STATIC_REQUIRE(moe::Expert<moe::LayerExpert<float, moe::MoeLayer<float>>, float>);
}

TEMPLATE_TEST_CASE("two levels with switch losses and the importance of both agree with PyTorch",
                   "[layer][hierarchical][golden]", float, double) {
  using L = TwoLevels<TestType>;
  const auto loss = [](const std::string& file) {
    return value_of(file, "switch_losses") + value_of(file, "importance_loss");
  };
  check_golden<L>("hierarchical_top2.txt", {6, 5, 3, 2, 4, 2}, 2, loss("hierarchical_top2.txt"),
                  kImportance);
  check_golden<L>("hierarchical_top1.txt", {6, 5, 3, 1, 2, 1}, 2, loss("hierarchical_top1.txt"),
                  kImportance);
}

TEST_CASE("noisy gates on two levels with the load of both agree with PyTorch",
          "[layer][hierarchical][golden]") {
  check_golden<NoisyLevels<double>>("hierarchical_load.txt", {6, 5, 4, 2, 4, 2}, 1,
                                    value_of("hierarchical_load.txt", "load_loss"), [](auto& tape) {
                                      return tape.add_loss(moe::HierarchicalLoadLoss{0.5});
                                    });
}

TEMPLATE_TEST_CASE("the hierarchical layer is the textbook one", "[layer][hierarchical]", float,
                   double) {
  using S = TestType;
  for (const LevelSizes& sizes :
       {LevelSizes{}, LevelSizes{.groups = 1, .k = 1, .experts = 1, .inner_k = 1},
        LevelSizes{20, 33, 7, 3, 5, 1}, LevelSizes{.k = 1, .inner_k = 4}}) {
    const auto layer = make_levels<TwoLevels<S>>(sizes);
    for (const Index tokens : {0, 1, 30}) {
      const Matrix<S> x = random_matrix<S>(tokens, sizes.d, 3);
      Matrix<S> y = Matrix<S>::Constant(tokens, sizes.d, S(9));
      typename TwoLevels<S>::Workspace workspace;
      layer.forward(x, y, workspace);
      CHECK(distance(y, to_matrix(naive_levels(layer, to_table(x)), sizes.d)) <=
            tolerance<S>(sizes.d + sizes.h + 8));
    }
  }
}

TEST_CASE("one group is that group, whatever is inside", "[layer][hierarchical]") {
  auto layer = make_levels<TwoLevels<double>>({.groups = 1, .k = 1});
  const Matrix<double> x = random_matrix<double>(9, 5, 1);
  Matrix<double> y(9, 5), alone(9, 5);
  TwoLevels<double>::Workspace workspace;
  Inner<double>::Workspace inner;
  layer.forward(x, y, workspace);
  layer.group(0).forward(x, alone, inner);
  CHECK(same_bits(y, alone));  // the softmax of one group is 1
}

TEST_CASE("hash routers inside groups get the ids of their tokens", "[layer][hierarchical]") {
  using Hashed = moe::MoeLayer<double, moe::HashRouter<moe::UniformRouter<double>>>;
  using L = moe::HierarchicalLayer<double, Hashed>;
  const L layer(
      {.model_dim = 4,
       .num_groups = 3,
       .top_k = 2,
       .group = {.hidden_dim = 3, .num_experts = 4, .top_k = 1, .router = {.vocabulary = 10}}});
  const Matrix<double> x = random_matrix<double>(8, 4, 1);
  const std::vector<std::int64_t> ids = {5, 0, 9, 3, 3, 7, 1, 5};
  Matrix<double> y(8, 4);
  L::Workspace workspace;
  layer.forward(x, y, workspace, {.token_ids = ids});
  Index wrong = 0;
  for (Index g = 0; g < 3; ++g) {
    const auto& group = workspace.group(g);
    for (Index r = 0; r < group.routing.tokens(); ++r) {
      const auto slot =
          static_cast<std::size_t>(workspace.plan.offset[static_cast<std::size_t>(g)] + r);
      const auto t = static_cast<std::size_t>(workspace.plan.token[slot]);
      const auto id = static_cast<Index>(ids[t]);
      wrong += group.routing.expert(r, 0) != layer.group(g).router().table()(id, 0);
    }
  }
  CHECK(wrong == 0);
  CHECK_THAT(sentence_of([&] { layer.forward(x, y, workspace); }),
             StartsWith("moe::HashRouter::forward: batch.token_ids has 0 values"));
}

TEST_CASE("idle groups take losses and say that they did nothing", "[layer][hierarchical]") {
  auto layer = make_levels<TwoLevels<double>>({.groups = 6, .k = 1});
  const Matrix<double> x = random_matrix<double>(2, 5, 1);
  TwoLevels<double>::Tape tape;
  const Step<double> many = shape_step(layer, random_matrix<double>(40, 5, 2),
                                       random_matrix<double>(40, 5, 3), tape, {}, kLevelLosses);
  CHECK(many.loss != 0);
  const Step<double> few = shape_step(layer, x, x, tape, {}, kLevelLosses);
  TwoLevels<double>::Tape fresh;
  CHECK(same_bits(shape_step(layer, x, x, fresh, {}, kLevelLosses), few));
  Index idle = 0;
  Matrix<double> y(2, 5);
  TwoLevels<double>::Workspace workspace;
  layer.forward(random_matrix<double>(40, 5, 2), Matrix<double>(40, 5), workspace);
  layer.forward(x, y, workspace);
  for (Index g = 0; g < 6; ++g) {
    CHECK(workspace.group(g).plan.tokens == workspace.plan.load(g));
    idle += workspace.plan.load(g) == 0;
  }
  CHECK(idle >= 4);
}

TEST_CASE("nothing, and padding alone, through the hierarchical layer", "[layer][hierarchical]") {
  auto layer = make_levels<TwoLevels<float>>();
  const Matrix<float> none(0, 5), x = random_matrix<float>(3, 5, 1);
  const std::vector<std::uint8_t> mask(3, 0);
  for (const Step<float>& step : {shape_step(layer, none, none, {}, kLevelLosses),
                                  shape_step(layer, x, x, {.mask = mask}, kLevelLosses)}) {
    CHECK(step.loss == 0);
    CHECK(step.y.isZero(0));
    CHECK(step.dx.isZero(0));
    for (const auto& [name, gradient] : step.gradient) CHECK(gradient.isZero(0));
  }
}

TEST_CASE("misuse of the hierarchical layer is named", "[layer][hierarchical][misuse]") {
  using L = TwoLevels<float>;
  auto layer = make_levels<L>(), other = make_levels<L>();
  Matrix<float> x = random_matrix<float>(2, 5, 1), y = Matrix<float>::Constant(2, 5, 7),
                narrow(2, 3);
  L::Tape tape;
  CHECK(sentence_of([&] { layer.forward(narrow, y, tape); }) ==
        "moe::HierarchicalLayer::forward: x has 3 columns, the layer's model_dim is 5");
  const std::vector<std::int64_t> places(5);
  CHECK(sentence_of([&] { layer.forward(x, y, tape, {.token_places = places}); }) ==
        "moe::HierarchicalLayer::forward: token_places has 5 values, the number of tokens is 2");
  const std::string empty = ": the tape is empty, expected a forward before";
  CHECK(sentence_of([&] { tape.add_loss(moe::SwitchLoss{}); }) ==
        "moe::HierarchicalLayer::Tape::add_loss" + empty);
  CHECK(sentence_of([&] { tape.add_loss(moe::HierarchicalImportanceLoss{}); }) ==
        "moe::HierarchicalLayer::Tape::add_loss" + empty);
  CHECK(sentence_of([&] { tape.add_group_losses(moe::SwitchLoss{}); }) ==
        "moe::HierarchicalLayer::Tape::add_group_losses" + empty);
  CHECK((y.array() == 7).all());
  layer.forward(x, y, tape);
  CHECK_THAT(sentence_of([&] { other.backward(x, y, tape); }),
             StartsWith("moe::HierarchicalLayer::backward: the tape was filled by layer #"));
  CHECK(sentence_of([&] { layer.backward(x, narrow, tape); }) ==
        "moe::HierarchicalLayer::backward: dx is [2, 3], expected [2, 5]");
  CHECK(sentence_of([] { make_levels<L>({.groups = 2, .k = 3}); }) ==
        "moe::TopKGate: top_k is 3, expected at most num_experts = 2");
  CHECK(sentence_of([] { make_levels<L>({.h = 0}); }) ==
        "moe::FfnExpert: hidden_dim is 0, expected at least 1");
  CHECK(sentence_of([] {
          L({.model_dim = 5,
             .num_groups = 2,
             .top_k = 1,
             .group = {.model_dim = 4, .hidden_dim = 3, .num_experts = 2, .top_k = 1}});
        }) == "moe::HierarchicalLayer: a layer inside has 4 columns, the model_dim around it is 5");
}

}  // namespace moe_test
