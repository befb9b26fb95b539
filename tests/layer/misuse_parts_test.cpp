// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Parts are public, to be loaded and replaced: what does not fit is refused before it is used.
#include "moe/gate/dense.hpp"
#include "moe/layer/packed_layer.hpp"
#include "moe/observe/stats.hpp"
#include "support/catch.hpp"
#include "support/layers.hpp"

namespace {

using moe::Index;
using moe_test::Matrix;
using Layer = moe::MoeLayer<float>;

const Layer::Config kConfig{.model_dim = 6, .hidden_dim = 10, .num_experts = 4, .top_k = 2};

struct Call {
  Matrix<float> x = moe_test::random_matrix<float>(5, 6, 1);
  Matrix<float> y = Matrix<float>::Constant(5, 6, 4.0F);
  Matrix<float> dx = Matrix<float>::Constant(5, 6, 4.0F);
  Layer::Workspace workspace;
  Layer::Tape tape;

  bool untouched() const { return (y.array() == 4.0F).all(); }
};

}  // namespace

TEST_CASE("a loaded weight of the wrong shape is named", "[misuse]") {
  Layer layer(kConfig, 1);
  Call call;
  SECTION("the output projection") {
    layer.expert(1).w_out.value = Matrix<float>::Zero(6, 6);
    CHECK_THROWS_WITH(layer.forward(call.x, call.y, call.workspace),
                      "moe::MoeLayer::forward: w_out is [6, 6], expected [6, 10]");
  }
  SECTION("a missing gate projection") {
    layer.expert(2).w_gate.value.resize(0, 0);
    CHECK_THROWS_WITH(layer.forward(call.x, call.y, call.tape),
                      "moe::MoeLayer::forward: w_gate is [0, 0], expected [10, 6]");
    CHECK_THROWS_WITH(moe::pack(layer), "moe::pack: w_gate is [0, 0], expected [10, 6]");
  }
  SECTION("a bias") {
    layer.expert(0).b_in = moe::Parameter<float>(1, 9);
    CHECK_THROWS_WITH(layer.forward(call.x, call.y, call.workspace),
                      "moe::MoeLayer::forward: b_in is [1, 9], expected [1, 10]");
  }
  SECTION("the router") {
    layer.router().weight.value = Matrix<float>::Zero(2, 6);
    CHECK_THROWS_WITH(
        layer.forward(call.x, call.y, call.workspace),
        "moe::MoeLayer::forward: the router has 2 outputs, the number of experts is 4");
  }
  SECTION("the router's bias") {
    layer.router().bias = moe::Parameter<float>(1, 3);
    CHECK_THROWS_WITH(layer.forward(call.x, call.y, call.workspace),
                      "moe::MoeLayer::forward: the router's bias is [1, 3], expected [1, 4]");
  }
  CHECK(call.untouched());
}

TEST_CASE("experts without weights make no layer", "[misuse]") {
  moe::Random random(1);
  const moe::Dims dims{6, 10, 2, 1};
  std::vector<moe::GatedFfn<float>> experts(2);
  for (auto& expert : experts) expert.w_in = moe::Parameter<float>(10, 6);
  CHECK_THROWS_WITH(Layer(moe::LinearRouter<float>(dims, {}, random), moe::TopKGate(dims, {}),
                          std::move(experts)),
                    "moe::MoeLayer: w_out is [0, 0], expected [6, 10]");
}

TEST_CASE("a gate made for another number of experts is refused", "[misuse]") {
  Layer layer(kConfig, 1);
  Call call;
  layer.gate() = moe::TopKGate({6, 10, 64, 2}, {.selection_bias = std::vector<float>(64, 0.0F)});
  CHECK_THROWS_WITH(layer.forward(call.x, call.y, call.workspace),
                    "moe::MoeLayer::forward: the gate has 64 experts, the number of experts is 4");
  CHECK(call.untouched());
}

TEST_CASE("a tape used as a plain workspace is a tape no more", "[misuse]") {
  Layer layer(kConfig, 1);
  Call call;
  layer.forward(call.x, call.y, call.tape);
  Layer::Workspace& workspace = call.tape;
  const Matrix<float> more = moe_test::random_matrix<float>(50, 6, 2);
  Matrix<float> y(50, 6);
  layer.forward(more, y, workspace);
  CHECK_THROWS_WITH(layer.backward(call.x, call.dx, call.tape),
                    "moe::MoeLayer::backward: the tape is empty, expected one training forward "
                    "before each backward");
}

TEST_CASE("a gate replaced between forward and backward changes nothing", "[misuse]") {
  Layer layer(kConfig, 1);
  Call call;
  layer.forward(call.x, call.y, call.tape);
  const moe::TopKGate gate = layer.gate();
  layer.gate() = moe::TopKGate({6, 10, 4, 3}, {});
  CHECK_THROWS_WITH(
      layer.backward(call.x, call.dx, call.tape),
      "moe::MoeLayer::backward: the tape has 2 experts per token, the gate's top_k is 3");
  CHECK((call.dx.array() == 4.0F).all());
  CHECK(layer.expert(0).w_in.grad.size() == 0);
  layer.gate() = gate;
  CHECK_NOTHROW(layer.backward(call.x, call.dx, call.tape));
}

TEST_CASE("a layer that moves keeps its tapes; what it leaves behind does not", "[misuse]") {
  Layer layer(kConfig, 1);
  Call call;
  layer.forward(call.x, call.y, call.tape);
  Layer moved = std::move(layer);
  CHECK_NOTHROW(moved.backward(call.x, call.dx, call.tape));

  moved.forward(call.x, call.y, call.workspace);
  const Layer::Workspace kept = std::move(call.workspace);
  moe::RoutingStats stats;
  moe::routing_stats(kept.routing, kept.plan, stats);
  CHECK(stats.tokens_per_expert.size() == 4);
  CHECK(call.workspace.routing.tokens() == 0);
  CHECK(call.workspace.routing.scores.data() == nullptr);
}

TEST_CASE("bfloat16 storage of a double layer, and packed parts that do not fit, are refused",
          "[misuse]") {
  using Double = moe::MoeLayer<double>;
  const Double layer({.model_dim = 6, .hidden_dim = 10, .num_experts = 4, .top_k = 2}, 1);
  CHECK_THROWS_WITH(moe::pack(layer, moe::WeightType::bfloat16),
                    "moe::PackedFfn: the weights are double, expected float for bfloat16 storage");

  moe::Random random(1);
  const auto weights = layer.expert(0).pointers();
  CHECK_THROWS_WITH(
      moe::PackedLayer<double>(moe::LinearRouter<double>({6, 10, 8, 2}, {}, random),
                               moe::TopKGate({6, 10, 8, 2}, {}),
                               moe::PackedFfn<double>(layer.expert(0).shape(), {&weights, 1}), {}),
      "moe::PackedLayer: top_k is 2, expected at most num_experts = 1");
}
