// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The whole library learns: a small layer, real optimizers, a task with a known answer.
#include "moe/moe.hpp"
#include "support/catch.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

template <class S>
using Layer = LayerOf<S, moe::Ffn<S, moe::Gelu>>;

template <class S>
Layer<S> small_layer() {
  return Layer<S>({.model_dim = 4,
                   .hidden_dim = 16,
                   .num_experts = 4,
                   .top_k = 2,
                   .router = {.bias = true},
                   .expert = {.bias = true}},
                  7);
}

/// Which of four linear maps applies depends on the signs of two columns: a mixture's home ground.
/// The best single linear map is left with a squared error of 3.7.
template <class S>
Matrix<S> answer(const Matrix<S>& x) {
  Matrix<S> y(x.rows(), 4);
  for (Index t = 0; t < x.rows(); ++t) {
    const S a = x(t, 0) > 0 ? S(1) : S(-1), b = x(t, 1) > 0 ? S(1) : S(-1);
    y.row(t) << a * x(t, 2), b * x(t, 3), a * b * x(t, 2), a + b;
  }
  return y;
}

/// Trains for `steps` and returns the mean squared error on fresh tokens.
template <class S, class Step>
double train(Layer<S>& layer, int steps, Step&& optimize) {
  typename Layer<S>::Tape tape;
  Matrix<S> y(64, 4), dx(64, 4);
  for (int n = 0; n < steps; ++n) {
    const Matrix<S> x = random_matrix<S>(64, 4, static_cast<std::uint64_t>(n));
    moe::zero_grad(layer);
    layer.forward(x, y, tape);
    tape.add_loss(moe::SwitchLoss{0.01});
    tape.add_loss(moe::RouterZLoss{0.001});
    const Matrix<S> dy = (y - answer(x)) * S(2.0 / 64);
    layer.backward(dy, dx, tape);
    moe::clip_grad_norm(layer, 5);
    optimize(n);
  }
  const Matrix<S> x = random_matrix<S>(256, 4, 1u << 20);
  Matrix<S> out(256, 4);
  layer.forward(x, out, tape);
  return static_cast<double>((out - answer(x)).squaredNorm()) / 256;
}

}  // namespace

TEMPLATE_TEST_CASE("a small layer learns with AdamW and a schedule", "[train]", float, double) {
  auto layer = small_layer<TestType>();
  const double before = train<TestType>(layer, 0, [](int) {});
  moe::AdamW<TestType> adamw({.weight_decay = 1e-3});
  const moe::WarmupCosine lr{.peak = 2e-2, .warmup_steps = 20, .total_steps = 1200};
  const moe::TemperatureAnnealing temperature{.start = 2, .end = 1, .steps = 300};
  const double after = train<TestType>(layer, 1200, [&](int n) {
    layer.gate().set_temperature(temperature.at(n));
    adamw.step(layer, lr.at(n));
  });
  CHECK(before > 3);
  CHECK(after < 0.5);
}

TEST_CASE("a small layer learns with SGD and momentum", "[train]") {
  auto layer = small_layer<double>();
  moe::Sgd<double> sgd({.lr = 0.05, .momentum = 0.9});
  CHECK(train<double>(layer, 1200, [&](int) { sgd.step(layer); }) < 0.6);
}

TEST_CASE("training twice from one seed gives the same bits", "[train]") {
  const auto once = [] {
    auto layer = small_layer<float>();
    moe::AdamW<float> adamw;
    train<float>(layer, 20, [&](int) { adamw.step(layer); });
    return parameters_of(layer);
  };
  CHECK(same_bits(once(), once()));
}

TEST_CASE("frozen parameters stay where they are while the rest learns", "[train]") {
  auto layer = small_layer<double>();
  layer.router().weight.trainable = false;
  layer.expert(2).w_in.trainable = layer.expert(2).b_out.trainable = false;
  const auto before = parameters_of(layer);
  moe::AdamW<double> adamw({.lr = 1e-2, .weight_decay = 0.1});
  train<double>(layer, 30, [&](int) { adamw.step(layer); });
  for (const auto& [name, value] : parameters_of(layer)) {
    if (name.ends_with("gradient")) continue;
    const bool frozen =
        name == "router.weight" || name == "experts.2.w_in" || name == "experts.2.b_out";
    INFO(name);
    CHECK(same_bits(value, before.at(name)) == frozen);
  }
  CHECK(layer.router().weight.grad.size() == 0);
  CHECK(layer.expert(2).w_in.grad.size() == 0);
}

}  // namespace moe_test
