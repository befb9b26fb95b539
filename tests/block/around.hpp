// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What a transformer block around a layer of any shape is asked.
#pragma once

#include "block/block_checks.hpp"
#include "moe/block/transformer_block.hpp"

namespace moe_test {

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

}  // namespace moe_test
