// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A stack with attention learns what no layer without it can: to say the vector before.
#include "block/block_checks.hpp"
#include "moe/block/attention_moe.hpp"
#include "moe/block/ffn_layer.hpp"
#include "moe/block/stack.hpp"
#include "moe/block/transformer_block.hpp"
#include "moe/train/adamw.hpp"
#include "moe/train/clip.hpp"

namespace moe_test {
namespace {

constexpr Index kWidth = 16, kLength = 8, kSequences = 8;

using Ffn = moe::FfnLayer<float>;
using Dense = moe::TransformerBlock<float, Ffn>;
using Sparse = moe::TransformerBlock<float, moe::MoeLayer<float>, moe::AttentionMoe<float>>;
using Stack = moe::BlockStack<float, Dense, Sparse>;

/// Sequences of random signs, and what stood before each; a first row has itself before it. A quarter
/// of the columns are ones: from them queries and keys can be made that know the position alone.
void draw(std::uint64_t seed, Matrix<float>& x, Matrix<float>& target) {
  x = random_matrix<float>(kSequences * kLength, kWidth, seed).unaryExpr([](float v) {
    return v > 0 ? 1.0F : -1.0F;
  });
  x.leftCols(kWidth / 4).setOnes();
  target = x;
  for (Index t = 0; t < x.rows(); ++t) {
    if (t % kLength != 0) target.row(t) = x.row(t - 1);
  }
}

/// Mean squared error after training, on a batch it has not seen. Who does not look back gets no
/// lower than 0.65: one for each column that is not known, in seven of eight rows.
template <class L>
double train(L& layer, Index steps) {
  const Lengths lengths(kSequences, kLength);
  const moe::Batch batch{.sequence_lengths = lengths};
  moe::AdamW<float> optimizer;
  Matrix<float> x, target, y(kSequences * kLength, kWidth), dx = y;
  typename L::Tape tape;
  for (Index step = 0; step < steps; ++step) {
    draw(static_cast<std::uint64_t>(step) + 1, x, target);
    moe::zero_grad(layer);
    layer.forward(x, y, tape, batch);
    if constexpr (moe::RoutedLayer<L, float>) tape.add_loss(moe::SwitchLoss{1e-2});
    const Matrix<float> dy = (y - target) / static_cast<float>(y.rows());
    layer.backward(dy, dx, tape);
    moe::clip_grad_norm(layer, 1.0);
    optimizer.step(layer, 1e-2);
  }
  draw(1'000'000, x, target);
  return static_cast<double>((infer(layer, x, batch) - target).array().square().mean());
}

}  // namespace

TEST_CASE("a stack learns to look back, its routers included", "[block]") {
  const moe::RotaryOptions rotary{};
  Stack stack(
      {.interleave = {.blocks = 2},
       .dense = {.attention = {.model_dim = kWidth, .num_heads = 2, .rotary = rotary},
                 .ffn = {.model_dim = kWidth, .hidden_dim = 32}},
       .sparse = {.attention = {.model_dim = kWidth,
                                .num_experts = 4,
                                .top_k = 2,
                                .head_dim = 8,
                                .rotary = rotary},
                  .ffn = {.model_dim = kWidth, .hidden_dim = 16, .num_experts = 4, .top_k = 2}}},
      3);
  const Matrix<float> router = stack.sparse()[0].attention().router().weight.value;
  CHECK(train(stack, 1000) < 0.1);
  CHECK(distance(stack.sparse()[0].attention().router().weight.value, router) > 0.01);

  moe::Residual<float, Ffn> blind{Ffn({.model_dim = kWidth, .hidden_dim = 64}, 3)};
  CHECK(train(blind, 1000) > 0.6);
}

}  // namespace moe_test
