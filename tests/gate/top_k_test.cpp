// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/gate/top_k.hpp"

#include "support/gradients.hpp"
#include "support/layers.hpp"

namespace moe_test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

moe::TopKGate make_gate(Index k, Index e, bool renormalize = true, double temperature = 1) {
  return {{.num_experts = e, .top_k = k}, {.renormalize = renormalize, .temperature = temperature}};
}

template <class S>
moe::Routing<S> route(const moe::TopKGate& gate, const Matrix<S>& logits) {
  moe::Routing<S> routing;
  moe::TopKGate::State state;
  routing.resize(logits.rows(), gate.top_k(), logits.cols());
  gate.forward(MatrixView<const S>(logits), routing, {}, state);
  return routing;
}

Matrix<double> row(std::initializer_list<double> values) {
  Matrix<double> m(1, static_cast<Index>(values.size()));
  std::copy(values.begin(), values.end(), m.data());
  return m;
}

std::vector<int> experts_of(const moe::Routing<double>& routing, Index t = 0) {
  return {routing.expert.row(t), routing.expert.row(t) + routing.top_k()};
}

using Experts = std::vector<int>;

}  // namespace

TEST_CASE("the gate takes the largest scores, best first", "[gate]") {
  const auto routing = route(make_gate(3, 5), row({0.1, 3, -1, 2, 0.5}));
  CHECK(experts_of(routing) == Experts{1, 3, 4});
}

TEST_CASE("the gate computes softmax scores and renormalised weights", "[gate]") {
  // exp(0), exp(ln 2), exp(ln 5): scores 1/8, 2/8, 5/8.
  const Matrix<double> logits = row({0, std::log(2.0), std::log(5.0)});
  const auto shared = route(make_gate(2, 3, true), logits);
  CHECK(shared.scores(0, 0) == Approx(0.125));
  CHECK(shared.scores(0, 1) == Approx(0.25));
  CHECK(shared.scores(0, 2) == Approx(0.625));
  CHECK(shared.weight(0, 0) == Approx(5.0 / 7));
  CHECK(shared.weight(0, 1) == Approx(2.0 / 7));
  const auto plain = route(make_gate(2, 3, false), logits);
  CHECK(plain.weight(0, 0) == Approx(0.625));
  CHECK(plain.weight(0, 1) == Approx(0.25));
}

TEST_CASE("temperature divides the logits", "[gate]") {
  const auto hot = route(make_gate(2, 3, true, 2), row({0, 2, 4}));
  const auto plain = route(make_gate(2, 3, true, 1), row({0, 1, 2}));
  CHECK(distance(hot.scores, plain.scores) < 1e-15);
  CHECK(distance(hot.weight, plain.weight) < 1e-15);
}

TEST_CASE("ties go to the lowest expert index", "[gate]") {
  CHECK(experts_of(route(make_gate(3, 6), row({1, 1, 1, 1, 1, 1}))) == Experts{0, 1, 2});
  CHECK(experts_of(route(make_gate(3, 6), row({0, 2, 1, 2, 1, 2}))) == Experts{1, 3, 5});
  CHECK(experts_of(route(make_gate(4, 6), row({0, 2, 1, 2, 1, 2}))) == Experts{1, 3, 5, 2});
  CHECK(experts_of(route(make_gate(2, 3), row({0.0, -0.0, 0.0}))) == Experts{0, 1});
  const Matrix<double> equal = Matrix<double>::Constant(1, 130, -3.5);
  const auto routing = route(make_gate(130, 130), equal);
  for (Index j = 0; j < 130; ++j) CHECK(routing.expert(0, j) == j);
  CHECK(routing.weight(0, 129) == Approx(1.0 / 130));
}

TEST_CASE("NaN ranks behind every number and breaks no order", "[gate]") {
  CHECK(experts_of(route(make_gate(3, 4), row({kNan, 1, kNan, 2}))) == Experts{3, 1, 0});
  CHECK(experts_of(route(make_gate(2, 4), row({kNan, -kInf, kNan, 2}))) == Experts{3, 1});
  CHECK(experts_of(route(make_gate(2, 3), row({kNan, kNan, kNan}))) == Experts{0, 1});
  const auto routing = route(make_gate(2, 3), row({1, kNan, 2}));
  for (Index e = 0; e < 3; ++e) CHECK(std::isnan(routing.scores(0, e)));
  CHECK(std::isnan(routing.weight(0, 0)));
}

TEST_CASE("minus infinity closes an expert, huge logits do not overflow", "[gate]") {
  const auto closed = route(make_gate(2, 3), row({-kInf, 1, 1}));
  CHECK(closed.scores(0, 0) == 0);
  CHECK(closed.weight(0, 0) == Approx(0.5));
  const auto huge = route(make_gate(2, 3), row({1e300, 1e300, -1e300}));
  CHECK(huge.weight(0, 0) == Approx(0.5));
  CHECK(huge.scores(0, 2) == 0);
}

TEST_CASE("with one expert per token the weight stays the score", "[gate]") {
  for (const bool renormalize : {false, true}) {
    const auto routing = route(make_gate(1, 2, renormalize), row({0, std::log(3.0)}));
    CHECK(routing.weight(0, 0) == Approx(0.75));
  }
}

TEMPLATE_TEST_CASE("the gate agrees with sorting, for any number of experts", "[gate]", float,
                   double) {
  for (const Index e : {1, 2, 5, 63, 64, 65, 130}) {
    for (const Index k : {Index{1}, std::min<Index>(e, 4), e}) {
      const Matrix<TestType> logits =
          random_matrix<TestType>(20, e, static_cast<std::uint64_t>(e)).array().round() / 2;
      const auto routing = route(make_gate(k, e), logits);  // rounding made many ties
      for (Index t = 0; t < 20; ++t) {
        const auto order = naive::ranking(to_table(logits)[static_cast<std::size_t>(t)]);
        Index wrong = 0;
        for (Index j = 0; j < k; ++j) {
          wrong += routing.expert(t, j) != static_cast<int>(order[static_cast<std::size_t>(j)]);
        }
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("the gate has the gradients of its differences, scores included", "[gate][gradient]") {
  for (const Index k : {1, 2, 5}) {
    for (const bool renormalize : {false, true}) {
      for (const double temperature : {0.6, 1.0, 2.5}) {
        const moe::TopKGate gate = make_gate(k, 5, renormalize, temperature);
        Matrix<double> logits = random_matrix<double>(4, 5, 3);
        const Matrix<double> dweight = random_matrix<double>(4, k, 4);
        const Matrix<double> dscores = random_matrix<double>(4, 5, 5);
        const auto loss = [&] {
          const auto routing = route(gate, logits);
          return routing.weight.eigen().cwiseProduct(dweight).sum() +
                 routing.scores.eigen().cwiseProduct(dscores).sum();
        };
        const Matrix<double> start = random_matrix<double>(4, 5, 6);
        Matrix<double> dlogits = start;
        moe::TopKGate::State state;
        gate.backward(route(gate, logits), MatrixView<const double>(dweight),
                      MatrixView<const double>(dscores), MatrixView<double>(dlogits), state);
        INFO("k " << k << " renormalize " << renormalize << " temperature " << temperature);
        check_gradient("logits", logits, Matrix<double>(dlogits - start), loss);
      }
    }
  }
}

TEST_CASE("with one expert per token the router still gets a gradient", "[gate][gradient]") {
  for (const bool renormalize : {false, true}) {
    const moe::TopKGate gate = make_gate(1, 3, renormalize);
    Matrix<double> dlogits = Matrix<double>::Zero(1, 3);
    moe::TopKGate::State state;
    gate.backward(route(gate, row({0, 1, 0.5})), MatrixView<const double>(row({1})),
                  MatrixView<const double>(row({0, 0, 0})), MatrixView<double>(dlogits), state);
    CHECK(std::abs(dlogits(0, 1)) > 0.1);
  }
}

TEST_CASE("the gate refuses K outside 1 to E", "[gate][misuse]") {
  CHECK(sentence_of([] { make_gate(0, 4); }) == "moe::TopKGate: top_k is 0, expected at least 1");
  CHECK(sentence_of([] { make_gate(-1, 4); }) == "moe::TopKGate: top_k is -1, expected at least 1");
  CHECK(sentence_of([] { make_gate(5, 4); }) ==
        "moe::TopKGate: top_k is 5, expected at most num_experts = 4");
  CHECK(sentence_of([] { make_gate(1, 0); }) ==
        "moe::TopKGate: num_experts is 0, expected at least 1");
}

TEST_CASE("the gate refuses a temperature that is not finite and positive", "[gate][misuse]") {
  const auto sentence = [](const std::string& value) {
    return std::string("moe::TopKGate: temperature is ")
        .append(value)
        .append(", expected a finite value above 0");
  };
  moe::TopKGate gate = make_gate(1, 2, true, 1.5);
  CHECK(sentence_of([&] { gate.set_temperature(0); }) == sentence("0.000000"));
  CHECK(sentence_of([&] { gate.set_temperature(-2); }) == sentence("-2.000000"));
  CHECK(sentence_of([&] { gate.set_temperature(kNan); }) == sentence("nan"));
  CHECK(sentence_of([&] { gate.set_temperature(kInf); }) == sentence("inf"));
  CHECK(gate.options().temperature == 1.5);
  CHECK(sentence_of([&] { make_gate(1, 2, true, 0); }) == sentence("0.000000"));
}

}  // namespace moe_test
