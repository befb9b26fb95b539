// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/gate/quantile.hpp"

#include "gate/gate_checks.hpp"

namespace moe_test {
namespace {

using moe::QuantileGate;

QuantileGate make_gate(Index k, Index e, const QuantileGate::Options& options = {}) {
  return {{.num_experts = e, .top_k = k}, options};
}

void observe(QuantileGate& gate, const Matrix<double>& logits, const Batch& batch = {}) {
  gate.observe(MatrixView<const double>(logits), batch);
}

/// The column quantiles of one batch, by sorting.
naive::Row plain_quantile(const Matrix<double>& logits, const naive::Row& beta, Index k) {
  const Index t_count = logits.rows(), n = logits.cols();
  naive::Row alpha, quantile;
  for (Index t = 0; t < t_count; ++t) {
    naive::Row row;
    for (Index e = 0; e < n; ++e) row.push_back(logits(t, e) - beta[static_cast<std::size_t>(e)]);
    std::sort(row.rbegin(), row.rend());
    alpha.push_back(row[static_cast<std::size_t>(k)]);
  }
  for (Index e = 0; e < n; ++e) {
    naive::Row column;
    for (Index t = 0; t < t_count; ++t) {
      column.push_back(logits(t, e) - alpha[static_cast<std::size_t>(t)]);
    }
    std::sort(column.rbegin(), column.rend());
    quantile.push_back(column[static_cast<std::size_t>(t_count * k / n)]);
  }
  return quantile;
}

std::vector<Index> loads(const QuantileGate& gate, const Matrix<double>& logits) {
  std::vector<Index> load(static_cast<std::size_t>(logits.cols()), 0);
  const auto out = route(gate, logits);
  for (Index t = 0; t < logits.rows(); ++t) {
    for (const int e : experts_of(out.routing, t)) ++load[static_cast<std::size_t>(e)];
  }
  return load;
}

}  // namespace

TEST_CASE("the quantile gate moves its bias to the mean quantile, recentred", "[gate][quantile]") {
  for (const double ema : {0.0, 0.7}) {
    for (const Index e : {4, 65}) {
      QuantileGate gate = make_gate(3, e, {.ema = ema});
      naive::Row beta(static_cast<std::size_t>(e), 0);
      for (std::uint64_t step = 0; step < 3; ++step) {
        const Matrix<double> a = random_matrix<double>(40, e, 2 * step),
                             b = random_matrix<double>(52, e, 2 * step + 1);
        observe(gate, a);
        observe(gate, b);
        const naive::Row qa = plain_quantile(a, beta, 3), qb = plain_quantile(b, beta, 3);
        double mean = 0;
        for (std::size_t i = 0; i < beta.size(); ++i) {
          beta[i] = ema * beta[i] + (1 - ema) * (qa[i] + qb[i]) / 2;
          mean += beta[i] / static_cast<double>(e);
        }
        for (double& v : beta) v -= mean;
        gate.update();
        for (std::size_t i = 0; i < beta.size(); ++i) {
          CHECK(gate.selection_bias()[i] == Approx(-beta[i]).margin(1e-6));
          beta[i] = -static_cast<double>(gate.selection_bias()[i]);  // it is float
        }
      }
    }
  }
}

TEST_CASE("the quantile gate balances logits that flood one expert", "[gate][quantile]") {
  QuantileGate gate = make_gate(2, 8);
  Matrix<double> logits = random_matrix<double>(256, 8, 1);
  logits.col(5).array() += 3;
  CHECK(loads(gate, logits)[5] > 200);
  for (int step = 0; step < 20; ++step) {
    observe(gate, logits);
    gate.update();
  }
  for (const Index load : loads(gate, logits)) CHECK(std::abs(load - 64) <= 6);
}

TEST_CASE("the quantile gate weighs by the plain logits", "[gate][quantile]") {
  QuantileGate gate = make_gate(2, 3);
  gate.set_selection_bias({0, 0, 10});
  const auto out = route(gate, rows({{2, 1, 0}}));
  CHECK(experts_of(out.routing) == Experts{2, 0});
  CHECK(out.routing.weight(0, 0) == Approx(1 / (1 + std::exp(2.0))));
  check_gate_gradient(gate, random_matrix<double>(5, 3, 2));
  check_layer_gradient<QuantileGate>({.weights = {.score = moe::ScoreFunction::sigmoid}}, 2);
}

TEST_CASE("padding and NaN tokens do not count in the quantiles", "[gate][quantile]") {
  QuantileGate plain = make_gate(1, 4), padded = make_gate(1, 4);
  const Matrix<double> real = random_matrix<double>(8, 4, 3);
  Matrix<double> more(10, 4);
  more << real.topRows(4), Matrix<double>::Constant(1, 4, 50), real.bottomRows(4),
      Matrix<double>::Constant(1, 4, kNaN);
  const std::vector<std::uint8_t> mask = {1, 1, 1, 1, 0, 1, 1, 1, 1, 1};
  observe(plain, real);
  observe(padded, more, {.mask = mask});
  plain.update();
  padded.update();
  for (std::size_t e = 0; e < 4; ++e) {
    CHECK(plain.selection_bias()[e] == padded.selection_bias()[e]);
  }
}

TEST_CASE("the quantile gate leaves its bias alone when there is nothing to learn",
          "[gate][quantile]") {
  QuantileGate all = make_gate(3, 3);
  observe(all, random_matrix<double>(8, 3, 3));  // K = E: no expert is left out
  all.update();
  QuantileGate none = make_gate(1, 3);
  none.update();
  observe(none, Matrix<double>(0, 3));
  none.update();
  for (std::size_t e = 0; e < 3; ++e) {
    CHECK(all.selection_bias()[e] == 0);
    CHECK(none.selection_bias()[e] == 0);
  }
  observe(none, random_matrix<double>(1, 3, 3));  // fewer tokens than experts
  none.update();
  for (std::size_t e = 0; e < 3; ++e) CHECK(std::isfinite(none.selection_bias()[e]));
}

TEST_CASE("the quantile gate refuses bad options", "[gate][quantile][misuse]") {
  CHECK(sentence_of([] { make_gate(1, 4, {.ema = 1}); }) ==
        "moe::QuantileGate: ema is 1.000000, expected at least 0 and below 1");
  CHECK(sentence_of([] { make_gate(1, 4, {.weights = {.num_groups = 2}}); }) ==
        "moe::QuantileGate: weights has groups or a selection bias, expected neither");
  QuantileGate gate = make_gate(1, 4);
  CHECK(sentence_of([&] { observe(gate, random_matrix<double>(2, 3, 1)); }) ==
        "moe::QuantileGate: logits has 3 columns, num_experts is 4");
  CHECK(sentence_of([&] { gate.set_selection_bias({}); }) ==
        "moe::QuantileGate: selection_bias has 0 values, num_experts is 4");
  CHECK(gate.selection_bias().size() == 4);
  const std::vector<std::uint8_t> mask(2, 1);
  CHECK(sentence_of([&] { observe(gate, random_matrix<double>(3, 4, 1), {.mask = mask}); }) ==
        "moe::QuantileGate: mask has 2 values, the number of tokens is 3");
  gate.update();  // nothing was observed
  for (const float b : gate.selection_bias()) CHECK(b == 0);
}

}  // namespace moe_test
