// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every gradient of layers of experts of several kinds.
#include "expert/mixed.hpp"
#include "support/gradients.hpp"

namespace moe_test {
namespace {

void check(const Case& c, bool on_input) {
  INFO(c);
  auto layer = make_mixed_layer<double>(c, every_kind<double>(), on_input);
  // With the weight on the input a clamped gate meets its limit elsewhere: not near it either way.
  Matrix<double> x = decided_mixed_input(layer, c, 1e-3), y(c.t, c.d);
  const Matrix<double> dy = random_matrix<double>(c.t, c.d, c.seed + 1);
  const std::vector<std::uint8_t> mask = random_mask(c);
  const moe::Batch batch{.mask = mask};
  const Step<double> step = train_step(layer, x, dy, batch, {.balance = 0.1});
  MixedLayer<double>::Tape tape;
  const auto loss = [&] {
    layer.forward(x, y, tape, batch);
    return y.cwiseProduct(dy).sum() + tape.add_loss(moe::SwitchLoss{0.1});
  };
  CHECK(loss() == Approx(step.loss));
  check_gradient("x", x, step.dx, loss);
  layer.visit_parameters([&](std::string_view name, auto& p) {
    const Matrix<double>& gradient = step.gradient.at(std::string(name));
    if (gradient.size() == 0) return;  // an expert that no token chose
    check_gradient(std::string(name), p.value, gradient, loss, 60);
  });
}

}  // namespace

TEST_CASE("a layer of several kinds has the gradients of its differences", "[expert][gradient]") {
  SECTION("some experts") { check({.t = 9, .d = 5, .h = 4, .e = 12, .k = 4, .seed = 21}, false); }
  SECTION("every expert") { check({.t = 5, .d = 6, .h = 3, .e = 12, .k = 12, .seed = 22}, false); }
  SECTION("drops and padding") {
    check({.t = 14, .d = 4, .h = 5, .e = 12, .k = 3, .capacity = 0.7, .masked = true, .seed = 23},
          false);
  }
  SECTION("weights on the input") {
    check({.t = 6, .d = 5, .h = 4, .e = 12, .k = 12, .renormalize = false, .seed = 24}, true);
  }
}

TEMPLATE_TEST_CASE("cheap experts alone have the gradients of their differences",
                   "[expert][gradient]", moe::IdentityExpert<double>, moe::ZeroExpert<double>,
                   moe::ConstantExpert<double>) {
  moe::Random random(3);
  TestType expert({.model_dim = 5}, {}, random);
  Matrix<double> in = random_matrix<double>(4, 5, 1), out(4, 5), din(4, 5);
  const Matrix<double> dout = random_matrix<double>(4, 5, 2);
  typename TestType::State state;
  const auto loss = [&] {
    expert.forward(in, out, state);
    return out.cwiseProduct(dout).sum();
  };
  loss();
  double kink = 1;
  Matrix<double> expected(4, 5);
  for (Index t = 0; t < 4; ++t) {
    const naive::Row row =
        output_of<double>(expert, naive::Row(in.row(t).begin(), in.row(t).end()), kink);
    std::copy(row.begin(), row.end(), expected.row(t).data());
  }
  CHECK(distance(out, expected) < 1e-14);
  expert.backward(in, dout, din, state);
  check_gradient("in", in, din, loss);
  expert.visit_parameters([&](std::string_view name, auto& p) {
    check_gradient(std::string(name), p.value, p.grad, loss);
  });
}

TEMPLATE_TEST_CASE("a homogeneous layer of cheap experts works too", "[expert][gradient]",
                   moe::IdentityExpert<double>, moe::ZeroExpert<double>,
                   moe::ConstantExpert<double>) {
  using Layer = LayerOf<double, TestType>;
  Layer layer({.model_dim = 5, .num_experts = 4, .top_k = 2, .gate = {.renormalize = false}}, 3);
  Matrix<double> x = random_matrix<double>(7, 5, 1), y(7, 5);
  const Matrix<double> dy = random_matrix<double>(7, 5, 2);
  const Step<double> step = train_step(layer, x, dy);
  typename Layer::Tape tape;
  const auto loss = [&] {
    layer.forward(x, y, tape);
    return y.cwiseProduct(dy).sum();
  };
  check_gradient("x", x, step.dx, loss);
  layer.visit_parameters([&](std::string_view name, auto& p) {
    const Matrix<double>& gradient = step.gradient.at(std::string(name));
    if (gradient.size() != 0) check_gradient(std::string(name), p.value, gradient, loss);
  });
}

}  // namespace moe_test
