// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/train/adamw.hpp"
#include "moe/train/freeze.hpp"
#include "moe/train/router_supervision.hpp"
#include "support/catch.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

using Ffn = moe::Ffn<float, moe::Relu>;
using Layer = LayerOf<float, Ffn>;
constexpr Index kTokens = 64, kDim = 6;

/// Domain e: x around a point of its own, and a function of its own.
struct Task {
  Matrix<float> x{kTokens, kDim}, target{kTokens, kDim};
  Matrix<std::int32_t> label{kTokens, 1};

  /// `only` < 0: all three domains.
  Task(std::uint64_t seed, int only) {
    x = random_matrix<float>(kTokens, kDim, seed) * 0.5f;
    moe::Random random(seed, 7);
    for (Index t = 0; t < kTokens; ++t) {
      const int domain = only >= 0 ? only : static_cast<int>(random.below(3));
      label(t, 0) = domain;
      x(t, domain) += 2;
      for (Index d = 0; d < kDim; ++d) {
        target(t, d) = x(t, (d + domain + 1) % kDim) * static_cast<float>(domain - 1.5);
      }
    }
  }
};

/// Writes dy of the mean squared error and returns that.
double error(const Matrix<float>& y, const Matrix<float>& target, Matrix<float>& dy) {
  dy = (y - target) * (2.0f / static_cast<float>(y.size()));
  return static_cast<double>((y - target).squaredNorm()) / static_cast<double>(y.size());
}

double error_of_layer(const Layer& layer) {
  const Task task(999, -1);
  Matrix<float> y(kTokens, kDim), dy;
  Layer::Workspace workspace;
  layer.forward(task.x, y, workspace);
  return error(y, task.target, dy);
}

}  // namespace

TEST_CASE("Experts are trained apart, then the router on labels, then all together", "[train]") {
  Layer layer({.model_dim = kDim, .hidden_dim = 24, .num_experts = 3, .top_k = 1}, 1);
  Matrix<float> y(kTokens, kDim), dy(kTokens, kDim), dx(kTokens, kDim);
  const double untrained = error_of_layer(layer);

  for (Index e = 0; e < 3; ++e) {
    Ffn& expert = layer.expert(e);
    Ffn::State state;
    moe::AdamW<float> optimizer({.lr = 1e-2});
    for (std::uint64_t n = 0; n < 150; ++n) {
      const Task task(1000 * n + static_cast<std::uint64_t>(e), static_cast<int>(e));
      moe::zero_grad(expert);
      expert.forward(task.x, y, state);
      error(y, task.target, dy);
      expert.backward(task.x, dy, dx, state);
      optimizer.step(expert);
    }
  }

  const auto experts = parameters_of(layer);
  moe::RouterSupervision<Layer> lesson;
  moe::AdamW<float> router_optimizer({.lr = 3e-2});
  double first = 0, last = 0;
  for (std::uint64_t n = 0; n < 60; ++n) {
    const Task task(50'000 + n, -1);
    moe::zero_grad(layer.router());
    last = lesson.backward(layer, task.x, task.label);
    if (n == 0) first = last;
    router_optimizer.step(layer.router());
  }
  CHECK(last < 0.2 * first);
  CHECK(lesson.agreement() > 0.95);
  for (const auto& [name, value] : parameters_of(layer)) {
    if (moe::names_parameter("experts", name)) CHECK(same_bits(value, experts.at(name)));
  }
  const double apart = error_of_layer(layer);
  CHECK(apart < 0.3 * untrained);

  Layer::Tape tape;
  moe::AdamW<float> optimizer({.lr = 3e-3});
  for (std::uint64_t n = 0; n < 100; ++n) {
    const Task task(70'000 + n, -1);
    moe::zero_grad(layer);
    layer.forward(task.x, y, tape);
    error(y, task.target, dy);
    layer.backward(dy, dx, tape);
    optimizer.step(layer);
  }
  CHECK(error_of_layer(layer) < apart);
}

TEST_CASE("A router's lesson is the gradient of the supervised loss through the layer", "[train]") {
  Layer layer({.model_dim = kDim, .hidden_dim = 24, .num_experts = 3, .top_k = 2}, 1);
  Task task(4, -1);
  task.label(5, 0) = moe::kNoExpert;
  std::vector<std::uint8_t> mask(kTokens, 1);
  mask[3] = 0;
  const moe::Batch batch{.mask = mask};
  Layer::Tape tape;
  Matrix<float> y(kTokens, kDim), zero = Matrix<float>::Zero(kTokens, kDim), dx = zero;
  layer.forward(task.x, y, tape, batch);
  const float expected = tape.add_loss(moe::SupervisedRoutingLoss{1.0, task.label});
  layer.backward(zero, dx, tape);
  const Matrix<float> gradient = layer.router().weight.grad;

  moe::zero_grad(layer);
  moe::RouterSupervision<Layer> lesson;
  CHECK(lesson.backward(layer, task.x, task.label, batch) == Approx(expected).epsilon(1e-6));
  CHECK(same_bits(layer.router().weight.grad, gradient));

  const Matrix<std::int32_t> few = task.label.topRows(9);
  CHECK(sentence_of([&] { lesson.backward(layer, task.x, few); }) ==
        "moe::RouterSupervision::backward: labels has 9 rows, the number of tokens is 64");
  const std::vector<std::uint8_t> short_mask(9, 1);
  CHECK(sentence_of([&] { lesson.backward(layer, task.x, task.label, {.mask = short_mask}); }) ==
        "moe::RouterSupervision::backward: mask has 9 values, the number of tokens is 64");
  const std::vector<std::int64_t> few_places(9, 1);
  CHECK(sentence_of(
            [&] { lesson.backward(layer, task.x, task.label, {.token_places = few_places}); }) ==
        "moe::RouterSupervision::backward: token_places has 9 values, the number of tokens is 64");
  layer.router().bias = moe::Parameter<float>(1, 2);
  CHECK(sentence_of([&] { lesson.backward(layer, task.x, task.label); }) ==
        "moe::RouterSupervision::backward: the router's bias is [1, 2], expected [1, 3]");
  layer.router().bias = {};
  task.label(0, 0) = 3;
  CHECK(sentence_of([&] { lesson.backward(layer, task.x, task.label); }) ==
        "moe::SupervisedRoutingLoss: the label of token 0 is 3, expected 0 to 2 or -1 for none");
  CHECK(same_bits(layer.router().weight.grad, gradient));
}

}  // namespace moe_test
