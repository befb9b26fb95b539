// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/gate/relu.hpp"

#include "gate/gate_checks.hpp"

namespace moe_test {

using moe::ReluGate;

TEST_CASE("the ReLU gate uses every expert of positive logit with that weight", "[gate][relu]") {
  for (const Index e : {1, 4, 65, 512}) {
    const ReluGate gate({.num_experts = e, .top_k = 1}, {});
    const Matrix<double> logits = random_matrix<double>(6, e, 3);
    const auto out = route(gate, logits);
    check_well_formed(out.routing);
    const Matrix<double> expected = logits.cwiseMax(0.0);
    CHECK(same_bits(weights_by_expert(out.routing), expected));
    CHECK(distance(out.routing.scores, expected) == 0);
  }
}

TEST_CASE("the ReLU gate keeps the largest weights when a token may have only K", "[gate][relu]") {
  const ReluGate gate({.num_experts = 5, .top_k = 2}, {.max_experts = 2});
  const auto out = route(gate, rows({{1, 3, 2, 3, -1}, {-1, -2, 0, -4, 0.5}, {-1, -1, -1, -1, 0}}));
  CHECK(experts_of(out.routing, 0) == Experts{1, 3});
  CHECK(experts_of(out.routing, 1) == Experts{4});
  CHECK(experts_of(out.routing, 2).empty());
}

TEST_CASE("a NaN logit counts as positive, so that it is seen", "[gate][relu]") {
  for (const Index most : {0, 1}) {
    const ReluGate gate({.num_experts = 2, .top_k = 1}, {.max_experts = most});
    const auto out = route(gate, rows({{kNaN, -1}}));
    if (most == 0) CHECK(experts_of(out.routing) == Experts{0});
    if (most == 0) CHECK(std::isnan(out.routing.weight(0, 0)));
    check_well_formed(out.routing);
  }
}

TEST_CASE("the ReLU gate has the right gradient", "[gate][relu][gradient]") {
  check_gate_gradient(ReluGate({.num_experts = 6, .top_k = 2}, {}), random_matrix<double>(5, 6, 4));
  check_layer_gradient<ReluGate>({}, 2);
  check_layer_gradient<ReluGate>({.max_experts = 2}, 2);
}

}  // namespace moe_test
