// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/gate/top_p.hpp"

#include "gate/gate_checks.hpp"

namespace moe_test {

using moe::TopPGate;

TEST_CASE("the top-p gate gathers experts until their probability exceeds p", "[gate][top_p]") {
  for (const Index e : {1, 3, 8, 65, 512}) {
    for (const double top_p : {0.1, 0.4, 0.9, 1.0}) {
      for (const Index most : {Index{0}, std::min<Index>(e, 3)}) {
        const TopPGate gate({.num_experts = e, .top_k = 1},
                            {.top_p = top_p, .max_experts = most, .temperature = 0.8});
        const Matrix<double> logits = random_matrix<double>(5, e, 9);
        const auto out = route(gate, logits);
        check_well_formed(out.routing);
        for (Index t = 0; t < 5; ++t) {
          const naive::Row row = to_table(logits)[static_cast<std::size_t>(t)];
          const naive::Row p = naive::softmax(row, 0.8);
          Experts expected;
          double sum = 0;
          for (const std::size_t i : naive::ranking(row)) {
            if (most != 0 && std::ssize(expected) == most) break;
            expected.push_back(static_cast<int>(i));
            sum += p[i];
            if (sum > top_p) break;
          }
          CHECK(experts_of(out.routing, t) == expected);
          for (std::size_t j = 0; j < expected.size(); ++j) {
            const auto i = static_cast<std::size_t>(expected[j]);
            CHECK(out.routing.weight(t, static_cast<Index>(j)) == Approx(p[i]));
          }
        }
      }
    }
  }
}

TEST_CASE("a sure token uses one expert, an unsure one many", "[gate][top_p]") {
  const TopPGate gate({.num_experts = 4, .top_k = 1}, {.top_p = 0.4});
  const auto out = route(gate, rows({{9, 0, 0, 0}, {0, 0, 0, 0}, {kNaN, 0, 0, 0}}));
  CHECK(experts_of(out.routing, 0) == Experts{0});
  CHECK(experts_of(out.routing, 1) == Experts{0, 1});  // ties to the lowest index; 0.5 > 0.4
  CHECK(experts_of(out.routing, 2) == Experts{1});
  CHECK(std::isnan(out.routing.weight(2, 0)));
}

TEST_CASE("the top-p gate has the right gradient", "[gate][top_p][gradient]") {
  check_gate_gradient(TopPGate({.num_experts = 6, .top_k = 1}, {.top_p = 0.6, .temperature = 1.4}),
                      random_matrix<double>(5, 6, 4));
  check_layer_gradient<TopPGate>({.top_p = 0.5}, 1);
  check_layer_gradient<TopPGate>({.top_p = 0.9, .max_experts = 2}, 1);
}

TEST_CASE("the top-p gate refuses bad options", "[gate][top_p][misuse]") {
  const auto sentence = [](TopPGate::Options o) {
    return sentence_of([&] { TopPGate({.num_experts = 4, .top_k = 1}, o); });
  };
  CHECK(sentence({.top_p = 0}) == "moe::TopPGate: top_p is 0.000000, expected above 0, at most 1");
  CHECK(sentence({.top_p = kNaN}) == "moe::TopPGate: top_p is nan, expected above 0, at most 1");
  CHECK(sentence({.max_experts = 5}) ==
        "moe::TopPGate: max_experts is 5, expected 0 (no limit) to num_experts = 4");
}

}  // namespace moe_test
