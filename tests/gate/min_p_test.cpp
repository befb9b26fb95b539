// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/gate/min_p.hpp"

#include "gate/gate_checks.hpp"

namespace moe_test {
namespace {

using moe::MinPGate;

/// The textbook: expert -> weight of one token.
naive::Row plain(const naive::Row& logits, std::size_t k, const MinPGate::Options& o) {
  naive::Row z = logits;
  for (double& v : z) v /= o.temperature;
  const naive::Row p = naive::softmax(z, 1);
  const std::vector<std::size_t> order = naive::ranking(logits);
  naive::Row weight(p.size(), 0.0);
  double sum = 0;
  for (std::size_t j = 0; j < k; ++j) {
    const bool close = p[order[j]] >= o.min_p * p[order[0]];
    if (!close && j >= static_cast<std::size_t>(o.min_experts)) continue;
    weight[order[j]] = p[order[j]];
    sum += p[order[j]];
  }
  for (double& w : weight) w /= o.renormalize ? sum : 1;
  return weight;
}

}  // namespace

TEST_CASE("the min-p gate computes its formula", "[gate][min_p]") {
  for (const Index e : {1, 4, 65, 512}) {
    for (const Index k : {Index{1}, std::min<Index>(e, 3), e}) {
      for (const bool renormalize : {true, false}) {
        const MinPGate::Options o{.min_p = 0.3,
                                  .min_experts = std::min<Index>(k, 2),
                                  .renormalize = renormalize,
                                  .temperature = 0.7};
        const Matrix<double> logits = random_matrix<double>(9, e, 3);
        const auto out = route(MinPGate({.num_experts = e, .top_k = k}, o), logits);
        check_well_formed(out.routing);
        const naive::Table table = to_table(logits);
        const Matrix<double> got = weights_by_expert(out.routing);
        for (Index t = 0; t < 9; ++t) {
          const auto expected =
              plain(table[static_cast<std::size_t>(t)], static_cast<std::size_t>(k), o);
          for (Index i = 0; i < e; ++i) {
            CHECK(got(t, i) == Approx(expected[static_cast<std::size_t>(i)]).margin(1e-15));
          }
        }
      }
    }
  }
}

TEST_CASE("a sure token has one expert, ties of the best stay", "[gate][min_p]") {
  const MinPGate gate({.num_experts = 4, .top_k = 3}, {.min_p = 0.5});
  const auto out = route(gate, rows({{9, 0, 0, 0}, {1, 2, 2, 2}, {0, 0, 0, 0}, {0, -9, 1, 1.1}}));
  CHECK(experts_of(out.routing, 0) == Experts{0});
  CHECK(experts_of(out.routing, 1) == Experts{1, 2, 3});
  CHECK(experts_of(out.routing, 2) == Experts{0, 1, 2});
  CHECK(experts_of(out.routing, 3) == Experts{3, 2});
}

TEST_CASE("the min-p gate has the right gradient", "[gate][min_p][gradient]") {
  for (const bool renormalize : {true, false}) {
    const MinPGate::Options o{.min_p = 0.3, .renormalize = renormalize, .temperature = 0.7};
    check_gate_gradient(MinPGate({.num_experts = 5, .top_k = 3}, o),
                        random_matrix<double>(12, 5, 3));
    check_layer_gradient<MinPGate>(o, 3);
  }
}

TEST_CASE("the min-p gate refuses bad options", "[gate][min_p][misuse]") {
  const auto sentence = [](MinPGate::Options o) {
    return sentence_of([&] { MinPGate({.num_experts = 4, .top_k = 2}, o); });
  };
  CHECK(sentence({.min_p = 1.5}) == "moe::MinPGate: min_p is 1.500000, expected 0 to 1");
  CHECK(sentence({.min_experts = 3}) == "moe::MinPGate: min_experts is 3, expected 1 to top_k = 2");
}

}  // namespace moe_test
