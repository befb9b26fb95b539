// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What every optimizer must do: follow PyTorch's numbers, leave frozen parameters alone, refuse a
// module it does not know.
#pragma once

#include "support/golden.hpp"
#include "train/modules.hpp"

namespace moe_test {

template <class S, class Optimizer>
void check_golden(const std::string& file, Optimizer optimizer) {
  const Golden golden = read_golden(file);
  Module<S> module;
  module.weight.value = golden.at("weight.0").template cast<S>();
  module.bias.value = golden.at("bias.0").template cast<S>();
  for (int n = 1; n <= 5; ++n) {
    const std::string step = std::to_string(n);
    module.weight.grad = golden.at("weight.grad." + step).template cast<S>();
    module.bias.grad = golden.at("bias.grad." + step).template cast<S>();
    optimizer.step(module);
    CHECK(distance(module.weight.value, golden.at("weight." + step)) <= tolerance<S>(n));
    CHECK(distance(module.bias.value, golden.at("bias." + step)) <= tolerance<S>(n));
  }
}

/// `make`: an optimizer that keeps state and decays.
template <class Make>
void check_frozen(Make make) {
  Module<double> module;
  module.weight.grad.setConstant(0.5);
  module.bias.grad.setConstant(0.5);
  const Matrix<double> before = module.weight.value;
  module.weight.trainable = false;
  auto optimizer = make();
  optimizer.step(module);
  CHECK(same_bits(module.weight.value, before));
  CHECK(module.bias.value(0, 0) < 1);

  // It has no state yet: thawed, it starts as if new.
  Module<double> fresh;
  fresh.weight.grad.setConstant(0.5);
  fresh.bias.trainable = false;
  module.weight.trainable = true;
  auto second = make();
  second.step(fresh);
  const Matrix<double> fresh_step = fresh.weight.value - before;
  if constexpr (!requires { optimizer.steps(); }) {  // no bias correction by age
    optimizer.step(module);
    CHECK(distance(Matrix<double>(module.weight.value - before), fresh_step) < 1e-15);
  }
}

/// A parameter without a gradient (never trained yet) stays where it is.
template <class Make>
void check_without_gradient(Make make) {
  Module<double> module;
  module.weight.grad.resize(0, 0);
  module.bias.grad.setConstant(0.5);
  const Matrix<double> before = module.weight.value;
  auto optimizer = make();
  optimizer.step(module);
  CHECK(same_bits(module.weight.value, before));
  CHECK(module.bias.value(0, 0) < 1);
}

template <class Make>
void check_other_module(const std::string& name, Make make) {
  Module<double> module;
  module.weight.grad.setConstant(0.5);
  module.bias.grad.setConstant(0.5);
  auto optimizer = make();
  optimizer.step(module);
  Single<double> single;
  single.weight.grad.setOnes(3, 4);
  const Matrix<double> single_before = single.weight.value;
  CHECK(sentence_of([&] { optimizer.step(single); }) ==
        name + ": the module has 1 parameters, the optimizer's state is for 2");
  CHECK(same_bits(single.weight.value, single_before));

  Module<double> wide(3, 5);
  wide.weight.grad.setOnes();
  const Matrix<double> wide_before = wide.weight.value;
  CHECK(sentence_of([&] { optimizer.step(wide); }) ==
        name + ": weight is [3, 5], the optimizer's state is [3, 4]");
  CHECK(same_bits(wide.weight.value, wide_before));

  // The refusals left the state alone.
  Module<double> twin;
  twin.weight.grad.setConstant(0.5);
  twin.bias.grad.setConstant(0.5);
  auto undisturbed = make();
  for (int n = 0; n < 2; ++n) undisturbed.step(twin);
  optimizer.step(module);
  CHECK(same_bits(module.weight.value, twin.weight.value));
}

}  // namespace moe_test
