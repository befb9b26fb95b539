// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/gate/dense.hpp"

#include "gate/gate_checks.hpp"

namespace moe_test {

using moe::DenseGate;

TEST_CASE("the dense gate uses every expert with its softmax", "[gate][dense]") {
  for (const Index e : {1, 2, 65, 512}) {
    const DenseGate gate({.num_experts = e, .top_k = 1}, {.temperature = 1.7});
    const Matrix<double> logits = random_matrix<double>(3, e, 1);
    const auto out = route(gate, logits);
    CHECK(gate.top_k() == e);
    check_well_formed(out.routing);
    for (Index t = 0; t < 3; ++t) {
      const naive::Row p = naive::softmax(to_table(logits)[static_cast<std::size_t>(t)], 1.7);
      for (Index j = 0; j < e; ++j) CHECK(out.routing.expert(t, j) == j);
      CHECK(distance(weights_by_expert(out.routing).row(t), to_matrix({p}, e)) < 1e-14);
    }
  }
}

TEST_CASE("the dense gate has the right gradient", "[gate][dense][gradient]") {
  check_gate_gradient(DenseGate({.num_experts = 5}, {.temperature = 0.7}),
                      random_matrix<double>(4, 5, 2));
  for (const Index k : {1, 4}) check_layer_gradient<DenseGate>({.temperature = 1.2}, k);
}

TEST_CASE("the dense gate refuses a bad temperature", "[gate][dense][misuse]") {
  CHECK(sentence_of([] { DenseGate({.num_experts = 2}, {.temperature = 0}); }) ==
        "moe::DenseGate: temperature is 0.000000, expected a finite value above 0");
  CHECK(sentence_of([] { DenseGate({.num_experts = 0}, {}); }) ==
        "moe::DenseGate: num_experts is 0, expected at least 1");
}

}  // namespace moe_test
