// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/train/sgd.hpp"

#include "train/optimizers.hpp"

namespace moe_test {
namespace {

moe::Sgd<double> with_momentum() { return moe::Sgd<double>({.lr = 0.1, .momentum = 0.9}); }

}  // namespace

TEST_CASE("SGD takes the gradient times the learning rate", "[train]") {
  Module<double> module;
  module.weight.grad.setConstant(0.5);
  module.bias.grad.setConstant(-2);
  moe::Sgd<double> sgd({.lr = 0.1});
  sgd.step(module);
  CHECK(module.weight.value.isConstant(1 - 0.1 * 0.5, 1e-15));
  CHECK(module.bias.value.isConstant(1 + 0.1 * 2, 1e-15));
  sgd.step(module, 0.01);  // a schedule's rate instead
  CHECK(module.weight.value.isConstant(1 - 0.1 * 0.5 - 0.01 * 0.5, 1e-15));
}

TEST_CASE("SGD with momentum and decay follows its formula", "[train]") {
  Module<double> module;
  moe::Sgd<double> sgd({.lr = 0.1, .momentum = 0.9, .weight_decay = 0.02});
  double w = 1, v = 0;
  for (const double g : {0.5, -1.0, 2.0, 0.0}) {
    module.weight.grad.setConstant(g);
    sgd.step(module);
    v = 0.9 * v + (g + 0.02 * w);
    w -= 0.1 * v;
    CHECK(module.weight.value.isConstant(w, 1e-14));
  }
}

TEST_CASE("SGD without momentum decays too", "[train]") {
  Module<double> module;
  moe::Sgd<double>({.lr = 0.1, .weight_decay = 0.5}).step(module);
  CHECK(module.weight.value.isConstant(1 - 0.1 * 0.5, 1e-15));
}

TEMPLATE_TEST_CASE("SGD agrees with PyTorch", "[train][golden]", float, double) {
  check_golden<TestType>("sgd.txt",
                         moe::Sgd<TestType>({.lr = 0.1, .momentum = 0.9, .weight_decay = 0.02}));
}

TEST_CASE("SGD leaves frozen parameters and those without a gradient alone", "[train]") {
  check_frozen(with_momentum);
  check_without_gradient(with_momentum);
  check_without_gradient([] { return moe::Sgd<double>({.lr = 0.1, .weight_decay = 0.1}); });
}

TEST_CASE("SGD refuses a module other than its first", "[train][misuse]") {
  check_other_module("moe::Sgd::step", with_momentum);
}

}  // namespace moe_test
