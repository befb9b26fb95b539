// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers whose experts work in a narrower space.
#include "moe/layer/latent.hpp"

#include "layer/shape_cases.hpp"
#include "moe/expert/any_of.hpp"
#include "moe/expert/identity.hpp"
#include "moe/layer/layer.hpp"

namespace moe_test {
namespace {

template <class S>
using Latent =
    moe::LatentLayer<S, moe::LinearRouter<S>, moe::TopKGate, moe::Ffn<S, moe::ReluSquared>>;

static_assert(moe::RoutedLayer<Latent<float>, float>);

const Case kCases[] = {
    {.t = 19, .d = 9, .h = 5, .e = 4, .k = 2, .seed = 1},
    {.t = 24, .d = 10, .h = 6, .e = 5, .k = 2, .capacity = 0.6, .masked = true, .seed = 2},
    {.t = 3, .d = 2, .h = 3, .e = 2, .k = 2, .seed = 3},
    {.t = 0, .d = 4, .h = 3, .e = 3, .k = 2, .seed = 4}};

template <class S>
Latent<S> make(const Case& c, Index latent_dim) {
  return Latent<S>({.model_dim = c.d,
                    .latent_dim = latent_dim,
                    .hidden_dim = c.h,
                    .num_experts = c.e,
                    .top_k = c.k,
                    .expert = {.bias = true},
                    .capacity = {.factor = c.capacity}},
                   c.seed);
}

}  // namespace

TEMPLATE_TEST_CASE("a latent layer projects down, mixes experts and projects up", "[layer][latent]",
                   float, double) {
  using S = TestType;
  for (const Case& c : kCases) {
    INFO(c);
    const Index width = std::max<Index>(1, c.d / 3);
    const auto layer = make<S>(c, width);
    const Matrix<S> x = random_matrix<S>(c.t, c.d, 1);
    const std::vector<std::uint8_t> mask = random_mask(c);
    Framed<S> y(c.t, c.d, 2);
    typename Latent<S>::Workspace workspace;
    layer.forward(x, y.view(), workspace, {.mask = mask});
    CHECK(y.frame_is_whole());

    Matrix<double> expected(c.t, c.d);
    double kink = 1;
    for (Index t = 0; t < c.t; ++t) {
      const naive::Row row(x.row(t).begin(), x.row(t).end());
      const naive::Row z = naive::affine(to_table(layer.down().value), {}, row);
      naive::Row u(z.size(), 0.0);
      for (Index j = 0; j < c.k; ++j) {
        const std::int32_t e = workspace.plan.expert_of(t * c.k + j);
        if (e == moe::kNoExpert) continue;
        const naive::Row out = naive::expert_output(to_naive_expert(layer.expert(e)), z, kink);
        for (std::size_t i = 0; i < u.size(); ++i) {
          u[i] += static_cast<double>(workspace.routing.weight(t, j)) * out[i];
        }
      }
      const naive::Row full = naive::affine(to_table(layer.up().value), {}, u);
      for (Index d = 0; d < c.d; ++d) expected(t, d) = full[static_cast<std::size_t>(d)];
    }
    CHECK(distance(y.inner(), expected) <= tolerance<S>(2 * c.d + c.h));
    // The router saw x at its full width.
    CHECK(layer.router().model_dim() == c.d);
    typename Latent<S>::Tape tape;
    Matrix<S> again(c.t, c.d);
    layer.forward(x, again, tape, {.mask = mask});
    CHECK(same_bits(again, y.inner()));
  }
}

TEST_CASE("a latent layer has the gradients of its differences", "[layer][latent][gradient]") {
  for (const Case& c : {kCases[0], kCases[1]}) {
    auto layer = make<double>(c, 3);
    const std::vector<std::uint8_t> mask = random_mask(c);
    check_shape_gradients(
        layer, random_matrix<double>(c.t, c.d, 5), {.mask = mask},
        [](auto& tape) { return static_cast<double>(tape.add_loss(moe::SwitchLoss{0.1})); }, 60);
  }
}

TEST_CASE("frozen projections get no gradient", "[layer][latent]") {
  const Case c = kCases[0];
  auto layer = make<double>(c, 3);
  layer.down().trainable = layer.up().trainable = false;
  const Matrix<double> x = random_matrix<double>(c.t, c.d, 1);
  const Step<double> step = train_step(layer, x, x);
  CHECK(step.gradient.at("down.weight").size() == 0);
  CHECK(step.gradient.at("up.weight").size() == 0);
  CHECK(step.gradient.at("experts.0.w_in").norm() > 0);
}

TEST_CASE("a latent layer refuses what does not fit", "[layer][latent][misuse]") {
  CHECK(sentence_of([] { make<float>(kCases[0], 0); }) ==
        "moe::LatentLayer: latent_dim is 0, expected at least 1");
  auto layer = make<float>(kCases[0], 3);
  const Matrix<float> x = random_matrix<float>(4, 9, 1);
  Matrix<float> y = Matrix<float>::Constant(4, 9, 3), dx = y;
  Latent<float>::Workspace workspace;
  Latent<float>::Tape tape;
  layer.up().value.resize(9, 2);
  CHECK(sentence_of([&] { layer.forward(x, y, workspace); }) ==
        "moe::LatentLayer::forward: up is [9, 2], expected [9, 3]");
  layer.up().value.setZero(9, 3);
  moe::Random random(1);
  const auto good = layer.expert(0);
  layer.expert(0) =
      moe::Ffn<float, moe::ReluSquared>({.model_dim = 9, .hidden_dim = 5}, {}, random);
  CHECK(sentence_of([&] { layer.forward(x, y, workspace); }) ==
        "moe::LatentLayer::forward: expert 0 has 9 columns, the latent width is 3");
  layer.expert(0) = good;
  CHECK((y.array() == 3).all());
  CHECK(sentence_of([&] { layer.backward(x, dx, tape); }) ==
        "moe::LatentLayer::backward: the tape is empty, expected one training forward before each "
        "backward");
  CHECK((dx.array() == 3).all());

  // Identity experts have no shape by which a narrower space would be noticed.
  using Any = moe::AnyOf<float, moe::IdentityExpert<float>>;
  moe::LatentLayer<float, moe::LinearRouter<float>, moe::TopKGate, Any> plain(
      layer.router(), layer.gate(), layer.down(), layer.up(), std::vector<Any>(4));
  decltype(plain)::Tape plain_tape;
  plain.forward(x, y, plain_tape);
  plain.down().value.setZero(5, 9);
  plain.up().value.setZero(9, 5);
  CHECK(sentence_of([&] { plain.backward(x, dx, plain_tape); }) ==
        "moe::LatentLayer::backward: the tape has 12 latent values, those of the tokens is 20");
  CHECK((dx.array() == 3).all());
}

TEST_CASE("a backward of layers that became wider is refused", "[layer][latent][misuse]") {
  using Any = moe::AnyOf<float, moe::IdentityExpert<float>>;  // have no width of their own
  const std::vector<Any> experts(4);
  moe::Random random(1);
  const moe::LinearRouter<float> narrow({.model_dim = 5, .num_experts = 4}, {}, random);
  const moe::LinearRouter<float> wide({.model_dim = 9, .num_experts = 4}, {}, random);
  const moe::TopKGate gate({.model_dim = 5, .num_experts = 4, .top_k = 2}, {});
  const Matrix<float> x = random_matrix<float>(4, 5, 1), dy = random_matrix<float>(4, 9, 2);
  Matrix<float> y(4, 5), dx = Matrix<float>::Constant(4, 9, 3);
  const auto refuses = [&](auto layer, const std::string& name, auto&& widen) {
    typename decltype(layer)::Tape tape;
    layer.forward(x, y, tape);
    widen(layer);
    CHECK(sentence_of([&] { layer.backward(dy, dx, tape); }) ==
          "moe::" + name + "::backward: the tape has 20 values of x, tokens times model_dim is 36");
    CHECK((dx.array() == 3).all());
  };
  refuses(moe::MoeLayer(narrow, gate, experts), "MoeLayer",
          [&](auto& layer) { layer.router() = wide; });
  moe::Parameter<float> down(3, 5), up(5, 3);
  refuses(moe::LatentLayer(narrow, gate, down, up, experts), "LatentLayer", [&](auto& layer) {
    layer.router() = wide;
    layer.down() = moe::Parameter<float>(3, 9);
    layer.up() = moe::Parameter<float>(9, 3);
  });
}

}  // namespace moe_test
