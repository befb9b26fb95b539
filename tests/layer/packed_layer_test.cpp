// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/layer/packed_layer.hpp"

#include "support/catch.hpp"
#include "support/layers.hpp"
#include "support/threads.hpp"

namespace {

using moe::Index;
using moe_test::Matrix;

template <class S, class ExpertType>
void check_case(std::uint64_t number) {
  const moe_test::Case c = moe_test::random_case(number);
  INFO(c);
  const auto layer = moe_test::make_layer<moe_test::LayerOf<S, ExpertType>>(c);
  const Matrix<S> x = moe_test::random_matrix<S>(c.t, c.d, number);
  Matrix<S> expected(c.t, c.d), y(c.t, c.d);
  typename moe_test::LayerOf<S, ExpertType>::Workspace workspace;
  layer.forward(x, expected, workspace);

  const auto packed = moe::pack(layer);
  typename std::remove_const_t<decltype(packed)>::Workspace packed_workspace;
  packed.forward(x, y, packed_workspace);
  CHECK(moe_test::same_bits(y, expected));
}

}  // namespace

TEST_CASE("a packed layer gives the bits of the layer it came from", "[packed_layer]") {
  for (std::uint64_t n = 0; n < 60; ++n) {
    check_case<float, moe::GatedFfn<float>>(n);
    check_case<float, moe::Ffn<float, moe::Relu>>(n);
    check_case<double, moe::GatedFfn<double, moe::Gelu>>(n);
  }
}

TEST_CASE("a packed layer outlives its layer and has the same bits on any threads",
          "[packed_layer]") {
  using Layer = moe::MoeLayer<float>;
  const Layer::Config config{.model_dim = 96, .hidden_dim = 160, .num_experts = 5, .top_k = 2};
  const Matrix<float> x = moe_test::random_matrix<float>(300, 96, 3);
  Matrix<float> expected(300, 96), y(300, 96);
  const auto packed = [&] {
    const Layer layer(config, 9);
    Layer::Workspace workspace;
    layer.forward(x, expected, workspace);
    return moe::pack(layer);
  }();
  for (const Index count : {1, 2, 3, 7}) {
    moe_test::Threads threads(count);
    moe::PackedLayer<>::Workspace workspace{threads};
    packed.forward(x, y, workspace);
    CHECK(moe_test::same_bits(y, expected));
  }
}

TEST_CASE("bfloat16 weights halve the memory and stay within their rounding", "[packed_layer]") {
  using Layer = moe::MoeLayer<float>;
  Layer layer({.model_dim = 128, .hidden_dim = 256, .num_experts = 4, .top_k = 2}, 5);
  const Matrix<float> x = moe_test::random_matrix<float>(33, 128, 4);
  Matrix<float> expected(33, 128), y(33, 128);
  Layer::Workspace workspace;
  layer.forward(x, expected, workspace);
  const auto native = moe::pack(layer);
  const auto packed = moe::pack(layer, moe::WeightType::bfloat16);
  moe::PackedLayer<>::Workspace packed_workspace;
  packed.forward(x, y, packed_workspace);
  CHECK(packed.bytes() * 2 == native.bytes());
  CHECK((y - expected).norm() < 0.01F * expected.norm());
  CHECK((y - expected).norm() > 1e-4F * expected.norm());  // it did round
}

TEST_CASE("a packed layer refuses what the layer refuses", "[packed_layer]") {
  using Layer = moe::MoeLayer<float>;
  const Layer layer({.model_dim = 8, .hidden_dim = 8, .num_experts = 2, .top_k = 1}, 5);
  const auto packed = moe::pack(layer);
  moe::PackedLayer<>::Workspace workspace;
  Matrix<float> x(3, 7), y = Matrix<float>::Constant(3, 8, 4.0F);
  CHECK_THROWS_WITH(packed.forward(x, y, workspace),
                    "moe::PackedLayer::forward: x has 7 columns, the layer's model_dim is 8");
  CHECK((y.array() == 4.0F).all());
}
