// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of Bailing: Ling and Ring, 1 and 2.
#pragma once

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/sigmoid.hpp"
#include "moe/layer/presets/softmax.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

/// The second generation has DeepSeek-V3's gate and calls the bias expert_bias.
inline TopKGate::Options bailing_v2_gate(const ModelConfig& config, Index experts,
                                         presets::Variant variant) {
  config.expect_text("score_function", {"sigmoid"});
  presets::DeepSeekV3Config gate;
  gate.n_group = config.count_or("n_group", 1, 1, experts);
  gate.topk_group = config.count_or("topk_group", 1, 1, gate.n_group);
  gate.norm_topk_prob = config.flag_or("norm_topk_prob", true);
  gate.routed_scaling_factor = config.number_or("routed_scaling_factor", 1);
  return presets::deepseek_v3_kin(experts, variant, gate);
}

/// Ling 2 and Ring 2 are published under the model_type of the first, but name their score function.
inline bool is_second_bailing(const ModelConfig& config) {
  return config.model_type() == "bailing_moe_v2" || config.has("score_function");
}

inline LayerRecipe bailing_recipe(const ModelConfig& config, Index, const std::string& block,
                                  presets::Variant variant) {
  LayerRecipe r;
  const Index e = config.experts("num_experts"), h = config.dim("moe_intermediate_size");
  const bool bias = config.flag_or("use_bias", false);
  r.dims = {config.dim("hidden_size"), h, e, detail::top_k(config, "num_experts_per_tok", e)};
  r.activation = config.activation("hidden_act", "silu");
  r.router = detail::whole(block + ".gate.weight", e, r.dims.model_dim);
  if (!is_second_bailing(config)) {
    r.gate = detail::softmax_preset(config.flag_or("norm_topk_prob", false), variant);
  } else {
    TopKGate::Options gate = bailing_v2_gate(config, e, variant);
    if (config.flag_or("moe_router_enable_expert_bias", true)) {
      r.selection_bias = detail::whole(block + ".gate.expert_bias", e);
    } else {
      gate.selection_bias.clear();
    }
    r.gate = gate;
  }
  r.expert = detail::separate_experts(block, detail::kProjections, r.dims, bias);
  const Index shared = config.count_or("num_shared_experts", 0, 0, ModelConfig::kMostExperts);
  if (shared > 0) {
    r.shared_dim = shared * h;
    r.shared = detail::separate_ffn(block + ".shared_experts", detail::kProjections,
                                    r.dims.model_dim, r.shared_dim, bias);
  }
  return r;
}

inline CheckpointFamily bailing_moe() {
  return {"Bailing (Ling, Ring)",
          {"bailing_moe", "bailing_moe_v2"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kMlp>,
          bailing_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
