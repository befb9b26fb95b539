// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What is random in a call of blocks: drawn apart in every part, and again the same from the same seed.
#include "moe/block/attention_moe.hpp"
#include "moe/block/stack.hpp"
#include "moe/block/transformer_block.hpp"
#include "moe/layer/moe_layer.hpp"
#include "moe/router/logit_noise.hpp"
#include "support/catch.hpp"
#include "support/layers.hpp"

namespace moe_test {

TEST_CASE("the parts of a block and the blocks of a stack draw noise of their own",
          "[block][bitwise]") {
  using Router = moe::LogitNoise<moe::LinearRouter<double>>;
  using Block = moe::TransformerBlock<double, moe::MoeLayer<double, Router>,
                                      moe::AttentionMoe<double, Router>>;
  using Noisy = moe::BlockStack<double, Block, Block>;
  const Noisy stack(
      {.interleave = {.blocks = 2, .every = 1},
       .dense = {},
       .sparse = {.attention = {.model_dim = 6, .num_experts = 4, .top_k = 2, .head_dim = 4},
                  .ffn = {.model_dim = 6, .hidden_dim = 5, .num_experts = 4, .top_k = 2}}});
  const Matrix<double> x = random_matrix<double>(9, 6, 1);
  Matrix<double> y(9, 6);
  const auto draws = [&](std::uint64_t seed) {
    Noisy::Tape tape;
    stack.forward(x, y, tape, {.seed = seed});
    std::vector<Matrix<double>> drawn;
    const auto add = [&](auto& part) {
      const MatrixView<const double> logits(part.layer.logits.data(), 9, 4);
      drawn.push_back(logits.eigen() - part.layer.router_state.noise.clean.eigen());
    };
    for (auto& block : tape.sparse) add(block.attention), add(block.ffn);
    return drawn;
  };
  const auto first = draws(7), again = draws(7), other = draws(8);
  REQUIRE(first.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(same_bits(first[i], again[i]));
    CHECK(distance(first[i], other[i]) > 0.1);
    for (std::size_t j = 0; j < i; ++j) CHECK(distance(first[i], first[j]) > 0.1);
  }
}

}  // namespace moe_test
