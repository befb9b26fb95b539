// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Dense, latent and concatenating layers packed for inference, and a shared expert around them.
#include "layer/shapes/token_shapes.hpp"
#include "moe/layer/packed_concat.hpp"
#include "moe/layer/packed_dense.hpp"
#include "moe/layer/packed_latent.hpp"
#include "moe/layer/packed_shared.hpp"

namespace moe_test {
namespace {

template <class L, class S>
Matrix<S> output(const L& layer, const Matrix<S>& x, const moe::Batch& batch,
                 moe::ExecutorRef threads = {}) {
  Matrix<S> y = Matrix<S>::Constant(x.rows(), output_dim_of(layer), S(9));
  typename L::Workspace workspace(threads);
  layer.forward(x, y, workspace, batch);
  return y;
}

/// A shared expert around any layer.
template <class L>
moe::SharedLayer<L> with_shared(L layer) {
  using S = typename L::Scalar;
  moe::Random random(3);
  const Index d = layer.model_dim();
  moe::Parameter<S> gate(1, d);
  gate.init_uniform(random, d);
  return {std::move(layer), moe::GatedFfn<S>({.model_dim = d, .hidden_dim = 12}, {}, random),
          std::move(gate)};
}

/// f(layer) for every kind that `pack` takes here.
template <class S, class F>
void for_packed_shapes(const ShapeSizes& s, F&& f) {
  f(make_dense<Dense<S>>(s.d, s.h, s.e));
  f(make_latent<Latent<S>>(s));
  f(make_concat<Concat<S>>(s));
  f(with_shared(make_latent<Latent<S>>(s)));
}

}  // namespace

TEMPLATE_TEST_CASE("every packed shape has the bits of its layer, on any threads",
                   "[layer][packed_layer][bitwise]", float, double) {
  using S = TestType;
  const std::vector<std::uint8_t> mask = random_mask({.t = 61, .masked = true});
  const auto check = [&](const auto& layer) {
    const auto packed = moe::pack(layer);
    for (const Index tokens : {0, 1, 61}) {
      const Matrix<S> x = random_matrix<S>(tokens, layer.model_dim(), 1);
      const moe::Batch batch = tokens == 61 ? moe::Batch{.mask = mask} : moe::Batch{};
      const Matrix<S> expected = output(layer, x, batch);
      for (const Index size : {1, 2, 3, 4}) {
        Threads threads(size);
        CHECK(same_bits(output(packed, x, batch, threads), expected));
        CHECK(same_bits(output(moe::pack(layer, moe::WeightType::native, threads), x, batch),
                        expected));
      }
    }
  };
  for_packed_shapes<S>({.d = 21, .h = 18, .e = 5, .k = 2, .latent = 9}, check);
  for_packed_shapes<S>({.d = 1, .h = 1, .e = 1, .k = 1, .latent = 1}, check);
  for_packed_shapes<S>({.d = 8, .h = 6, .e = 3, .k = 3, .latent = 11, .capacity = {.factor = 0.6}},
                       check);
  check(make_dense<Scaling<S>>(9, 1, 3));
  check(make_latent<Latent<S, ScaleExpert<S>>>({}));
  check(make_concat<Concat<S, ScaleExpert<S>>>({}));
}

TEST_CASE("bfloat16 halves the memory of every packed shape and stays within its rounding",
          "[layer][packed_layer]") {
  for_packed_shapes<float>({.d = 64, .h = 96, .e = 4, .k = 2, .latent = 32}, [](const auto& layer) {
    const Matrix<float> x = random_matrix<float>(33, 64, 1);
    const Matrix<float> expected = output(layer, x, {});
    const auto native = moe::pack(layer), half = moe::pack(layer, moe::WeightType::bfloat16);
    CHECK(half.bytes() * 2 == native.bytes());
    const Matrix<float> y = output(half, x, {});
    CHECK((y - expected).norm() < 0.02F * expected.norm());
    CHECK((y - expected).norm() > 1e-4F * expected.norm());  // it did round
  });
  const auto latent = make_latent<Latent<float>>({.d = 64, .h = 96, .e = 4, .latent = 32});
  CHECK(moe::pack(latent).bytes() == sizeof(float) * (2 * 64 * 32 + 4 * 3 * 96 * 32));
}

TEST_CASE("packed shapes refuse what does not fit", "[layer][packed_layer][misuse]") {
  Matrix<float> x = random_matrix<float>(3, 9, 1), y = Matrix<float>::Constant(3, 9, 4);
  auto latent = make_latent<Latent<float>>({});
  const auto packed = moe::pack(latent);
  std::remove_cvref_t<decltype(packed)>::Workspace workspace;
  CHECK(sentence_of([&] { packed.forward(x.leftCols(8), y, workspace); }) ==
        "moe::PackedLatentLayer::forward: x has 8 columns, the layer's model_dim is 9");
  const auto concat = moe::pack(make_concat<Concat<float>>({}));
  std::remove_cvref_t<decltype(concat)>::Workspace concat_workspace;
  CHECK(sentence_of([&] { concat.forward(x, y, concat_workspace); }) ==
        "moe::PackedConcatLayer::forward: y is [3, 9], expected [3, 18]");
  const auto dense = moe::pack(make_dense<Dense<float>>(9, 5, 3));
  std::remove_cvref_t<decltype(dense)>::Workspace dense_workspace;
  CHECK(sentence_of([&] { dense.forward(x, y.topRows(2), dense_workspace); }) ==
        "moe::PackedDenseLayer::forward: y is [2, 9], expected [3, 9]");
  CHECK((y.array() == 4).all());

  latent.up().value.resize(9, 2);
  CHECK(sentence_of([&] { moe::pack(latent); }) == "moe::pack: up is [9, 2], expected [9, 5]");
  latent.up().value.resize(9, 5);
  latent.experts().clear();
  CHECK(sentence_of([&] { moe::pack(latent); }) ==
        "moe::pack: the number of experts is 0, expected at least 1");
  const auto made = [&](Index down, Index up) {
    const auto other = make_latent<Latent<float>>({});
    const Matrix<float> a = random_matrix<float>(5, down, 1), b = random_matrix<float>(9, up, 1);
    moe::PackedLatentLayer(other.router(), other.gate(), moe::PackedLinear<float>(a),
                           moe::PackedLinear<float>(b),
                           moe::PackedFfn<float>(other.expert(0).shape(), 4), {});
  };
  CHECK(sentence_of([&] { made(8, 5); }) ==
        "moe::PackedLatentLayer: down has 8 columns, the router's model_dim is 9");
  CHECK(sentence_of([&] { made(9, 4); }) ==
        "moe::PackedLatentLayer: up has 4 columns, the latent width is 5");
}

}  // namespace moe_test
