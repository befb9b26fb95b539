// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of Mixtral.
#pragma once

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/softmax.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

inline LayerRecipe mixtral_recipe(const ModelConfig& config, Index, const std::string& block,
                                  presets::Variant variant) {
  LayerRecipe r;
  const Index e = config.experts("num_local_experts");
  r.dims = {config.dim("hidden_size"), config.dim("intermediate_size"), e,
            detail::top_k(config, "num_experts_per_tok", e)};
  r.activation = config.activation("hidden_act", "silu");
  r.router = detail::whole(block + ".gate.weight", e, r.dims.model_dim);
  r.gate = presets::mixtral(variant);
  r.expert = detail::separate_experts(block, detail::kW123, r.dims);
  return r;
}

/// Mixtral 8x7B, 8x22B: w1 is the gate, w3 the up, w2 the down projection.
inline CheckpointFamily mixtral() {
  return {"Mixtral",
          {"mixtral"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kSparseMoe>,
          mixtral_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
