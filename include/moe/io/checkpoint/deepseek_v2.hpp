// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of DeepSeek-V2, and what its successors share with it.
#pragma once

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/softmax.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

/// Router, experts and shared experts: the same tensors in V2, V3 and their kin. The gate is left
/// to the caller.
inline LayerRecipe deepseek_recipe(const ModelConfig& config, const std::string& block) {
  LayerRecipe r;
  const Index e = config.experts("n_routed_experts"), h = config.dim("moe_intermediate_size");
  r.dims = {config.dim("hidden_size"), h, e, detail::top_k(config, "num_experts_per_tok", e)};
  r.activation = config.activation("hidden_act", "silu");
  r.router = detail::whole(block + ".gate.weight", e, r.dims.model_dim);
  r.expert = detail::separate_experts(block, detail::kProjections, r.dims);
  const Index shared = config.count_or("n_shared_experts", 0, 0, ModelConfig::kMostExperts);
  if (shared > 0) {
    r.shared_dim = shared * h;
    r.shared = detail::separate_ffn(block + ".shared_experts", detail::kProjections,
                                    r.dims.model_dim, r.shared_dim);
  }
  return r;
}

inline LayerRecipe deepseek_v2_recipe(const ModelConfig& config, Index, const std::string& block,
                                      presets::Variant variant) {
  config.expect_text("scoring_func", {"softmax"});
  config.expect_text("topk_method", {"greedy", "group_limited_greedy"});
  LayerRecipe r = deepseek_recipe(config, block);
  presets::DeepSeekV2Config gate{.n_group = 1, .topk_group = 1};
  if (config.text("topk_method", "greedy") != "greedy") {
    gate.n_group = config.count("n_group", 1, r.dims.num_experts);
    gate.topk_group = config.count("topk_group", 1, gate.n_group);
  }
  gate.norm_topk_prob = config.flag_or("norm_topk_prob", false);
  gate.routed_scaling_factor = config.number_or("routed_scaling_factor", 1);
  r.gate = presets::deepseek_v2(variant, gate);
  return r;
}

/// DeepSeek-V2 and V2-Lite.
inline CheckpointFamily deepseek_v2() {
  return {"DeepSeek-V2",
          {"deepseek_v2"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kMlp>,
          deepseek_v2_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
