// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of DeepSeek-V3 and the models of its shape: GLM-4.5, dots.llm1, Kimi-K2.
#pragma once

#include "moe/io/checkpoint/deepseek_v2.hpp"
#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/sigmoid.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

inline LayerRecipe deepseek_v3_recipe(const ModelConfig& config, Index, const std::string& block,
                                      presets::Variant variant) {
  config.expect_text("scoring_func", {"sigmoid", "noaux_tc"});  // dots.llm1 names its method here
  config.expect_text("topk_method", {"noaux_tc"});
  LayerRecipe r = deepseek_recipe(config, block);
  const Index e = r.dims.num_experts;
  presets::DeepSeekV3Config gate;
  gate.n_group = config.count_or("n_group", 1, 1, e);
  gate.topk_group = config.count_or("topk_group", 1, 1, gate.n_group);
  gate.norm_topk_prob = config.flag_or("norm_topk_prob", true);
  gate.routed_scaling_factor = config.number_or("routed_scaling_factor", 1);
  const bool original =
      config.model_type() == "deepseek_v3" || config.model_type() == "deepseek_v32";
  r.gate = original ? presets::deepseek_v3(e, variant, gate)
                    : presets::deepseek_v3_kin(e, variant, gate);
  r.selection_bias = detail::whole(block + ".gate.e_score_correction_bias", e);
  return r;
}

/// DeepSeek-V3, R1: released in float8 with a scale per block.
inline CheckpointFamily deepseek_v3() {
  return {"DeepSeek-V3",
          {"deepseek_v3", "deepseek_v32"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kMlp>,
          deepseek_v3_recipe};
}
/// GLM-4.5, 4.6.
inline CheckpointFamily glm4_moe() {
  return {"GLM4-MoE",
          {"glm4_moe", "glm4_moe_lite", "glm4v_moe"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kMlp>,
          deepseek_v3_recipe};
}
inline CheckpointFamily dots1() {
  return {"dots.llm1",
          {"dots1"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kMlp>,
          deepseek_v3_recipe};
}
inline CheckpointFamily kimi_k2() {
  return {"Kimi-K2",
          {"kimi_k2"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kMlp>,
          deepseek_v3_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
