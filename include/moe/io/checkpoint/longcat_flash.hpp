// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of LongCat-Flash.
#pragma once

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/softmax.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

/// Zero experts are numbered after the others and return x.
inline LayerRecipe longcat_recipe(const ModelConfig& config, Index, const std::string& block,
                                  presets::Variant variant) {
  config.expect_text("zero_expert_type", {"identity"});
  LayerRecipe r;
  const Index e = config.experts("n_routed_experts");
  r.zero_experts = config.count_or("zero_expert_num", 0, 0, ModelConfig::kMostExperts);
  const Index choices = e + r.zero_experts;
  r.dims = {config.dim("hidden_size"), config.dim("expert_ffn_hidden_size"), e,
            detail::top_k(config, "moe_topk", choices)};
  r.activation = config.activation("hidden_act", "silu");
  r.router = detail::whole(block + ".router.classifier.weight", choices, r.dims.model_dim);
  if (config.flag_or("router_bias", false)) {
    r.router_bias = detail::whole(block + ".router.classifier.bias", choices);
  }
  r.selection_bias = detail::whole(block + ".router.e_score_correction_bias", choices);
  r.gate = presets::longcat(choices, variant, config.number_or("routed_scaling_factor", 1));
  r.expert = detail::separate_experts(block, detail::kProjections, r.dims);
  return r;
}

inline CheckpointFamily longcat_flash() {
  return {"LongCat-Flash",
          {"longcat_flash"},
          [](const ModelConfig& config) { return config.layers("num_layers"); },
          detail::llama_block<detail::kMlp>,
          longcat_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
