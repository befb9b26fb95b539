// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/train/clip.hpp"

#include "train/modules.hpp"

namespace moe_test {
namespace {

/// Gradients whose joint norm is 5.
Module<double> made() {
  Module<double> module;
  module.weight.grad(1, 2) = 3;
  module.bias.grad(0, 0) = -4;
  return module;
}

}  // namespace

TEST_CASE("clipping scales all gradients to the norm together", "[train]") {
  Module<double> module = made();
  CHECK(moe::clip_grad_norm(module, 1) == Approx(5));
  CHECK(module.weight.grad(1, 2) == Approx(0.6));
  CHECK(module.bias.grad(0, 0) == Approx(-0.8));
  CHECK(moe::clip_grad_norm(module, 1) == Approx(1));
}

TEST_CASE("clipping leaves small gradients alone", "[train]") {
  for (const double limit : {5.0, 6.0, std::numeric_limits<double>::infinity()}) {
    Module<double> module = made();
    CHECK(moe::clip_grad_norm(module, limit) == Approx(5));
    CHECK(module.weight.grad(1, 2) == 3);
    CHECK(module.bias.grad(0, 0) == -4);
  }
}

TEST_CASE("clipping neither counts nor scales frozen gradients", "[train]") {
  Module<double> module = made();
  module.weight.trainable = false;
  CHECK(moe::clip_grad_norm(module, 1) == Approx(4));
  CHECK(module.weight.grad(1, 2) == 3);
  CHECK(module.bias.grad(0, 0) == Approx(-1));
}

TEST_CASE("clipping works before any gradient exists", "[train]") {
  Module<double> module;
  module.weight.grad.resize(0, 0);
  module.bias.grad.resize(0, 0);
  CHECK(moe::clip_grad_norm(module, 1) == 0);
}

TEST_CASE("a gradient that is not finite is reported and left as it is", "[train]") {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Module<double> module = made();
    module.weight.grad(0, 0) = bad;
    CHECK_FALSE(std::isfinite(moe::clip_grad_norm(module, 1)));
    CHECK(module.weight.grad(1, 2) == 3);
    CHECK(module.bias.grad(0, 0) == -4);
  }
}

TEST_CASE("float gradients are summed in double", "[train]") {
  Module<float> module;
  module.weight.grad.setConstant(1e25f);  // squares overflow float
  CHECK(moe::clip_grad_norm(module, 1) == Approx(std::sqrt(12.0) * 1e25));
  CHECK(module.weight.grad(0, 0) == Approx(1 / std::sqrt(12.0)));
}

TEST_CASE("the norm to clip to must be above zero", "[train][misuse]") {
  Module<double> module = made();
  const auto sentence = [&](double limit) {
    return sentence_of([&] { moe::clip_grad_norm(module, limit); });
  };
  const std::string end = ", expected a value above 0";
  CHECK(sentence(0) == "moe::clip_grad_norm: max_norm is 0.000000" + end);
  CHECK(sentence(-1) == "moe::clip_grad_norm: max_norm is -1.000000" + end);
  CHECK(sentence(std::numeric_limits<double>::quiet_NaN()) ==
        "moe::clip_grad_norm: max_norm is nan" + end);
  CHECK(module.weight.grad(1, 2) == 3);
}

}  // namespace moe_test
