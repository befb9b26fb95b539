// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers whose experts work in a narrower space.
#include "moe/layer/latent.hpp"

#include "moe/layer/layer.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/threads.hpp"
#include "support/trained.hpp"

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
    Matrix<double> x = random_matrix<double>(c.t, c.d, 5), y(c.t, c.d);
    Matrix<double> dy = random_matrix<double>(c.t, c.d, 6);
    const std::vector<std::uint8_t> mask = random_mask(c);
    const moe::Batch batch{.mask = mask};
    const Step<double> step = train_step(layer, x, dy, batch, {.balance = 0.1});
    typename Latent<double>::Tape tape;
    const auto loss = [&] {
      layer.forward(x, y, tape, batch);
      return y.cwiseProduct(dy).sum() + tape.add_loss(moe::SwitchLoss{0.1});
    };
    check_gradient("x", x, step.dx, loss);
    layer.visit_parameters([&](std::string_view name, auto& p) {
      check_gradient(std::string(name), p.value, step.gradient.at(std::string(name)), loss, 60);
    });
    // What stands in dy for padding is nobody's business.
    for (std::size_t t = 0; t < mask.size(); ++t) {
      if (mask[t] == 0) dy.row(static_cast<Index>(t)).setConstant(std::nan(""));
    }
    CHECK(same_bits(train_step(layer, x, dy, batch, {.balance = 0.1}), step));
  }
}

TEMPLATE_TEST_CASE("a latent layer has the same bits on any threads and in any batch",
                   "[layer][latent][bitwise]", float, double) {
  using S = TestType;
  const Case c{.t = 120, .d = 70, .h = 40, .e = 6, .k = 2, .seed = 7};
  auto layer = make<S>(c, 33);
  const Matrix<S> x = random_matrix<S>(c.t, c.d, 1), dy = random_matrix<S>(c.t, c.d, 2);
  const Step<S> serial = train_step(layer, x, dy);
  for (const Index size : {2, 3, 4}) {
    Threads threads(size);
    typename Latent<S>::Tape tape{moe::ExecutorRef(threads)};
    CHECK(same_bits(train_step(layer, x, dy, tape), serial));
  }
  for (const Index size : {1, 9, 50}) {
    const Step<S> part =
        train_step(layer, Matrix<S>(x.middleRows(11, size)), Matrix<S>(dy.middleRows(11, size)));
    CHECK(same_bits(part.y, serial.y.middleRows(11, size)));
    CHECK(same_bits(part.dx, serial.dx.middleRows(11, size)));
  }
}

TEST_CASE("frozen projections get no gradient, and a NaN stays in its token", "[layer][latent]") {
  const Case c = kCases[0];
  auto layer = make<double>(c, 3);
  layer.down().trainable = layer.up().trainable = false;
  Matrix<double> x = random_matrix<double>(c.t, c.d, 1);
  const Step<double> step = train_step(layer, x, x);
  CHECK(step.gradient.at("down.weight").size() == 0);
  CHECK(step.gradient.at("up.weight").size() == 0);
  Matrix<double> y(c.t, c.d);
  typename Latent<double>::Workspace workspace;
  x(5, 0) = std::nan("");
  layer.forward(x, y, workspace);
  for (Index t = 0; t < c.t; ++t) {
    CHECK((t == 5 ? y.row(t).array().isNaN().all() : same_bits(y.row(t), step.y.row(t))));
  }
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
}

}  // namespace moe_test
