// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Transformer blocks around soft layers and layers with a shared expert: gradients, and sequences apart.
#include "block/block_checks.hpp"
#include "moe/block/transformer_block.hpp"
#include "moe/layer/shared.hpp"
#include "moe/layer/soft_layer.hpp"

namespace moe_test {
namespace {

template <class Ffn>
void check_block_around(const typename Ffn::Config& config) {
  using Block = moe::TransformerBlock<double, Ffn>;
  Block block({.attention = {.model_dim = 6, .num_heads = 2}, .ffn = config}, 3);
  check_gradients_of(
      block, padded({6, 0, 5}, 1),
      [](auto& tape) {
        if constexpr (moe::RoutedLayer<Block, double>) {
          return static_cast<double>(tape.add_loss(moe::SwitchLoss{0.3}));
        }
        return 0.0;
      },
      10);
  check_sequences_apart<double>(block, padded({7, 3, 9, 1}, 2));
  check_nan_stays<double>(block, {5, 0, 3});
  check_edges<double>(block);
}

}  // namespace

TEST_CASE("a block goes around a soft layer, which mixes each sequence", "[block][gradient]") {
  check_block_around<moe::SoftLayer<double>>(
      {.model_dim = 6, .hidden_dim = 5, .num_experts = 3, .slots = 2});
}

TEST_CASE("a block goes around a sparse layer with a shared expert", "[block][gradient]") {
  check_block_around<moe::SharedLayer<moe::MoeLayer<double>>>(
      {.layer = {.model_dim = 6, .hidden_dim = 5, .num_experts = 4, .top_k = 2},
       .hidden_dim = 4,
       .gate = true});
}

}  // namespace moe_test
