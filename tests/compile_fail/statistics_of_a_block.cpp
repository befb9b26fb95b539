// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A transformer block has no routing of its own, only its parts have.
// expect: ask about the layers inside, such as ws.ffn of a block
#include <moe/block/transformer_block.hpp>
#include <moe/layer/moe_layer.hpp>
#include <moe/observe/layer_stats.hpp>

using Block = moe::TransformerBlock<float, moe::MoeLayer<float>>;

void ask(const Block::Workspace& ws, moe::LayerStats& stats) {
#if MOE_SHOULD_COMPILE
  layer_stats(ws.ffn, stats);
#else
  layer_stats(ws, stats);
#endif
}
