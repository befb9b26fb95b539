// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Experts with the clamped SwiGLU of gpt-oss and DeepSeek-V4.
#include "kernel/ffn_problem.hpp"
#include "moe/layer/packed_layer.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

template <class S>
using Clamped = moe::GatedFfn<S, moe::ClampedSilu>;

/// Small limits, so that random inputs meet them.
const moe::ClampedSwiglu kNumbers[] = {{1.702, 0.3, 1}, {1, 0.4, 0}, {1.702, 7, 1}};

template <class S>
Clamped<S> make_expert(Index d, Index h, bool bias, const moe::ClampedSwiglu& numbers) {
  moe::Random random(5);
  return Clamped<S>({.model_dim = d, .hidden_dim = h}, {.bias = bias, .clamped = numbers}, random);
}

template <class S>
typename LayerOf<S, Clamped<S>>::Config layer_config(Index d, Index h) {
  return {.model_dim = d,
          .hidden_dim = h,
          .num_experts = 5,
          .top_k = 2,
          .expert = {.bias = true, .clamped = kNumbers[0]}};
}

}  // namespace

TEMPLATE_TEST_CASE("a clamped SwiGLU expert computes the published formula", "[expert]", float,
                   double) {
  using S = TestType;
  for (const auto& numbers : kNumbers) {
    for (const bool bias : {false, true}) {
      for (const Index n : {0, 1, 17}) {
        const Clamped<S> expert = make_expert<S>(13, 21, bias, numbers);
        const Matrix<S> in = random_matrix<S>(n, 13, 1);
        Framed<S> out(n, 13, 3);
        typename Clamped<S>::State state;
        expert.forward(in, out.view(), state);
        naive::Table expected;
        double kink = 1;
        for (const naive::Row& row : to_table(in)) {
          expected.push_back(naive::expert_output(to_naive_expert(expert), row, kink));
        }
        CHECK(distance(out.inner(), to_matrix(expected, 13)) <= tolerance<S>(13 + 21));
        CHECK(out.frame_is_whole());
      }
    }
  }
}

TEST_CASE("a clamped SwiGLU expert has the gradients of its differences", "[expert][gradient]") {
  for (const auto& numbers : kNumbers) {
    for (const bool bias : {false, true}) {
      auto expert = make_expert<double>(5, 19, bias, numbers);
      Matrix<double> in, out(4, 5), din(4, 5);
      for (std::uint64_t seed = 0;; ++seed) {  // away from the limits
        in = random_matrix<double>(4, 5, seed);
        double kink = 1;
        for (const auto& row : to_table(in)) {
          naive::expert_output(to_naive_expert(expert), row, kink);
        }
        if (kink > 1e-3) break;
      }
      const Matrix<double> dout = random_matrix<double>(4, 5, 3);
      Clamped<double>::State state;
      const auto loss = [&] {
        expert.forward(in, out, state);
        return out.cwiseProduct(dout).sum();
      };
      loss();
      expert.backward(in, dout, din, state);
      check_gradient("in", in, din, loss);
      expert.visit_parameters([&](std::string_view name, auto& p) {
        check_gradient(std::string(name), p.value, p.grad, loss);
      });
    }
  }
}

TEST_CASE("a layer of clamped SwiGLU experts has the same bits on every instruction set",
          "[expert][bitwise]") {
  LayerOf<float, Clamped<float>> layer(layer_config<float>(37, 70), 3);
  const Matrix<float> x = random_matrix<float>(29, 37, 1), dy = random_matrix<float>(29, 37, 2);
  std::optional<Step<float>> first;
  for (const moe::Isa isa : moe::available_isas()) {
    const UseIsa use(isa);
    const Step<float> step = train_step(layer, x, dy);
    if (!first) first = step;
    CHECK(same_bits(step, *first));
  }
}

TEST_CASE("a packed layer keeps the numbers of its clamped SwiGLU", "[expert]") {
  const LayerOf<float, Clamped<float>> layer(layer_config<float>(24, 40), 3);
  const Matrix<float> x = random_matrix<float>(9, 24, 1);
  Matrix<float> y(9, 24), packed_y(9, 24);
  LayerOf<float, Clamped<float>>::Workspace workspace;
  layer.forward(x, y, workspace);
  const auto packed = moe::pack(layer);
  decltype(moe::pack(layer))::Workspace packed_workspace;
  packed.forward(x, packed_y, packed_workspace);
  CHECK(same_bits(packed_y, y));
}

TEST_CASE("a clamped SwiGLU refuses numbers that are not above zero", "[expert][misuse]") {
  CHECK_THROWS_WITH(
      make_expert<float>(3, 4, true, {.alpha = 0}),
      StartsWith("moe::FfnExpert: the clamped SwiGLU's alpha is 0.0") && EndsWith("above 0"));
  CHECK_THROWS_WITH(make_expert<float>(3, 4, true, {.limit = std::nan("")}),
                    ContainsSubstring("limit is nan, expected above 0"));
  // Numbers are public, as weights are: a layer looks at them again.
  LayerOf<float, Clamped<float>> layer(layer_config<float>(4, 4), 3);
  Matrix<float> x = Matrix<float>::Zero(2, 4), y(2, 4);
  LayerOf<float, Clamped<float>>::Workspace workspace;
  layer.expert(2).clamped.limit = -1;
  CHECK_THROWS_WITH(layer.forward(x, y, workspace),
                    ContainsSubstring("moe::MoeLayer::forward: the clamped SwiGLU's limit is -1"));
}

}  // namespace moe_test
