// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers of several kinds and with shared experts allocate nothing in the steady state.
#include "support/allocations.hpp"

#include "expert/mixed.hpp"
#include "moe/layer/packed_shared.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

#if MOE_TEST_COUNTS_ALLOCATIONS
namespace moe_test {
namespace {

/// Every kind of the library; what a user's own allocates is its business.
moe::ExpertMix<Any<float>> library_kinds() {
  moe::ExpertMix<Any<float>> mix;
  mix.add<moe::IdentityExpert<float>>(1)
      .add<moe::GatedFfn<float>>(2)
      .add<moe::GatedFfn<float>>(1, {.bias = true}, 9)
      .add<moe::Ffn<float, moe::Gelu>>(2, {.bias = true})
      .add<moe::ZeroExpert<float>>(1)
      .add<moe::ConstantExpert<float>>(2);
  return mix;
}

/// Forward and a training step with other tokens, so that other experts are full.
template <class Layer>
long allocations_of(Layer& layer, const Matrix<float>& x, Matrix<float>& y, Matrix<float>& dx,
                    typename Layer::Workspace& workspace, typename Layer::Tape& tape,
                    const moe::Batch& batch) {
  return allocations_in([&] {
    layer.forward(x, y, workspace, batch);
    layer.forward(x, y, tape, batch);
    tape.add_loss(moe::SwitchLoss{});
    layer.backward(x, dx, tape);
  });
}

template <class Layer>
void check(Layer layer, Index tokens, Index d) {
  Threads threads(3);
  Matrix<float> y(tokens, d), dx(tokens, d);
  typename Layer::Workspace workspace{moe::ExecutorRef(threads)};
  typename Layer::Tape tape{moe::ExecutorRef(threads)};
  const auto run = [&](std::uint64_t seed, const moe::Batch& batch = {}) {
    const Matrix<float> x = random_matrix<float>(tokens, d, seed);
    return allocations_of(layer, x, y, dx, workspace, tape, batch);
  };
  CHECK(run(1) > 0);
  Matrix<float> one = Matrix<float>::Zero(tokens, d);
  for (std::uint64_t seed = 2; seed < 6; ++seed) CHECK(run(seed) == 0);
  // All tokens alike: some experts take everything, the others nothing.
  one.rowwise() = random_matrix<float>(1, d, 9).row(0);
  CHECK(allocations_of(layer, one, y, dx, workspace, tape, {}) == 0);
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(tokens), 1);
  for (std::size_t t = 0; t < mask.size(); t += 3) mask[t] = 0;
  CHECK(run(7, {.mask = mask}) == 0);
  CHECK(run(8, {.mask = mask}) == 0);
}

}  // namespace

TEST_CASE("a layer of several kinds allocates nothing in the steady state",
          "[expert][allocation]") {
  const Case c{.t = 60, .d = 24, .h = 20, .e = 9, .k = 3, .seed = 1};
  check(make_mixed_layer<float>(c, library_kinds()), c.t, c.d);
  check(make_mixed_layer<float>(c, library_kinds(), /*weight_on_input=*/true), c.t, c.d);
}

TEST_CASE("a layer with a shared expert allocates nothing in the steady state",
          "[expert][allocation]") {
  using Layer = moe::SharedLayer<moe::MoeLayer<float>>;
  Layer layer({.layer = {.model_dim = 24, .hidden_dim = 20, .num_experts = 6, .top_k = 2},
               .hidden_dim = 30,
               .gate = true});
  check(layer, 60, 24);
}

TEST_CASE("packed layers of several kinds and with shared experts allocate nothing either",
          "[expert][allocation]") {
  const Case c{.t = 60, .d = 24, .h = 20, .e = 9, .k = 3, .seed = 1};
  const moe::SharedLayer<MixedLayer<float>> layer(
      make_mixed_layer<float>(c, library_kinds()),
      make_layer<LayerOf<float, moe::GatedFfn<float>>>(c).expert(0));
  const auto packed = moe::pack(layer);
  typename std::remove_const_t<decltype(packed)>::Workspace workspace;
  Matrix<float> y(60, 24);
  for (std::uint64_t seed = 1; seed < 5; ++seed) {
    const Matrix<float> x = random_matrix<float>(60, 24, seed);
    const long count = allocations_in([&] { packed.forward(x, y, workspace); });
    CHECK((seed == 1) == (count > 0));
  }
}

}  // namespace moe_test
#endif
