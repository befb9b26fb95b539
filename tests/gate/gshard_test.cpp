// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/gate/gshard.hpp"

#include "gate/gate_checks.hpp"

namespace moe_test {
namespace {

using moe::GShardGate;
using moe::SecondExpert;
using Options = GShardGate::Options;
using Renormalize = GShardGate::Renormalize;

constexpr SecondExpert kPolicies[] = {SecondExpert::all, SecondExpert::none,
                                      SecondExpert::threshold, SecondExpert::random,
                                      SecondExpert::sampling};
constexpr Renormalize kMoments[] = {Renormalize::before, Renormalize::after, Renormalize::none};

GShardGate make_gate(Index e, const Options& options) {
  return {{.num_experts = e, .top_k = 2}, options};
}

Options in_both(SecondExpert policy, Renormalize renormalize, double threshold = 0.2) {
  return {.policy = policy,
          .evaluation_policy = policy,
          .threshold = threshold,
          .renormalize = renormalize};
}

}  // namespace

TEST_CASE("GShard keeps and weighs the second expert as its policy says", "[gate][gshard]") {
  for (const Index e : {2, 8, 65, 512}) {
    for (const SecondExpert policy : kPolicies) {
      for (const Renormalize renormalize : kMoments) {
        const GShardGate gate = make_gate(e, in_both(policy, renormalize, 0.25));
        const Matrix<double> logits = random_matrix<double>(12, e, 6) * 2;
        const auto out = route(gate, logits, {.seed = 3});
        check_well_formed(out.routing);
        for (Index t = 0; t < 12; ++t) {
          const naive::Row row = to_table(logits)[static_cast<std::size_t>(t)];
          const naive::Row p = naive::softmax(row, 1);
          const auto order = naive::ranking(row);
          const Experts chosen = experts_of(out.routing, t);
          REQUIRE(chosen.at(0) == static_cast<int>(order[0]));
          const bool kept = chosen.size() == 2;
          std::size_t second = order[1];
          if (policy == SecondExpert::sampling) second = static_cast<std::size_t>(chosen.at(1));
          if (kept) CHECK(chosen[1] == static_cast<int>(second));
          const double p1 = p[order[0]], p2 = p[second], sum = p1 + p2 + 1e-9;
          const double w2 = renormalize == Renormalize::before ? p2 / sum : p2;
          if (policy == SecondExpert::all || policy == SecondExpert::sampling) CHECK(kept);
          if (policy == SecondExpert::none) CHECK_FALSE(kept);
          if (policy == SecondExpert::threshold) CHECK(kept == (w2 > 0.25));
          if (policy == SecondExpert::random && w2 >= 0.25) CHECK(kept);
          double first = p1;
          if (renormalize == Renormalize::before || kept) first = p1 / sum;
          if (renormalize == Renormalize::after && !kept) first = 1;
          if (renormalize == Renormalize::none) first = p1;
          CHECK(out.routing.weight(t, 0) == Approx(first));
          const double with_second = renormalize == Renormalize::none ? p2 : p2 / sum;
          if (kept) CHECK(out.routing.weight(t, 1) == Approx(with_second));
        }
      }
    }
  }
}

TEST_CASE("GShard's random policy keeps the second with probability w2 / threshold",
          "[gate][gshard]") {
  // w2 = 0.1, threshold 0.25: 40 % of tokens. FastMoE compared 2 w2 of renormalised weights.
  const Matrix<double> logits = rows({{std::log(0.9), std::log(0.1)}}).replicate(20000, 1);
  for (const Renormalize renormalize : kMoments) {
    const auto out =
        route(make_gate(2, in_both(SecondExpert::random, renormalize, 0.25)), logits, {.seed = 8});
    double kept = 0;
    for (Index t = 0; t < logits.rows(); ++t) kept += out.routing.expert(t, 1) == 1 ? 1 : 0;
    CHECK(kept / 20000 == Approx(0.4).margin(0.015));
  }
}

TEST_CASE("GShard's sampling draws the second from the softmax over the others", "[gate][gshard]") {
  const Matrix<double> logits =
      rows({{5, std::log(0.5), std::log(0.3), std::log(0.2)}}).replicate(20000, 1);
  const auto out =
      route(make_gate(4, in_both(SecondExpert::sampling, Renormalize::none)), logits, {.seed = 8});
  double count[4] = {0, 0, 0, 0};
  for (Index t = 0; t < logits.rows(); ++t) count[out.routing.expert(t, 1)] += 1.0 / 20000;
  CHECK(count[0] == 0);
  CHECK(count[1] == Approx(0.5).margin(0.015));
  CHECK(count[2] == Approx(0.3).margin(0.015));
  CHECK(count[3] == Approx(0.2).margin(0.015));
}

TEST_CASE("GShard draws nothing at evaluation", "[gate][gshard]") {
  // DeepSpeed sampled the second expert at evaluation too, lucidrains dropped it at random.
  for (const SecondExpert policy : kPolicies) {
    const GShardGate gate = make_gate(6, {.policy = policy});
    const Matrix<double> logits = random_matrix<double>(50, 6, 6);
    const auto one = route(gate, logits, {.seed = 1}), two = route(gate, logits, {.seed = 2});
    CHECK(distance(one.routing.weight, two.routing.weight) == 0);
    CHECK((one.routing.expert.eigen() == two.routing.expert.eigen()));
    for (Index t = 0; t < 50; ++t) CHECK(experts_of(one.routing, t).size() == 2);
  }
}

TEST_CASE("GShard's threshold drops the second of some tokens, not of a whole batch",
          "[gate][gshard]") {
  // lucidrains multiplied [b, n, e] by an unexpanded [b, n] mask.
  const auto out = route(make_gate(3, in_both(SecondExpert::threshold, Renormalize::before, 0.3)),
                         rows({{2, 2, 0}, {4, 0, 1}, {0, 1, 1}}));
  CHECK(experts_of(out.routing, 0) == Experts{0, 1});
  CHECK(experts_of(out.routing, 1) == Experts{0});
  CHECK(experts_of(out.routing, 2) == Experts{1, 2});
}

TEST_CASE("GShard's choices of one training step differ from those of the next", "[gate][gshard]") {
  const GShardGate gate = make_gate(2, {});
  const Matrix<double> logits = rows({{std::log(0.9), std::log(0.1)}}).replicate(200, 1);
  const auto one = route(gate, logits, {.seed = 1, .step = 0, .training = true});
  const auto two = route(gate, logits, {.seed = 1, .step = 1, .training = true});
  CHECK((one.routing.expert.eigen() != two.routing.expert.eigen()));
}

TEST_CASE("GShard has the right gradient", "[gate][gshard][gradient]") {
  for (const SecondExpert policy : kPolicies) {
    for (const Renormalize renormalize : kMoments) {
      Options options = in_both(policy, renormalize, 0.3);
      options.epsilon = 1e-3;
      options.temperature = 1.4;
      INFO(static_cast<int>(policy) << " " << static_cast<int>(renormalize));
      check_gate_gradient(make_gate(5, options), random_matrix<double>(6, 5, 4), {.seed = 4});
      check_layer_gradient<GShardGate>(options, 2, {.seed = 4});
    }
  }
}

TEST_CASE("GShard refuses bad options", "[gate][gshard][misuse]") {
  CHECK(sentence_of([] { GShardGate({.num_experts = 4, .top_k = 1}, {}); }) ==
        "moe::GShardGate: top_k is 1, expected 2");
  CHECK(sentence_of([] { GShardGate({.num_experts = 1, .top_k = 2}, {}); }) ==
        "moe::GShardGate: top_k is 2, expected at most num_experts = 1");
  CHECK(sentence_of([] { make_gate(4, {.threshold = kNaN}); }) ==
        "moe::GShardGate: threshold is nan, expected a finite value of at least 0");
  CHECK(sentence_of([] { make_gate(4, {.epsilon = -1}); }) ==
        "moe::GShardGate: epsilon is -1.000000, expected a finite value of at least 0");
}

}  // namespace moe_test
