// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/train/adamw.hpp"

#include "train/optimizers.hpp"

namespace moe_test {
namespace {

moe::AdamW<double> make() { return moe::AdamW<double>({.lr = 0.1}); }

}  // namespace

TEST_CASE("AdamW follows its formula", "[train]") {
  const moe::AdamW<double>::Options o{
      .lr = 0.05, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3, .weight_decay = 0.1};
  moe::AdamW<double> adamw(o);
  Module<double> module;
  double w = 1, m = 0, v = 0;
  int n = 0;
  for (const double g : {0.5, -1.0, 2.0, 0.0}) {
    ++n;
    module.weight.grad.setConstant(g);
    const double lr = n == 3 ? 0.2 : o.lr;  // a schedule's rate once
    if (n == 3) {
      adamw.step(module, lr);
    } else {
      adamw.step(module);
    }
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    const double m_hat = m / (1 - std::pow(o.beta1, n)), v_hat = v / (1 - std::pow(o.beta2, n));
    w -= lr * (m_hat / (std::sqrt(v_hat) + o.eps) + o.weight_decay * w);
    CHECK(module.weight.value.isConstant(w, 1e-13));
    CHECK(adamw.steps() == n);
  }
}

TEMPLATE_TEST_CASE("AdamW agrees with PyTorch", "[train][golden]", float, double) {
  check_golden<TestType>(
      "adamw.txt",
      moe::AdamW<TestType>(
          {.lr = 0.05, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.1}));
}

TEMPLATE_TEST_CASE("AdamW's first step is the learning rate, whatever the gradient's size",
                   "[train]", float, double) {
  for (const double size : {1e-3, 1.0, 1e3}) {
    Module<TestType> module;
    module.weight.value.setZero();
    module.weight.grad.setConstant(static_cast<TestType>(-size));
    moe::AdamW<TestType>({.lr = 1, .eps = 0}).step(module);
    CHECK(distance(module.weight.value, Matrix<double>(Matrix<double>::Ones(3, 4))) <=
          tolerance<TestType>(1));
  }
}

TEST_CASE("AdamW's first step of a parameter that starts late is its first step", "[train]") {
  Module<double> module;
  module.weight.value.setZero();
  module.weight.grad.setConstant(-0.3);
  module.bias.grad.setConstant(0.5);
  module.weight.trainable = false;
  moe::AdamW<double> optimizer({.lr = 1, .eps = 0});
  for (int n = 0; n < 50; ++n) optimizer.step(module);
  CHECK(module.weight.value.isZero(0));
  module.weight.trainable = true;
  optimizer.step(module);
  CHECK(module.weight.value.isConstant(1, 1e-12));
}

TEST_CASE("AdamW decays matrices, not biases", "[train]") {
  Module<double> module;  // gradients are zero
  moe::AdamW<double>({.lr = 0.1, .weight_decay = 0.5}).step(module);
  CHECK(module.weight.value.isConstant(1 - 0.1 * 0.5, 1e-15));
  CHECK(module.bias.value.isOnes(0));
}

TEST_CASE("AdamW leaves frozen parameters and those without a gradient alone", "[train]") {
  check_frozen(make);
  check_without_gradient(make);
}

TEST_CASE("AdamW refuses a module other than its first", "[train][misuse]") {
  check_other_module("moe::AdamW::step", make);
  Module<double> module;
  Single<double> single;
  moe::AdamW<double> adamw;
  adamw.step(module);
  CHECK_THROWS_AS(adamw.step(single), std::invalid_argument);
  CHECK(adamw.steps() == 1);
}

}  // namespace moe_test
