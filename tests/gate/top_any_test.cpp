// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/gate/top_any.hpp"

#include "gate/gate_checks.hpp"

namespace moe_test {
namespace {

using Gate = moe::TopAnyGate<double>;

double logistic(double z) { return 1 / (1 + std::exp(-z)); }

Gate make_gate(Index e, const Gate::Options& options = {}) {
  return {{.num_experts = e, .top_k = 1}, options};
}

}  // namespace

TEST_CASE("a token uses every expert that clears its threshold, equally", "[gate][top_any]") {
  for (const Index e : {1, 4, 65, 512}) {
    Gate gate = make_gate(e);
    gate.threshold.value = random_matrix<double>(1, e, 8);
    const Matrix<double> logits = random_matrix<double>(9, e, 3);
    for (const bool training : {false, true}) {
      const auto out = route(gate, logits, {.training = training});
      check_well_formed(out.routing);
      for (Index t = 0; t < 9; ++t) {
        Experts expected;
        Index best = 0;
        for (Index i = 0; i < e; ++i) {
          if (logits(t, i) > logits(t, best)) best = i;
          if (logistic(logits(t, i)) > logistic(gate.threshold.value(0, i))) {
            expected.push_back(static_cast<int>(i));
          }
        }
        if (expected.empty() && !training) expected.push_back(static_cast<int>(best));
        CHECK(experts_of(out.routing, t) == expected);
        for (std::size_t j = 0; j < expected.size(); ++j) {
          CHECK(out.routing.weight(t, static_cast<Index>(j)) ==
                Approx(1.0 / static_cast<double>(expected.size())));
        }
        double sum = 0;
        for (Index i = 0; i < e; ++i) sum += logistic(logits(t, i));
        CHECK(out.routing.scores(t, 0) == Approx(logistic(logits(t, 0)) / sum));
      }
    }
  }
}

TEST_CASE("a limited top-any gate keeps the largest margins", "[gate][top_any]") {
  Gate gate = make_gate(4, {.max_experts = 2});
  gate.threshold.value << 0, 3, -2, 0;
  const auto out = route(gate, rows({{2, 4, 1, 0.5}, {-1, -1, -3, -1}, {1, 4, -1, 1}}));
  Experts first = experts_of(out.routing, 0);
  std::sort(first.begin(), first.end());
  CHECK(first == Experts{0, 2});
  CHECK(experts_of(out.routing, 1) == Experts{0});  // the best, a tie to the lowest index
  CHECK(experts_of(out.routing, 2) == Experts{0, 1});
}

TEST_CASE("top-any's backward is straight through the step, k held constant",
          "[gate][top_any][gradient]") {
  for (const Index most : {0, 2}) {
    Gate gate = make_gate(5, {.max_experts = most});
    gate.threshold.value = 0.5 * random_matrix<double>(1, 5, 8);
    const Matrix<double> logits = random_matrix<double>(12, 5, 3);
    auto out = route(gate, logits, {.training = true});
    const Matrix<double> dweight = random_matrix<double>(12, gate.top_k(), 4);
    const Matrix<double> got =
        gate_gradient(gate, out, dweight, Matrix<double>(Matrix<double>::Zero(12, 5)));
    Matrix<double> expected = Matrix<double>::Zero(12, 5), threshold = Matrix<double>::Zero(1, 5);
    for (Index t = 0; t < 12; ++t) {
      const Experts used = experts_of(out.routing, t);
      for (std::size_t j = 0; j < used.size(); ++j) {
        const double g = dweight(t, static_cast<Index>(j)) / static_cast<double>(used.size());
        const double s = logistic(logits(t, used[j]));
        const double bar = logistic(gate.threshold.value(0, used[j]));
        expected(t, used[j]) += g * s * (1 - s);
        threshold(0, used[j]) -= g * bar * (1 - bar);
      }
    }
    CHECK(distance(got, expected) < 1e-14);
    CHECK(distance(gate.threshold.grad, threshold) < 1e-14);
  }
}

TEST_CASE("top-any's scores have the gradient of their differences", "[gate][top_any][gradient]") {
  Gate gate = make_gate(5);
  Matrix<double> logits = random_matrix<double>(6, 5, 3);
  const Matrix<double> dscores = random_matrix<double>(6, 5, 4);
  auto out = route(gate, logits, {.training = true});
  const Matrix<double> got =
      gate_gradient(gate, out, Matrix<double>(Matrix<double>::Zero(6, 5)), dscores);
  check_gradient("logits", logits, got, [&] {
    route(gate, logits, {.training = true}, out);
    return out.routing.scores.eigen().cwiseProduct(dscores).sum();
  });
}

TEST_CASE("a layer learns the thresholds of its top-any gate", "[gate][top_any]") {
  using Layer = moe::MoeLayer<double, moe::LinearRouter<double>, Gate, moe::GatedFfn<double>>;
  Layer layer({.model_dim = 4, .hidden_dim = 3, .num_experts = 3, .top_k = 1}, 1);
  Layer::Tape tape;
  const Matrix<double> x = random_matrix<double>(20, 4, 1), dy = random_matrix<double>(20, 4, 2);
  Matrix<double> y(20, 4), dx(20, 4);
  layer.forward(x, y, tape);
  layer.backward(dy, dx, tape);
  bool found = false;
  layer.visit_parameters([&](std::string_view name, auto& p) {
    if (name != "gate.threshold") return;
    found = true;
    CHECK(p.grad.cwiseAbs().minCoeff() > 0);
  });
  CHECK(found);
  layer.gate().threshold.trainable = false;
  moe::zero_grad(layer);
  layer.forward(x, y, tape);
  layer.backward(dy, dx, tape);
  CHECK(layer.gate().threshold.grad.isZero(0));
}

TEST_CASE("a token that clears no threshold in training has no expert and no gradient",
          "[gate][top_any]") {
  Gate gate = make_gate(3);
  auto out = route(gate, rows({{-1, -2, -3}}), {.training = true});
  CHECK(experts_of(out.routing).empty());
  CHECK(gate_gradient(gate, out, rows({{1, 2, 3}}), rows({{0, 0, 0}})).norm() < 1e-15);
}

TEST_CASE("an expert that is switched off is nobody's, in training and after", "[gate][top_any]") {
  Gate gate = make_gate(4);
  gate.set_active(2, false);
  gate.threshold.value << 0, 0, -5, 5;
  for (const bool training : {true, false}) {
    auto out = route(gate, rows({{1, -1, 9, -1}, {-2, -3, 9, -1}}), {.training = training});
    CHECK(experts_of(out.routing, 0) == Experts{0});
    CHECK(experts_of(out.routing, 1) == (training ? Experts{} : Experts{3}));  // its best but 2
    CHECK(out.routing.scores(0, 2) == 0);
    CHECK(out.routing.scores.eigen().row(0).sum() == Approx(1));
    const Matrix<double> gradient =
        gate_gradient(gate, out, random_matrix<double>(2, 4, 1), random_matrix<double>(2, 4, 2));
    CHECK(gradient.allFinite());
    CHECK(gradient.col(2).norm() < 1e-15);
  }
  gate.set_active(2, true);
  CHECK(experts_of(route(gate, rows({{1, -1, 9, -1}})).routing) == Experts{0, 2});
}

TEST_CASE("top-any refuses to be left without experts", "[gate][top_any][misuse]") {
  Gate gate = make_gate(2);
  gate.set_active(0, false);
  gate.set_active(0, false);
  CHECK(sentence_of([&] { gate.set_active(1, false); }) ==
        "moe::TopAnyGate: expert 1 is the last one that is active, expected one to remain");
  CHECK(sentence_of([&] { gate.set_active(2, true); }) ==
        "moe::TopAnyGate: the expert is 2, expected 0 to 1");
  gate.threshold.value.resize(1, 3);
  CHECK(sentence_of([&] {
          route(gate, rows({{1, 2}}));
        }) == "moe::TopAnyGate: threshold is [1, 3], expected [1, 2]");
}

TEST_CASE("top-any refuses bad options", "[gate][top_any][misuse]") {
  CHECK(sentence_of([] { make_gate(3, {.initial_threshold = kNaN}); }) ==
        "moe::TopAnyGate: initial_threshold is nan, expected a finite value");
  CHECK(sentence_of([] { make_gate(3, {.max_experts = 4}); }) ==
        "moe::TopAnyGate: max_experts is 4, expected 0 (no limit) to num_experts = 3");
}

}  // namespace moe_test
