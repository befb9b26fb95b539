// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers of experts of several kinds, and with shared experts, packed for inference.
#include "moe/expert/packed_runs.hpp"

#include "expert/mixed.hpp"
#include "moe/layer/packed_shared.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

namespace moe_test {
namespace {

const Case kCases[] = {
    {.t = 23, .d = 7, .h = 5, .e = 12, .k = 3, .seed = 1},
    {.t = 140, .d = 40, .h = 33, .e = 12, .k = 5, .capacity = 0.7, .masked = true, .seed = 2},
    {.t = 0, .d = 3, .h = 4, .e = 12, .k = 2, .seed = 3}};

template <class Layer, class S>
Matrix<S> output(const Layer& layer, const Matrix<S>& x, const moe::Batch& batch,
                 moe::ExecutorRef executor = {}) {
  Matrix<S> y = Matrix<S>::Constant(x.rows(), x.cols(), S(7));
  typename Layer::Workspace workspace(executor);
  layer.forward(x, y, workspace, batch);
  return y;
}

}  // namespace

TEMPLATE_TEST_CASE("a packed layer of several kinds has the bits of the layer, on any threads",
                   "[expert][packed_layer]", float, double) {
  using S = TestType;
  for (const Case& c : kCases) {
    INFO(c);
    for (const bool on_input : {false, true}) {
      const Matrix<S> x = random_matrix<S>(c.t, c.d, 1);
      const std::vector<std::uint8_t> mask = random_mask(c);
      Matrix<S> expected;
      const auto packed = [&] {
        const auto layer = make_mixed_layer<S>(c, every_kind<S>(), on_input);
        expected = output(layer, x, {.mask = mask});
        return moe::pack(layer);
      }();
      for (const Index size : {1, 3}) {
        Threads threads(size);
        CHECK(same_bits(output(packed, x, {.mask = mask}, threads), expected));
      }
    }
  }
}

TEST_CASE("packing keeps no row-major weights of FFNs, and halves them as bfloat16",
          "[expert][packed_layer]") {
  const Case c{.t = 20, .d = 32, .h = 32, .e = 5, .k = 2, .seed = 4};  // whole panels
  const auto layer = make_mixed_layer<float>(
      c,
      moe::ExpertMix<Any<float>>().add<moe::GatedFfn<float>>(4).add<moe::IdentityExpert<float>>(1));
  std::vector<const Any<float>*> experts;
  for (Index e = 0; e < c.e; ++e) experts.push_back(&layer.expert(e));
  const moe::PackedRuns<Any<float>, float> packed(experts);
  CHECK(packed.runs().size() == 2);
  CHECK(packed.bytes() == 4 * 3 * 32 * 32 * sizeof(float));
  CHECK(packed.experts()[0].get<moe::GatedFfn<float>>().w_in.empty());
  const auto half = moe::pack(layer, moe::WeightType::bfloat16);
  CHECK(half.bytes() == packed.bytes() / 2);
  const Matrix<float> x = random_matrix<float>(c.t, c.d, 1);
  const Matrix<float> y = output(half, x, {}), expected = output(layer, x, {});
  CHECK((y - expected).norm() < 0.01F * expected.norm());
  CHECK((y - expected).norm() > 1e-5F * expected.norm());
}

TEMPLATE_TEST_CASE("a packed layer with a shared expert has the bits of the layer",
                   "[expert][packed_layer]", float, double) {
  using S = TestType;
  using Layer = moe::SharedLayer<LayerOf<S, moe::GatedFfn<S>>>;
  for (const bool gate : {false, true}) {
    const Case c{.t = 33, .d = 12, .h = 9, .masked = true, .seed = 5};
    const std::vector<std::uint8_t> mask = random_mask(c);
    typename Layer::Config config{
        .layer = {.model_dim = c.d, .hidden_dim = c.h, .num_experts = 4, .top_k = 2},
        .hidden_dim = 20,
        .expert = {.bias = true},
        .gate = gate};
    const Layer layer(config, 3);
    const auto packed = moe::pack(layer);
    const Matrix<S> x = random_matrix<S>(c.t, c.d, 1);
    CHECK(same_bits(output(packed, x, {.mask = mask}), output(layer, x, {.mask = mask})));
    CHECK(packed.bytes() > moe::pack(layer.layer()).bytes());
  }
}

TEST_CASE("packing refuses what does not fit", "[expert][packed_layer][misuse]") {
  const Case c{.t = 3, .d = 4, .h = 5, .e = 12, .k = 2};
  auto layer = make_mixed_layer<float>(c, every_kind<float>());
  moe::Random random(1);
  layer.expert(1) = moe::GatedFfn<float>({.model_dim = 6, .hidden_dim = 2}, {}, random);
  CHECK(sentence_of([&] { moe::pack(layer); }) ==
        "moe::pack: expert 1 has 6 columns, the router's model_dim is 4");
  using Layer = moe::SharedLayer<moe::MoeLayer<float>>;
  Layer shared(
      {.layer = {.model_dim = 4, .hidden_dim = 4, .num_experts = 2, .top_k = 1}, .hidden_dim = 3});
  shared.shared_expert().w_gate.value.resize(2, 4);
  CHECK(sentence_of([&] { moe::pack(shared); }) == "moe::pack: w_gate is [2, 4], expected [3, 4]");
}

}  // namespace moe_test
