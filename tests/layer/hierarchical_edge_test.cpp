// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What groups are told and not told, groups without a row, and misuse.
#include "layer/hierarchical_cases.hpp"
#include "moe/router/hash.hpp"

namespace moe_test {

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

TEST_CASE("a group replaced since the forward stops the backward before anything changes",
          "[layer][hierarchical][misuse]") {
  using L = TwoLevels<float>;
  const Matrix<float> x = random_matrix<float>(9, 5, 1);
  Matrix<float> y(9, 5), dx = Matrix<float>::Constant(9, 5, 7);
  auto layer = make_levels<L>({.groups = 3, .k = 2});
  L::Tape tape;
  layer.forward(x, y, tape);
  const auto other = layer.group(2);
  layer.group(2) = other;
  CHECK_THAT(sentence_of([&] { layer.backward(x, dx, tape); }),
             StartsWith("moe::MoeLayer::backward: the tape was filled by layer #"));
  CHECK((dx.array() == 7).all());
  layer.visit_parameters([](std::string_view, auto& p) { CHECK(p.grad.size() == 0); });
  CHECK(sentence_of([&] { layer.group(3); }) ==
        "moe::HierarchicalLayer::group: group 3 is asked for, expected 0 to 2");
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
