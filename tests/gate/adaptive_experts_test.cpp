// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/gate/adaptive_experts.hpp"

#include "gate/gate_checks.hpp"
#include "moe/router/cosine.hpp"

namespace moe_test {
namespace {

using Gate = moe::TopAnyGate<double>;
using Adaptive = moe::AdaptiveExperts<double>;

/// Four experts along the axes of a plane, thresholds at 0: x itself is what they are compared with.
struct Plane {
  Gate gate{{.num_experts = 4, .top_k = 1}, {}};
  moe::Parameter<double> experts{4, 2};
  Adaptive adaptive;

  Plane() { experts.value << 1, 0, 0, 1, -1, 0, 0, -1; }

  void observe(const Matrix<double>& x, Batch batch = {}) {
    batch.training = true;
    const Matrix<double> logits = x * experts.value.transpose();
    adaptive.observe(route(gate, logits, batch).routing, x, batch);
  }
  Adaptive::Change update() { return adaptive.update(gate, experts); }
  std::vector<int> active() const {
    return std::vector<int>(gate.active().begin(), gate.active().end());
  }
};

}  // namespace

TEST_CASE("experts that no token used are switched off", "[gate][adaptive]") {
  Plane c;
  c.observe(rows({{1, 2}, {2, 1}}));
  c.observe(rows({{1, -2}}));
  const Adaptive::Change change = c.update();
  CHECK(change.removed == 1);
  CHECK(change.added == moe::kNoExpert);
  CHECK(c.active() == std::vector<int>{1, 1, 0, 1});
  CHECK(c.update().removed == 0);  // nothing was observed since
}

TEST_CASE("an expert is switched on for tokens that found none, in their direction",
          "[gate][adaptive]") {
  Plane c;
  c.gate.set_active(3, false);
  c.gate.threshold.value.setConstant(0.5);
  c.observe(rows({{3, 3}, {-3, 3}, {0, -3}, {-4, -4}}));  // two of them are lost or half lost
  const Matrix<double> before = c.experts.value;
  const Adaptive::Change change = c.update();
  CHECK(change.removed == 0);
  CHECK(change.added == 3);
  CHECK(c.active() == std::vector<int>{1, 1, 1, 1});
  CHECK(c.gate.threshold.value(0, 3) == 0);
  CHECK(c.experts.value.row(3).isApprox(Matrix<double>(rows({{0, -1}})).row(0)));
  CHECK(same_bits(c.experts.value.topRows(3), before.topRows(3)));
  c.observe(rows({{0, -3}}));
  CHECK(c.update().added == moe::kNoExpert);  // it has an expert now
}

TEST_CASE("the direction of a new expert is that of the sum of lost tokens", "[gate][adaptive]") {
  Plane c;
  c.gate.threshold.value.setConstant(10);
  c.gate.threshold.value(0, 1) = 0;
  const double nan = kNaN;
  const std::vector<std::uint8_t> mask = {1, 1, 1, 0, 1};
  c.observe(rows({{3, -1}, {1, -3}, {1, 2}, {50, -50}, {nan, 1}}), {.mask = mask});
  const Adaptive::Change change = c.update();
  CHECK(change.removed == 3);
  CHECK(change.added == 0);
  CHECK(c.active() == std::vector<int>{1, 1, 0, 0});
  CHECK(c.experts.value(0, 0) == Approx(4 / std::sqrt(32)));
  CHECK(c.experts.value(0, 1) == Approx(-4 / std::sqrt(32)));
}

TEST_CASE("one expert remains whatever happens", "[gate][adaptive]") {
  Plane c;
  c.gate.threshold.value.setConstant(10);
  c.observe(rows({{0, 0}}));  // no direction: nobody is switched on either
  CHECK(c.update().removed == 3);
  CHECK(c.active() == std::vector<int>{0, 0, 0, 1});
  c.observe(Matrix<double>(0, 2));
  CHECK(c.update().removed == 0);
  const std::vector<std::uint8_t> nobody(2, 0);
  c.observe(rows({{1, 2}, {2, 1}}), {.mask = nobody});
  CHECK(c.update().removed == 0);
}

TEST_CASE("adaptive experts work on what a cosine router compares", "[gate][adaptive]") {
  using Layer =
      moe::MoeLayer<double, moe::CosineRouter<double>, moe::TopAnyGate<double>, moe::Ffn<double>>;
  Layer layer({.model_dim = 4,
               .hidden_dim = 3,
               .num_experts = 5,
               .top_k = 1,
               .router = {.projection_dim = 3}});
  layer.gate().threshold.value.setConstant(1);
  const Matrix<double> x = random_matrix<double>(30, 4, 1);
  Matrix<double> y(30, 4);
  Layer::Tape tape;
  Adaptive adaptive;
  Index without = 0;
  for (int round = 0; round < 12; ++round) {
    layer.forward(x, y, tape);
    without = 0;
    for (Index t = 0; t < 30; ++t) without += experts_of(tape.routing, t).empty() ? 1 : 0;
    const MatrixView<const double> tokens(tape.router_state.projected.data(), 30, 3);
    adaptive.observe(tape.routing, tokens, tape.batch);
    adaptive.update(layer.gate(), layer.router().experts);
    if (round == 0) CHECK(without > 10);
  }
  CHECK(without < 10);
}

TEST_CASE("adaptive experts refuse what does not fit", "[gate][adaptive][misuse]") {
  Plane c;
  c.observe(rows({{1, 2}}));
  const auto routing = route(c.gate, rows({{1, 2, 3, 4}}));
  CHECK(sentence_of([&] { c.adaptive.observe(routing.routing, Matrix<double>(1, 3), {}); }) ==
        "moe::AdaptiveExperts: tokens is [1, 3], expected [1, 2]");
  moe::Parameter<double> other(4, 3);
  CHECK(sentence_of([&] { c.adaptive.update(c.gate, other); }) ==
        "moe::AdaptiveExperts: experts is [4, 3], expected [4, 2]");
}

}  // namespace moe_test
