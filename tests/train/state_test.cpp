// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/train/slots.hpp"

#include "moe/train/adamw.hpp"
#include "moe/train/sgd.hpp"
#include "train/modules.hpp"

namespace moe_test {
namespace {

/// Other names, the same shapes.
struct Renamed : Module<double> {
  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("weight"), weight);
    f(std::string_view("offset"), bias);
  }
};

/// The same parameters and one more in front.
struct Longer : Module<double> {
  moe::Parameter<double> adapter{2, 2};
  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("adapter"), adapter);
    Module<double>::visit_parameters(f);
  }
};

/// Two parameters of one name.
struct Twins : Module<double> {
  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("gain"), weight);
    f(std::string_view("gain"), bias);
  }
};

template <class M>
void set_gradients(M& module, double value) {
  module.visit_parameters([&](std::string_view, auto& p) {
    p.ensure_grad();
    p.grad.setConstant(value);
  });
}

}  // namespace

TEST_CASE("An optimizer's state can be put into another optimizer, which goes on", "[train]") {
  Module<double> first, second;
  moe::AdamW<double> one, two;
  for (int n = 0; n < 3; ++n) {
    set_gradients(first, 0.5 + n);
    one.step(first);
  }
  second = first;
  two.state() = one.state();
  CHECK(two.steps() == 3);
  one.step(first);
  two.step(second);
  CHECK(same_bits(first.weight.value, second.weight.value));
  CHECK(same_bits(first.bias.value, second.bias.value));
  CHECK(one.state().find("weight")->steps == 4);
  CHECK(one.state().find("bias")->first.size() == 4);
  CHECK(one.state().find("nothing") == nullptr);
}

TEST_CASE("An optimizer refuses parameters of other names", "[train][misuse]") {
  Module<double> module;
  Renamed renamed;
  set_gradients(module, 1);
  set_gradients(renamed, 1);
  moe::Sgd<double> sgd({.momentum = 0.9});
  sgd.step(module);
  CHECK(sentence_of([&] { sgd.step(renamed); }) ==
        "moe::Sgd::step: parameter 1 is offset, the optimizer's state is for bias; "
        "OptimizerState::adopt takes another module");
  CHECK(renamed.weight.value.isOnes(0));
  CHECK(sgd.state().steps == 1);
}

TEST_CASE("AdamW refuses the state of an Sgd, and half a state", "[train][misuse]") {
  Module<double> module;
  set_gradients(module, 1);
  moe::Sgd<double> sgd({.momentum = 0.9});
  sgd.step(module);
  const Matrix<double> before = module.weight.value;
  moe::AdamW<double> adamw;
  adamw.state() = sgd.state();
  const std::string half =
      "moe::AdamW::step: the state of weight has one of mean and mean square, expected both: that "
      "of an AdamW";
  CHECK(sentence_of([&] { adamw.step(module); }) == half);
  adamw.state().find("weight")->second.setZero(2, 6);
  CHECK(sentence_of([&] { adamw.step(module); }) ==
        "moe::AdamW::step: weight is [3, 4], the optimizer's state is [2, 6]");
  adamw.state().find("weight")->second.setZero(3, 4);
  adamw.state().find("weight")->first.resize(0, 0);
  CHECK(sentence_of([&] { adamw.step(module); }) == half);
  CHECK(same_bits(module.weight.value, before));
  CHECK(adamw.steps() == 1);
}

TEST_CASE("An adopted module keeps the state of what has the same name and shape", "[train]") {
  Module<double> module;
  set_gradients(module, 1);
  moe::Sgd<double> sgd({.momentum = 0.9});
  sgd.step(module);
  Longer longer;
  set_gradients(longer, 1);
  sgd.state().adopt(longer);
  CHECK(sgd.state().parameters.size() == 3);
  CHECK(sgd.state().find("adapter")->first.size() == 0);
  CHECK(sgd.state().find("weight")->first.isOnes(0));
  sgd.step(longer);
  CHECK(sgd.state().find("weight")->first.isConstant(1.9, 1e-15));
  CHECK(sgd.state().find("adapter")->first.isOnes(0));

  Module<double> wide(3, 5);
  sgd.state().adopt(wide);  // another shape: anew
  CHECK(sgd.state().parameters.size() == 2);
  CHECK(sgd.state().size() == 0);
}

TEST_CASE("Parameters of one name are told apart by their order", "[train]") {
  Twins twins;
  set_gradients(twins, 1);
  twins.bias.grad.setConstant(2);
  moe::Sgd<double> sgd({.momentum = 0.9});
  sgd.step(twins);
  sgd.state().adopt(twins);
  CHECK(sgd.state().find("gain", 0)->first.isOnes(0));
  CHECK(sgd.state().find("gain", 1)->first.isConstant(2, 0));
  CHECK(sgd.state().find("gain", 2) == nullptr);
  sgd.step(twins);
}

}  // namespace moe_test
