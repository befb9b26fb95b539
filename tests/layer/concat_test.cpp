// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers that put their experts' outputs side by side.
#include "moe/layer/concat.hpp"

#include "layer/shape_cases.hpp"
#include "moe/layer/layer.hpp"
#include "moe/layer/moe_layer.hpp"
#include "support/catch.hpp"

namespace moe_test {
namespace {

template <class S>
using Concat = moe::ConcatLayer<S>;

static_assert(moe::RoutedLayer<Concat<float>, float>);

const Case kCases[] = {
    {.t = 19, .d = 9, .h = 5, .e = 4, .k = 2, .seed = 1},
    {.t = 24, .d = 5, .h = 6, .e = 5, .k = 3, .capacity = 0.6, .masked = true, .seed = 2},
    {.t = 3, .d = 1, .h = 3, .e = 2, .k = 1, .seed = 3},
    {.t = 0, .d = 4, .h = 3, .e = 3, .k = 2, .seed = 4}};

const auto kSwitch = [](auto& tape) {
  return static_cast<double>(tape.add_loss(moe::SwitchLoss{0.1}));
};

template <class S>
Concat<S> make(const Case& c) {
  return Concat<S>({.model_dim = c.d,
                    .hidden_dim = c.h,
                    .num_experts = c.e,
                    .top_k = c.k,
                    .expert = {.bias = true},
                    .capacity = {.factor = c.capacity}},
                   c.seed);
}

}  // namespace

TEMPLATE_TEST_CASE("a concatenating layer fills a place per chosen expert", "[layer][concat]",
                   float, double) {
  using S = TestType;
  for (const Case& c : kCases) {
    INFO(c);
    const auto layer = make<S>(c);
    const Matrix<S> x = random_matrix<S>(c.t, c.d, 1);
    const std::vector<std::uint8_t> mask = random_mask(c);
    Framed<S> y(c.t, c.k * c.d, 2);
    y.inner().setConstant(S(5));
    typename Concat<S>::Workspace workspace;
    layer.forward(x, y.view(), workspace, {.mask = mask});
    CHECK(y.frame_is_whole());
    Matrix<double> expected = Matrix<double>::Zero(c.t, c.k * c.d);
    double kink = 1;
    for (Index a = 0; a < c.t * c.k; ++a) {
      const Index t = a / c.k, j = a % c.k;
      if (workspace.plan.outcome[static_cast<std::size_t>(a)] != moe::Outcome::kept) continue;
      const auto& expert = layer.expert(workspace.routing.expert(t, j));
      const naive::Row row(x.row(t).begin(), x.row(t).end());
      const naive::Row out = naive::expert_output(to_naive_expert(expert), row, kink);
      for (Index d = 0; d < c.d; ++d) {
        expected(t, j * c.d + d) =
            static_cast<double>(workspace.routing.weight(t, j)) * out[static_cast<std::size_t>(d)];
      }
    }
    CHECK(distance(y.inner(), expected) <= tolerance<S>(c.d + c.h));

    // The places of a token sum to what the sum of experts gives.
    const LayerOf<S, moe::GatedFfn<S>> sum(
        layer.router(), layer.gate(),
        [&] {
          std::vector<moe::GatedFfn<S>> experts;
          for (Index e = 0; e < c.e; ++e) experts.push_back(layer.expert(e));
          return experts;
        }(),
        layer.capacity());
    Matrix<S> z(c.t, c.d), folded = Matrix<S>::Zero(c.t, c.d);
    typename LayerOf<S, moe::GatedFfn<S>>::Workspace sum_workspace;
    sum.forward(x, z, sum_workspace, {.mask = mask});
    for (Index j = 0; j < c.k; ++j) folded += y.inner().middleCols(j * c.d, c.d);
    CHECK(distance(folded, z) <= tolerance<S>(c.d + c.h));
  }
}

TEST_CASE("a concatenating layer has the gradients of its differences",
          "[layer][concat][gradient]") {
  for (const Case& c : {kCases[0], kCases[1], kCases[2]}) {
    auto layer = make<double>(c);
    const std::vector<std::uint8_t> mask = random_mask(c);
    check_shape_gradients(layer, random_matrix<double>(c.t, c.d, 5), {.mask = mask}, kSwitch, 60);
  }
}

TEST_CASE("a concatenating layer refuses what does not fit", "[layer][concat][misuse]") {
  auto layer = make<float>(kCases[0]);
  const Matrix<float> x = random_matrix<float>(4, 9, 1);
  Matrix<float> y = Matrix<float>::Constant(4, 18, 3), narrow(4, 9);
  Concat<float>::Workspace workspace;
  Concat<float>::Tape tape;
  CHECK(sentence_of([&] { layer.forward(x, narrow, workspace); }) ==
        "moe::ConcatLayer::forward: y is [4, 9], expected [4, 18]");
  CHECK(sentence_of([&] { layer.backward(y, narrow, tape); }) ==
        "moe::ConcatLayer::backward: the tape is empty, expected one training forward before each "
        "backward");
  layer.gate() =
      moe::TopKGate({.model_dim = 9, .num_experts = 4, .top_k = 2}, {.weight_on_input = true});
  CHECK(sentence_of([&] { layer.forward(x, y, workspace); }) ==
        "moe::ConcatLayer::forward: the gate puts weights on the input, expected on the output");
  CHECK((y.array() == 3).all());
}

}  // namespace moe_test
