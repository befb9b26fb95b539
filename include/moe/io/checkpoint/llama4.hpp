// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of Llama 4.
#pragma once

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/sigmoid.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

/// Fused and transposed: gate_up_proj [E, D, 2 H], gate left of up, and down_proj [E, H, D]; as
/// llm-compressor's float8 one by one, as linear layers.
inline LayerRecipe llama4_recipe(const ModelConfig& config, Index, const std::string& block,
                                 presets::Variant variant) {
  LayerRecipe r;
  const Index e = config.experts("num_local_experts");
  const Index d = config.dim("hidden_size"), h = config.dim("intermediate_size");
  r.dims = {d, h, e, detail::top_k(config, "num_experts_per_tok", e)};
  r.activation = config.activation("hidden_act", "silu");
  r.router = detail::whole(block + ".router.weight", e, d);
  r.gate = presets::llama4(variant);
  if (config.is_compressed_floats()) {
    r.expert = detail::separate_experts(block, detail::kProjections, r.dims);
  } else {
    r.expert = [block, dims = r.dims](Index i) {
      return detail::fused_ffn(block + ".experts.gate_up_proj", block + ".experts.down_proj", dims,
                               i, detail::FusedOrder::halves, /*transposed=*/true);
    };
  }
  r.shared_dim = h;
  r.shared = detail::separate_ffn(block + ".shared_expert", detail::kProjections, d, h);
  return r;
}

inline CheckpointFamily llama4() {
  return {"Llama 4",
          {"llama4", "llama4_text"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kFeedForward>,
          llama4_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
