// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Gradients of every loss through the gate, and through a whole layer.
#include "loss/all_losses.hpp"

namespace moe_test {

TEST_CASE("every loss has the gradient of its differences through the gate", "[loss][gradient]") {
  for (const bool renormalize : {true, false}) {
    for (const Index k : {1, 2, 5}) {
      Matrix<double> logits = random_matrix<double>(6, 5, 12);
      const std::vector<std::uint8_t> mask{1, 1, 0, 1, 1, 1};
      const moe::TopKGate gate({.num_experts = 5, .top_k = k}, {.renormalize = renormalize});
      moe::TopKGate::State state;
      for_all_losses(6, 5, true, [&](const char* name, const auto& loss) {
        INFO(name << ", K " << k << ", renormalised " << renormalize);
        LossCase<double> c(logits, k, mask);
        const auto value = [&] {
          c.logits = logits;
          gate.forward(MatrixView<const double>(logits), c.routing, c.batch, state);
          c.routing.clear_padding(c.batch);
          return c.value_of(loss);
        };
        value();
        Matrix<double> gradient = c.dlogits;
        gate.backward(std::as_const(c.routing), MatrixView<const double>(c.dweight),
                      MatrixView<const double>(c.dscores), MatrixView<double>(gradient), state);
        check_gradient("logits", logits, gradient, value);
      });
    }
  }
}

TEST_CASE("every loss has the gradient of its differences through a layer", "[loss][gradient]") {
  using Layer = LayerOf<double, moe::GatedFfn<double>>;
  Case c;
  c.t = 7;
  auto layer = make_layer<Layer>(c);
  Matrix<double> x = decided_input(layer, c, 1e-3);
  const Matrix<double> dy = random_matrix<double>(c.t, c.d, 3);
  const std::vector<std::uint8_t> mask{1, 1, 0, 1, 1, 1, 1};
  const moe::Batch batch{.mask = mask};
  for_all_losses(c.t, c.e, false, [&](const char* name, const auto& loss) {
    INFO(name);
    Layer::Tape tape;
    Matrix<double> y(c.t, c.d), dx(c.t, c.d);
    const auto value = [&] {
      layer.forward(x, y, tape, batch);
      double sum = tape.add_loss(loss);
      for (Index t = 0; t < c.t; ++t) sum += batch.is_padding(t) ? 0 : dy.row(t).dot(y.row(t));
      return sum;
    };
    value();
    layer.visit_parameters([](std::string_view, auto& p) { p.grad.setZero(); });
    layer.backward(dy, dx, tape);
    check_gradient("x", x, dx, value);
    const Matrix<double> by_router = layer.router().weight.grad;
    check_gradient("router.weight", layer.router().weight.value, by_router, value);
  });
}

}  // namespace moe_test
