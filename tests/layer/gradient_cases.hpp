// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every gradient of one layer against central differences in double.
#pragma once

#include "support/gradients.hpp"
#include "support/trained.hpp"

namespace moe_test {

template <class ExpertType>
void check_layer_gradients(const Case& c, Losses losses = {}, Index most = 1000) {
  INFO(c);
  using Layer = LayerOf<double, ExpertType>;
  Layer layer = make_layer<Layer>(c);
  Matrix<double> x = decided_input(layer, c, 1e-3);
  const Matrix<double> dy = random_matrix<double>(c.t, c.d, c.seed + 1);
  const std::vector<std::uint8_t> mask = random_mask(c);
  const moe::Batch batch{.mask = mask};
  const Step<double> step = train_step(layer, x, dy, batch, losses);

  Matrix<double> y(c.t, c.d);
  typename Layer::Tape tape;
  const auto loss = [&] {
    layer.forward(x, y, tape, batch);
    double value = y.cwiseProduct(dy).sum();
    if (losses.balance != 0) value += tape.add_loss(moe::SwitchLoss{losses.balance});
    if (losses.z != 0) value += tape.add_loss(moe::RouterZLoss{losses.z});
    return value;
  };
  CHECK(loss() == Approx(step.loss));
  check_gradient("x", x, step.dx, loss, most);
  layer.visit_parameters([&](std::string_view name, auto& p) {
    check_gradient(std::string(name), p.value, step.gradient.at(std::string(name)), loss, most);
  });
}

}  // namespace moe_test
