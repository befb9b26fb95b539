// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers inside layers: mixed experts in a dense layer, a layer as one expert, shapes in a block.
#include "layer/hierarchical_cases.hpp"
#include "layer/soft_cases.hpp"
#include "moe/block/transformer_block.hpp"
#include "moe/expert/any_of.hpp"
#include "moe/expert/identity.hpp"
#include "moe/layer/dense_layer.hpp"
#include "moe/loss/sequence_balance.hpp"

namespace moe_test {
namespace {

using Ffn = moe::GatedFfn<double>;
using Nested = moe::LayerExpert<double, moe::MoeLayer<double>>;
using Any = moe::AnyOf<double, Ffn, moe::IdentityExpert<double>, Nested>;

constexpr moe::Dims kDims{.model_dim = 5, .hidden_dim = 6, .num_experts = 3, .top_k = 2};

/// An FFN, nothing, and a whole layer of two experts.
std::vector<Any> mixed_experts() {
  moe::Random random(7);
  moe::MoeLayer<double> inner({.model_dim = 5, .hidden_dim = 4, .num_experts = 2, .top_k = 2}, 8);
  return {Ffn(kDims, {}, random), moe::IdentityExpert<double>(), Nested(std::move(inner))};
}

const auto kSwitch = [](auto& tape) {
  return static_cast<double>(tape.add_loss(moe::SwitchLoss{0.3}));
};

}  // namespace

TEST_CASE("a dense layer of an FFN, an identity and a layer", "[layer][dense][gradient]") {
  using L = moe::DenseLayer<double, moe::LinearRouter<double>, Any>;
  moe::Random random(3);
  L layer(moe::LinearRouter<double>(kDims, {}, random), moe::DenseGate(kDims, {}), mixed_experts());
  const Matrix<double> x = random_matrix<double>(7, 5, 1);
  const std::vector<std::uint8_t> mask = {1, 0, 1, 1, 1, 0, 1};
  check_shape_gradients(layer, x, {.mask = mask}, kSwitch, 60);
  check_shape_padding(layer, x, {.mask = mask}, kSwitch);
  check_shape_threads(layer, x, {.mask = mask}, kSwitch);

  Matrix<double> y(7, 5), one(7, 5), sum = Matrix<double>::Zero(7, 5);
  L::Tape tape;
  layer.forward(x, y, tape);
  for (Index e = 0; e < 3; ++e) {
    Any::State state;
    layer.expert(e).forward(x, one, state);
    for (Index t = 0; t < 7; ++t) sum.row(t) += tape.routing.weight(t, e) * one.row(t);
  }
  CHECK(distance(y, sum) < 1e-13);
  layer.expert(1) = layer.expert(0);
  CHECK(sentence_of([&] { layer.backward(x, one, tape); }) ==
        "moe::DenseLayer::backward: the experts are of other kinds or shapes than in the forward");

  layer.expert(1) = moe::IdentityExpert<double>();
  layer.forward(x, y, tape);
  moe::zero_grad(layer);
  const auto other = layer.expert(2).get<Nested>().layer;
  layer.expert(2).get<Nested>().layer = other;
  CHECK_THAT(sentence_of([&] { layer.backward(x, one, tape); }),
             StartsWith("moe::MoeLayer::backward: the tape was filled by layer #"));
  layer.visit_parameters([](std::string_view, auto& p) { CHECK(p.grad.isZero(0)); });
}

TEST_CASE("a layer as one of a sparse layer's experts", "[layer][gradient]") {
  using L = moe::MoeLayer<double, moe::LinearRouter<double>, moe::DenseGate, Any>;
  moe::Random random(3);
  L layer(moe::LinearRouter<double>(kDims, {}, random), moe::DenseGate(kDims, {}), mixed_experts());
  check_shape_gradients(layer, random_matrix<double>(7, 5, 1), {}, kSwitch, 60);
  moe::MoeLayer<double> narrow({.model_dim = 4, .hidden_dim = 4, .num_experts = 2, .top_k = 2}, 8);
  layer.expert(2) = Nested(std::move(narrow));
  Matrix<double> x = random_matrix<double>(7, 5, 1), y(7, 5);
  L::Workspace workspace;
  CHECK(sentence_of([&] { layer.forward(x, y, workspace); }) ==
        "moe::MoeLayer::forward: a layer inside has 4 columns, the model_dim around it is 5");
}

TEST_CASE("a layer inside a layer is in inference when that is", "[layer][hierarchical]") {
  moe::MoeLayer<double>::Config config{
      .model_dim = 5, .hidden_dim = 4, .num_experts = 2, .top_k = 1};
  config.capacity.factor = 0.5;
  config.capacity.evaluation_factor = std::numeric_limits<double>::infinity();
  std::vector<Any> experts;
  experts.emplace_back(Nested(moe::MoeLayer<double>(config, 8)));
  moe::Random random(3);
  const moe::MoeLayer<double, moe::LinearRouter<double>, moe::DenseGate, Any> layer(
      moe::LinearRouter<double>({.model_dim = 5, .num_experts = 1}, {}, random),
      moe::DenseGate({.num_experts = 1, .top_k = 1}, {}), std::move(experts));
  const moe::MoeLayer<double> alone(config, 8);
  const Matrix<double> x = random_matrix<double>(16, 5, 1);
  Matrix<double> y(16, 5), expected(16, 5), training(16, 5);
  moe::MoeLayer<double>::Workspace workspace;
  alone.forward(x, expected, workspace);  // drops nothing
  std::remove_cvref_t<decltype(layer)>::Workspace outer;
  std::remove_cvref_t<decltype(layer)>::Tape tape;
  layer.forward(x, y, outer);
  CHECK(same_bits(y, expected));
  layer.forward(x, training, tape);
  CHECK_FALSE(same_bits(training, expected));
}

TEST_CASE("every layer shape in a transformer block", "[layer][block][gradient]") {
  const std::vector<Index> lengths = {3, 4};
  const moe::Batch batch{.sequence_lengths = lengths};
  const Matrix<double> x = random_matrix<double>(7, 4, 1);
  moe::TransformerBlock<double, moe::SoftLayer<double>> soft(
      {.attention = {.model_dim = 4, .num_heads = 2},
       .ffn = {.model_dim = 4, .hidden_dim = 3, .num_experts = 2, .slots = 2}},
      1);
  check_shape_gradients(soft, x, batch, NoLosses{}, 40);
  moe::TransformerBlock<double, moe::DenseLayer<double>> dense(
      {.attention = {.model_dim = 4, .num_heads = 2},
       .ffn = {.model_dim = 4, .hidden_dim = 3, .num_experts = 2}},
      1);
  check_shape_gradients(dense, x, batch, kSwitch, 40);
  moe::TransformerBlock<double, moe::HierarchicalLayer<double>> levels(
      {.attention = {.model_dim = 4, .num_heads = 2},
       .ffn = {.model_dim = 4,
               .num_groups = 2,
               .top_k = 2,
               .group = {.hidden_dim = 3, .num_experts = 2, .top_k = 2}}},
      1);
  check_shape_gradients(levels, x, batch, kSwitch, 40);
}

TEST_CASE("losses over sequences inside groups", "[layer][hierarchical]") {
  auto layer = make_levels<TwoLevels<double>>({.k = 3, .inner_k = 4});  // everyone everywhere
  const std::vector<Index> lengths = {3, 0, 4};
  const Matrix<double> x = random_matrix<double>(7, 5, 1);
  check_shape_gradients(
      layer, x, {.sequence_lengths = lengths},
      [&](auto& tape) {
        double sum = 0;
        for (Index g = 0; g < 3; ++g) {
          const auto inside = tape.batches.of(tape.plan, g).sequence_lengths;
          CHECK(std::vector<Index>(inside.begin(), inside.end()) == lengths);
          sum += tape.group(g).add_loss(
              moe::SequenceBalanceLoss{.coefficient = 0.3, .lengths = inside});
        }
        return sum;
      },
      40);
}

}  // namespace moe_test
