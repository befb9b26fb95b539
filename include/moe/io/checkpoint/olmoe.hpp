// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of OLMoE.
#pragma once

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/softmax.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

inline LayerRecipe olmoe_recipe(const ModelConfig& config, Index, const std::string& block,
                                presets::Variant variant) {
  LayerRecipe r;
  const Index e = config.experts("num_experts");
  r.dims = {config.dim("hidden_size"), config.dim("intermediate_size"), e,
            detail::top_k(config, "num_experts_per_tok", e)};
  r.activation = config.activation("hidden_act", "silu");
  r.router = detail::whole(block + ".gate.weight", e, r.dims.model_dim);
  r.gate = presets::olmoe(variant, config.flag_or("norm_topk_prob", false));
  r.expert = detail::separate_experts(block, detail::kProjections, r.dims);
  return r;
}

inline CheckpointFamily olmoe() {
  return {"OLMoE",
          {"olmoe"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kMlp>,
          olmoe_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
