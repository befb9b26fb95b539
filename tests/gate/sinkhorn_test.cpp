// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/gate/sinkhorn.hpp"

#include "gate/gate_checks.hpp"

namespace moe_test {
namespace {

using moe::SinkhornGate;

SinkhornGate make_gate(Index k, Index e, const SinkhornGate::Options& options = {}) {
  return {{.num_experts = e, .top_k = k}, options};
}

/// The published loop over whole matrices.
Matrix<double> plain_plan(const Matrix<double>& logits) {
  const Matrix<double> cost = logits.array().exp();
  const auto t = static_cast<double>(logits.rows()), e = static_cast<double>(logits.cols());
  Eigen::VectorXd d0 = Eigen::VectorXd::Ones(logits.rows());
  Eigen::RowVectorXd d1 = Eigen::RowVectorXd::Ones(logits.cols()), old = d1;
  double error = 1e9;
  while (error > 1e-4) {
    d0 = ((cost * d1.transpose()).array() + 1e-8).inverse() / t;
    d1 = ((d0.transpose() * cost).array() + 1e-8).inverse() / e;
    error = (old - d1).cwiseAbs().mean();
    old = d1;
  }
  return d0.asDiagonal() * cost * d1.asDiagonal();
}

}  // namespace

TEST_CASE("Sinkhorn chooses by the balanced plan and weighs by the plain logits",
          "[gate][sinkhorn]") {
  for (const Index e : {1, 2, 5, 65, 512}) {
    for (const Index k : {Index{1}, std::min<Index>(e, 3), e}) {
      const Matrix<double> logits = random_matrix<double>(24, e, 3);
      const auto out = route(make_gate(k, e), logits, {.training = true});
      check_well_formed(out.routing);
      const Matrix<double> plan = plain_plan(logits);
      for (Index t = 0; t < 24; ++t) {
        const auto order = naive::ranking(to_table(plan)[static_cast<std::size_t>(t)]);
        const naive::Row p = naive::softmax(to_table(logits)[static_cast<std::size_t>(t)], 1);
        Index wrong = 0;
        for (Index j = 0; j < k; ++j) {
          const std::size_t expected = order[static_cast<std::size_t>(j)];
          wrong += out.routing.expert(t, j) != static_cast<int>(expected);
          const double l = logits(t, static_cast<Index>(expected));
          const double w = k == 1 ? 1 / (1 + std::exp(-l)) : p[expected];
          CHECK(out.routing.weight(t, j) == Approx(w));
        }
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("Sinkhorn spreads tokens that all prefer one expert", "[gate][sinkhorn]") {
  Matrix<double> logits = random_matrix<double>(64, 4, 3);
  logits.col(2).array() += 6;
  const auto out = route(make_gate(1, 4), logits, {.training = true});
  for (int e = 0; e < 4; ++e) {
    const auto load = (out.routing.expert.eigen().array() == e).count();
    CHECK(load >= 8);
    CHECK(load <= 24);
  }
  const auto evaluated = route(make_gate(1, 4), logits);
  CHECK((evaluated.routing.expert.eigen().array() == 2).count() >= 60);
}

TEST_CASE("padding and NaN tokens do not move Sinkhorn's plan", "[gate][sinkhorn]") {
  const Matrix<double> real = random_matrix<double>(10, 4, 3);
  Matrix<double> padded(13, 4);
  padded << real.topRows(4), Matrix<double>::Constant(1, 4, 50), real.middleRows(4, 4),
      Matrix<double>::Constant(1, 4, kNaN), real.bottomRows(2), Matrix<double>::Zero(1, 4);
  padded(12, 1) = kInfinity;
  const std::vector<std::uint8_t> mask = {1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  const auto a = route(make_gate(2, 4), real, {.training = true});
  const auto b = route(make_gate(2, 4), padded, {.mask = mask, .training = true});
  const Index row[] = {0, 1, 2, 3, 5, 6, 7, 8, 10, 11};
  for (Index t = 0; t < 10; ++t) {
    CHECK(experts_of(a.routing, t) == experts_of(b.routing, row[t]));
    CHECK(same_bits(a.routing.weight.eigen().row(t), b.routing.weight.eigen().row(row[t])));
  }
  CHECK(experts_of(b.routing, 9) == Experts{0, 1});
  CHECK(std::isnan(b.routing.weight(9, 0)));
}

TEST_CASE("Sinkhorn ends whatever the logits", "[gate][sinkhorn]") {
  for (const double size : {1e-300, 1.0, 1e3, 1e30}) {
    const Matrix<double> logits = size * random_matrix<double>(12, 3, 2);
    const auto out = route(make_gate(2, 3), logits, {.training = true});
    check_well_formed(out.routing);
    CHECK(out.routing.weight.eigen().allFinite());
  }
}

TEST_CASE("Sinkhorn has the right gradient: none through the plan", "[gate][sinkhorn][gradient]") {
  for (const Index k : {1, 2, 4}) {
    check_gate_gradient(make_gate(k, 4), random_matrix<double>(9, 4, 4), {.training = true});
    const std::vector<std::uint8_t> mask = {1, 0, 1, 1, 1, 0, 1};
    check_layer_gradient<SinkhornGate>({}, k, {.mask = mask});
  }
}

TEST_CASE("Sinkhorn refuses bad options", "[gate][sinkhorn][misuse]") {
  CHECK(sentence_of([] { make_gate(1, 4, {.tolerance = 0}); }) ==
        "moe::SinkhornGate: tolerance is 0.000000, expected a finite value above 0");
  CHECK(sentence_of([] { make_gate(1, 4, {.max_iterations = 0}); }) ==
        "moe::SinkhornGate: max_iterations is 0, expected at least 1");
}

}  // namespace moe_test
