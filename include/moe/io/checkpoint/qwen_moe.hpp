// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of Qwen2-MoE, Qwen3-MoE and Qwen3-Next.
#pragma once

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/softmax.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

/// Without the shared expert.
inline LayerRecipe qwen_recipe(const ModelConfig& config, const std::string& block) {
  LayerRecipe r;
  const Index e = config.experts("num_experts");
  r.dims = {config.dim("hidden_size"), config.dim("moe_intermediate_size"), e,
            detail::top_k(config, "num_experts_per_tok", e)};
  r.activation = config.activation("hidden_act", "silu");
  r.router = detail::whole(block + ".gate.weight", e, r.dims.model_dim);
  r.expert = detail::separate_experts(block, detail::kProjections, r.dims);
  return r;
}

/// The shared expert stands behind a sigmoid gate. Qwen3-Next has Qwen2-MoE's layer, normalised.
inline LayerRecipe qwen2_recipe(const ModelConfig& config, Index, const std::string& block,
                                presets::Variant variant) {
  LayerRecipe r = qwen_recipe(config, block);
  const bool next = config.model_type() == "qwen3_next";
  r.gate = presets::qwen2_moe(variant, config.flag_or("norm_topk_prob", next));
  r.shared_dim = config.dim("shared_expert_intermediate_size");
  r.shared = detail::separate_ffn(block + ".shared_expert", detail::kProjections, r.dims.model_dim,
                                  r.shared_dim);
  r.shared_gate = detail::whole(block + ".shared_expert_gate.weight", 1, r.dims.model_dim);
  return r;
}

inline LayerRecipe qwen3_recipe(const ModelConfig& config, Index, const std::string& block,
                                presets::Variant variant) {
  LayerRecipe r = qwen_recipe(config, block);
  r.gate = presets::qwen3_moe(variant, config.flag_or("norm_topk_prob", false));
  return r;
}

inline CheckpointFamily qwen2_moe() {
  return {"Qwen2-MoE",
          {"qwen2_moe", "qwen3_next"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kMlp>,
          qwen2_recipe};
}
inline CheckpointFamily qwen3_moe() {
  return {"Qwen3-MoE",
          {"qwen3_moe"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kMlp>,
          qwen3_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
