// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A transformer block as an expert: what it computes, gradients, and what it gives up.
#include "moe/block/transformer_expert.hpp"

#include "block/block_checks.hpp"

namespace moe_test {
namespace {

template <class S>
using Expert = moe::TransformerExpert<S>;
template <class S>
using Layer = LayerOf<S, Expert<S>>;

template <class S>
Layer<S> make() {
  return Layer<S>({.model_dim = 6,
                   .hidden_dim = 5,
                   .num_experts = 3,
                   .top_k = 2,
                   .expert = {.num_heads = 2, .rotary = moe::RotaryOptions{.dims = 2}}},
                  3);
}

constexpr auto kLosses = [](auto& tape) {
  return static_cast<double>(tape.add_loss(moe::SwitchLoss{0.3}));
};

}  // namespace

TEMPLATE_TEST_CASE("the rows of an expert are one sequence, in the order of their tokens",
                   "[block]", float, double) {
  using S = TestType;
  STATIC_REQUIRE(moe::Expert<Expert<S>, S>);
  const Layer<S> layer = make<S>();
  const Rows rows = padded({9, 8}, 1);
  const Matrix<S> x = random_matrix<S>(17, 6, 1);
  Matrix<S> y(17, 6), expected = Matrix<S>::Zero(17, 6);
  typename Layer<S>::Workspace workspace;
  layer.forward(x, y, workspace, rows.batch());
  for (Index e = 0; e < 3; ++e) {
    std::vector<Index> tokens;
    std::vector<S> weight;
    for (Index t = 0; t < 17; ++t) {
      for (Index j = 0; j < 2; ++j) {
        if (workspace.routing.expert(t, j) != e) continue;
        tokens.push_back(t);
        weight.push_back(workspace.routing.weight(t, j));
      }
    }
    const Matrix<S> in = x(tokens, Eigen::all);
    const Matrix<S> out = infer(layer.expert(e).block(), in, {});
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      expected.row(tokens[i]) += weight[i] * out.row(static_cast<Index>(i));
    }
  }
  CHECK(distance(y, expected) <= 4 * tolerance<S>(20));
}

TEST_CASE("gradients of transformer experts agree with differences", "[block][gradient]") {
  auto layer = make<double>();
  check_gradients_of(layer, {{11}}, kLosses, 20);
  check_gradients_of(layer, padded({7, 6}, 1), kLosses, 20);
}

TEST_CASE("transformer experts give the same bits on any number of threads, but not in any batch",
          "[block][bitwise]") {
  auto layer = make<float>();
  check_threads<float>(layer, padded({40, 33}, 1), kLosses);
  check_edges<float>(layer);
  const Matrix<float> x = random_matrix<float>(20, 6, 1), y = infer(layer, x, {});
  // Causal: the rows in front do not see those behind, in one call.
  CHECK(same_bits(infer(layer, Matrix<float>(x.topRows(11)), {}), y.topRows(11)));
  // But what stands in front of a row changes it.
  CHECK_FALSE(same_bits(infer(layer, Matrix<float>(x.bottomRows(9)), {}), y.bottomRows(9)));
}

TEST_CASE("what stands in padding reaches no transformer expert", "[block]") {
  const auto layer = make<double>();
  const Rows rows = padded({9, 8}, 1);
  Matrix<double> x = random_matrix<double>(17, 6, 1);
  const Matrix<double> before = infer(layer, x, rows.batch());
  for (Index t = 0; t < 17; ++t) {
    if (rows.mask[static_cast<std::size_t>(t)] == 0) {
      x.row(t).setConstant(std::numeric_limits<double>::quiet_NaN());
    }
  }
  CHECK(same_bits(infer(layer, x, rows.batch()), before));
}

TEST_CASE("transformer experts say what is wrong", "[block]") {
  moe::Random random(1);
  CHECK(sentence_of([&] {
          Expert<float>({6, 5, 1, 1}, {.num_heads = 4}, random);
        }) == "moe::Attention: num_heads is 4, expected a divisor of model_dim = 6, or a head_dim");
  CHECK(sentence_of([&] {
          Expert<float>({6, 0, 1, 1}, {}, random);
        }) == "moe::FfnExpert: hidden_dim is 0, expected at least 1");
}

}  // namespace moe_test
