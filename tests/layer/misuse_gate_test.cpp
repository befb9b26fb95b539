// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Gates of a user's own type that choose what is not there.
#include "moe/moe.hpp"
#include "support/catch.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

/// Chooses for every token the experts it is told, with weight 1.
struct FixedGate {
  struct Options {
    std::vector<std::int32_t> experts;
  };
  using State = moe::NoState;

  FixedGate(const moe::Dims&, const Options& options) : experts(options.experts) {}
  Index top_k() const { return static_cast<Index>(experts.size()); }

  template <class S>
  void forward(MatrixView<const S>, moe::Routing<S>& routing, const moe::Batch&, State&) const {
    for (Index t = 0; t < routing.tokens(); ++t) {
      std::copy(experts.begin(), experts.end(), routing.expert.row(t));
      std::fill_n(routing.weight.row(t), top_k(), S(1));
      std::fill_n(routing.scores.row(t), routing.num_experts(), S(0));
    }
  }
  template <class S>
  void backward(const moe::Routing<S>&, MatrixView<const S>, MatrixView<const S>, MatrixView<S>,
                State&) const {}

  std::vector<std::int32_t> experts;
};

using Layer = moe::MoeLayer<double, moe::LinearRouter<double>, FixedGate, moe::Ffn<double>>;

Layer make(std::vector<std::int32_t> experts) {
  return Layer({.model_dim = 4,
                .hidden_dim = 6,
                .num_experts = 3,
                .top_k = 2,
                .gate = {std::move(experts)}});
}

}  // namespace

TEST_CASE("a gate's choice of an expert that is not there is refused", "[layer][gate][misuse]") {
  const Matrix<double> x = random_matrix<double>(5, 4, 1);
  const auto refusal = [&](std::vector<std::int32_t> experts) {
    Layer layer = make(std::move(experts));
    const auto before = parameters_of(layer);
    Matrix<double> y = Matrix<double>::Constant(5, 4, 9), dx = y;
    Layer::Workspace workspace;
    Layer::Tape tape;
    const std::string plain = sentence_of([&] { layer.forward(x, y, workspace); });
    CHECK(sentence_of([&] { layer.forward(x, y, tape); }) == plain);
    CHECK((y.array() == 9).all());
    // Half a forward is none.
    CHECK_THROWS_AS(layer.backward(x, dx, tape), std::invalid_argument);
    CHECK((dx.array() == 9).all());
    CHECK(same_bits(parameters_of(layer), before));
    return plain;
  };
  CHECK(refusal({0, 3}) == "moe::make_plan: token 0 is routed to expert 3, expected 0 to 2");
  CHECK(refusal({-7, 1}) == "moe::make_plan: token 0 is routed to expert -7, expected 0 to 2");
  CHECK(refusal({2, 2}) ==
        "moe::make_plan: token 0 is routed to expert 2 twice, expected distinct experts");
}

TEST_CASE("a gate may leave places empty", "[layer][gate]") {
  Layer layer = make({2, moe::kNoExpert}), none = make({moe::kNoExpert, moe::kNoExpert});
  Layer one = make({2});
  const Matrix<double> x = random_matrix<double>(5, 4, 1), dy = random_matrix<double>(5, 4, 2);
  const Step<double> step = train_step(layer, x, dy), alone = train_step(one, x, dy);
  CHECK(same_bits(step.y, alone.y));
  CHECK(same_bits(step.dx, alone.dx));
  const Step<double> nothing = train_step(none, x, dy);
  CHECK(nothing.y.isZero(0));
  CHECK(nothing.dx.isZero(0));
}

TEST_CASE("a workspace works again after a refused call", "[layer][gate][misuse]") {
  Layer good = make({1, 0}), bad = make({1, 1});
  const Matrix<double> x = random_matrix<double>(5, 4, 1);
  Matrix<double> expected(5, 4), y(5, 4);
  Layer::Workspace workspace, fresh;
  CHECK_THROWS_AS(bad.forward(x, y, workspace), std::invalid_argument);
  good.forward(x, y, workspace);
  good.forward(x, expected, fresh);
  CHECK(same_bits(y, expected));
}

}  // namespace moe_test
