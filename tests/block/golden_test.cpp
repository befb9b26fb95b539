// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Transformer blocks and mixtures of attention heads against PyTorch, forward and every gradient: see
// tests/golden/make_block_golden.py.
#include "support/golden.hpp"

#include "block/block_checks.hpp"
#include "moe/block/attention_moe.hpp"
#include "moe/block/ffn_layer.hpp"
#include "moe/block/transformer_block.hpp"

namespace moe_test {
namespace {

constexpr auto kBoth = [](auto& tape) {
  return static_cast<double>(tape.add_loss(moe::SwitchLoss{0.1})) +
         static_cast<double>(tape.add_loss(moe::RouterZLoss{0.05}));
};

template <class S, class L, class Add>
void check_golden(const std::string& file, L&& layer, Add&& add) {
  INFO(file);
  const double allowed = std::is_same_v<S, double> ? 1e-12 : 2e-5;
  const Golden golden = read_golden(file);
  const auto at = [&](const std::string& name) {
    return Matrix<S>(golden.at(name).template cast<S>());
  };
  std::size_t parameters = 0;
  layer.visit_parameters([&](std::string_view name, auto& p) {
    const Matrix<S> value = at(std::string(name));
    REQUIRE(value.rows() == p.value.rows());
    REQUIRE(value.cols() == p.value.cols());
    p.value = value;
    ++parameters;
  });
  CHECK(golden.size() == 7 + 2 * parameters);  // no weight of the file is left out
  Rows rows;
  for (const double length : golden.at("lengths").reshaped()) {
    rows.lengths.push_back(static_cast<Index>(length));
  }
  for (const double real : golden.at("mask").reshaped()) rows.mask.push_back(real != 0);

  typename std::decay_t<L>::Tape tape;
  double losses = 0;
  const Step<S> step = step_of(layer, at("x"), at("dy"), tape, rows.batch(),
                               [&](auto& t) { return losses = add(t); });
  CHECK(distance(step.y, golden.at("y")) <= allowed);
  CHECK(distance(step.dx, golden.at("dx")) <= allowed);
  CHECK(losses == Approx(golden.at("losses").sum()).epsilon(allowed));
  for (const auto& [name, gradient] : step.gradient) {
    INFO(name);
    CHECK(distance(gradient, golden.at(name + ".grad")) <= allowed);
  }
  CHECK(distance(infer(layer, at("x"), rows.batch()), golden.at("y")) <= allowed);
}

}  // namespace

TEMPLATE_TEST_CASE("a causal block around a sparse layer agrees with PyTorch", "[block][golden]",
                   float, double) {
  using S = TestType;
  check_golden<S>("block_moe.txt",
                  moe::TransformerBlock<S, moe::MoeLayer<S>>(
                      {.attention = {.model_dim = 6,
                                     .num_heads = 4,
                                     .num_kv_heads = 2,
                                     .head_dim = 4,
                                     .bias = true,
                                     .rotary = moe::RotaryOptions{.base = 100}},
                       .ffn = {.model_dim = 6, .hidden_dim = 5, .num_experts = 4, .top_k = 2}}),
                  kBoth);
}

TEMPLATE_TEST_CASE("a full block around a dense FFN agrees with PyTorch", "[block][golden]", float,
                   double) {
  using S = TestType;
  using Ffn = moe::FfnLayer<S, moe::Ffn<S, moe::Gelu>>;
  check_golden<S>("block_dense.txt",
                  moe::TransformerBlock<S, Ffn, moe::Attention<S>, moe::LayerNorm<S>>(
                      {.attention = {.model_dim = 8, .num_heads = 2, .causal = false, .bias = true},
                       .ffn = {.model_dim = 8, .hidden_dim = 7, .expert = {.bias = true}}}),
                  kNoLosses);
}

TEMPLATE_TEST_CASE("mixtures of attention heads agree with PyTorch", "[block][golden]", float,
                   double) {
  using S = TestType;
  check_golden<S>("block_heads.txt",
                  moe::AttentionMoe<S>({.model_dim = 6,
                                        .num_experts = 5,
                                        .top_k = 2,
                                        .head_dim = 4,
                                        .gate = {.constant_norm = true}}),
                  kBoth);
  check_golden<S>("block_heads_rotary.txt",
                  moe::AttentionMoe<S>({.model_dim = 6,
                                        .num_experts = 5,
                                        .top_k = 3,
                                        .head_dim = 4,
                                        .heads_per_expert = 2,
                                        .causal = false,
                                        .rotary = moe::RotaryOptions{.interleaved = true}}),
                  kBoth);
}

}  // namespace moe_test
