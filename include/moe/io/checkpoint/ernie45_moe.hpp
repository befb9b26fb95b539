// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of Ernie 4.5 MoE.
#pragma once

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/softmax.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

inline LayerRecipe ernie45_recipe(const ModelConfig& config, Index, const std::string& block,
                                  presets::Variant variant) {
  LayerRecipe r;
  const Index e = config.experts("moe_num_experts"), h = config.dim("moe_intermediate_size");
  const bool bias = config.flag_or("use_bias", false);
  r.dims = {config.dim("hidden_size"), h, e, detail::top_k(config, "moe_k", e)};
  r.activation = config.activation("hidden_act", "silu");
  r.router = detail::whole(block + ".gate.weight", e, r.dims.model_dim);
  r.selection_bias = detail::whole(block + ".moe_statics.e_score_correction_bias", e);
  r.gate = presets::ernie45_moe(e, variant, config.number_or("moe_norm_min", 1e-12));
  r.expert = detail::separate_experts(block, detail::kProjections, r.dims, bias);
  const Index shared = config.count_or("moe_num_shared_experts", 0, 0, ModelConfig::kMostExperts);
  if (shared > 0) {
    r.shared_dim = shared * h;
    r.shared = detail::separate_ffn(block + ".shared_experts", detail::kProjections,
                                    r.dims.model_dim, r.shared_dim, bias);
  }
  return r;
}

inline CheckpointFamily ernie45_moe() {
  return {"Ernie 4.5 MoE",
          {"ernie4_5_moe"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kMlp>,
          ernie45_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
