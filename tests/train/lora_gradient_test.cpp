// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "train/lora_cases.hpp"

namespace moe_test {

TEST_CASE("Gradients of adapters against finite differences", "[train][lora]") {
  auto layer = adapted_layer<moe::Ffn<double, moe::Gelu>>();
  Matrix<double> x = random_matrix<double>(9, 6, 5);
  const Matrix<double> dy = random_matrix<double>(9, 6, 6);
  const Step<double> step = train_step(layer, x, dy);
  const auto loss = [&] {
    const Matrix<double> y = output(layer, x);
    return y.cwiseProduct(dy).sum();
  };
  layer.visit_parameters([&](std::string_view name, auto& p) {
    if (p.trainable) {
      check_gradient(std::string(name), p.value, step.gradient.at(std::string(name)), loss, 60);
    }
  });
  check_gradient("x", x, step.dx, loss);
}

}  // namespace moe_test
