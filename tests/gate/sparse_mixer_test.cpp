// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/gate/sparse_mixer.hpp"

#include "gate/gate_checks.hpp"

namespace moe_test {
namespace {

using moe::SparseMixerGate;
using naive::Row;

SparseMixerGate make_gate(Index k, Index e, double jitter = 0.01) {
  return {{.num_experts = e, .top_k = k}, {.jitter = jitter}};
}

/// g of one place, given the experts taken before.
Row candidates(const Row& logits, const Experts& taken, double jitter) {
  const auto is_taken = [&](std::size_t e) {
    return std::find(taken.begin(), taken.end(), static_cast<int>(e)) != taken.end();
  };
  double m = -kInfinity;
  for (std::size_t e = 0; e < logits.size(); ++e) {
    if (!is_taken(e)) m = std::max(m, logits[e]);
  }
  Row g(logits.size(), 0);
  double sum = 0;
  for (std::size_t e = 0; e < logits.size(); ++e) {
    const bool far = (m - logits[e]) / std::max(std::abs(logits[e]), m) > 2 * jitter;
    if (!far && !is_taken(e)) g[e] = std::exp(logits[e] - m);
    sum += g[e];
  }
  for (double& v : g) v /= sum;
  return g;
}

}  // namespace

TEST_CASE("SparseMixer computes its masked softmaxes", "[gate][sparse_mixer]") {
  for (const bool training : {false, true}) {
    for (const double jitter : {0.01, 0.2, 1.0}) {
      for (const Index e : {3, 8, 65, 512}) {
        for (const Index k : {1, 2, 3}) {
          const Matrix<double> logits = random_matrix<double>(20, e, 6);
          const auto out =
              route(make_gate(k, e, jitter), logits, {.seed = 2, .training = training});
          check_well_formed(out.routing);
          for (Index t = 0; t < 20; ++t) {
            const Row row = to_table(logits)[static_cast<std::size_t>(t)];
            Experts taken;
            for (Index j = 0; j < k; ++j) {
              const Row g = candidates(row, taken, jitter);
              const int chosen = out.routing.expert(t, j);
              const double o = g[static_cast<std::size_t>(chosen)];
              const auto best = static_cast<int>(std::max_element(g.begin(), g.end()) - g.begin());
              REQUIRE(o > 0);
              const double w = out.routing.weight(t, j);
              if (!training) CHECK(chosen == best);
              if (!training || chosen == best) {
                CHECK(w == Approx(o));
              } else {
                const bool third = std::abs(w - 0.3333 * o) < 1e-12;
                CHECK((third || std::abs(w - o) < 1e-12));
              }
              taken.push_back(chosen);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("SparseMixer draws from its softmax, and tosses a coin of 1/4", "[gate][sparse_mixer]") {
  const Matrix<double> logits = rows({{1, 1.5, 0.5}}).replicate(20000, 1);
  const auto out = route(make_gate(1, 3, 5.0), logits, {.seed = 2, .training = true});
  const Row p = naive::softmax({1, 1.5, 0.5}, 1);
  double share[3] = {0, 0, 0}, full = 0;
  for (Index t = 0; t < 20000; ++t) {
    const auto e = static_cast<std::size_t>(out.routing.expert(t, 0));
    share[e] += 1.0 / 20000;
    if (e == 0) full += out.routing.weight(t, 0) > 0.9 * p[0] ? 1 : 0;
  }
  for (std::size_t e = 0; e < 3; ++e) CHECK(share[e] == Approx(p[e]).margin(0.015));
  CHECK(full / (share[0] * 20000) == Approx(0.25).margin(0.03));
}

TEST_CASE("SparseMixer's weights of a token do not sum to one", "[gate][sparse_mixer]") {
  const auto out = route(make_gate(2, 3), rows({{3, 1, -1}}));
  CHECK(out.routing.weight(0, 0) == Approx(1));  // alone within the jitter, each time
  CHECK(out.routing.weight(0, 1) == Approx(1));
}

TEST_CASE("SparseMixer's backward is the published one", "[gate][sparse_mixer][gradient]") {
  SparseMixerGate gate = make_gate(2, 6, 0.5);
  const Matrix<double> logits = random_matrix<double>(30, 6, 3);
  auto out = route(gate, logits, {.seed = 5, .training = true});
  const Matrix<double> dweight = random_matrix<double>(30, 2, 4);
  const Matrix<double> got =
      gate_gradient(gate, out, dweight, Matrix<double>(Matrix<double>::Zero(30, 6)));
  Matrix<double> expected = Matrix<double>::Zero(30, 6);
  for (Index t = 0; t < 30; ++t) {
    Experts taken;
    for (Index j = 0; j < 2; ++j) {
      const Row g = candidates(to_table(logits)[static_cast<std::size_t>(t)], taken, 0.5);
      const int chosen = out.routing.expert(t, j);
      const double gradient = dweight(t, j) * g[static_cast<std::size_t>(chosen)];  // no 0.3333
      for (Index e = 0; e < 6; ++e) expected(t, e) -= g[static_cast<std::size_t>(e)] * gradient;
      expected(t, chosen) += gradient;
      taken.push_back(chosen);
    }
  }
  CHECK(distance(got, expected) < 1e-13);
}

TEST_CASE("SparseMixer's backward is the gradient where nothing is drawn",
          "[gate][sparse_mixer][gradient]") {
  for (const Index k : {1, 2, 4}) {
    check_gate_gradient(make_gate(k, 4, 0.6), random_matrix<double>(6, 4, 8));
  }
}

TEST_CASE("SparseMixer's gradient arrives at the router through a layer",
          "[gate][sparse_mixer][gradient]") {
  // jitter so large and K = E = 1 that the estimator is exact
  check_layer_gradient<SparseMixerGate>({.jitter = 0.01}, 1, {.seed = 3}, 1);
  // candidates stand alone: every weight is 1, no factor applies
  check_layer_gradient<SparseMixerGate>({.jitter = 0}, 2, {.seed = 3}, 4);
}

TEST_CASE("SparseMixer survives zero logits and ties", "[gate][sparse_mixer]") {
  const auto out = route(make_gate(2, 3), rows({{0, 0, 0}, {-1, -1, -1}, {kNaN, 1, 2}}));
  CHECK(experts_of(out.routing, 0) == Experts{0, 1});
  CHECK(out.routing.weight(0, 0) == Approx(1.0 / 3));
  CHECK(out.routing.weight(0, 1) == Approx(0.5));
  CHECK(experts_of(out.routing, 1) == Experts{0, 1});
  CHECK(experts_of(out.routing, 2) == Experts{2, 1});
  CHECK(std::isnan(out.routing.weight(2, 0)));
}

TEST_CASE("SparseMixer refuses a negative jitter", "[gate][sparse_mixer][misuse]") {
  CHECK(sentence_of([] { make_gate(2, 4, -1); }) ==
        "moe::SparseMixerGate: jitter is -1.000000, expected a finite value of at least 0");
}

}  // namespace moe_test
