// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of MiniMax-M2.
#pragma once

#include "moe/io/checkpoint/mixtral.hpp"
#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/sigmoid.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

/// Mixtral's tensors and a selection bias beside the router.
inline LayerRecipe minimax_m2_recipe(const ModelConfig& config, Index layer,
                                     const std::string& block, presets::Variant variant) {
  config.expect_text("scoring_func", {"sigmoid"});
  LayerRecipe r = mixtral_recipe(config, layer, block, variant);
  TopKGate::Options gate = presets::minimax_m2(r.dims.num_experts, variant);
  if (config.flag_or("use_routing_bias", true)) {
    r.selection_bias = detail::whole(block + ".e_score_correction_bias", r.dims.num_experts);
  } else {
    gate.selection_bias.clear();
  }
  r.gate = gate;
  return r;
}

inline CheckpointFamily minimax_m2() {
  return {"MiniMax-M2",
          {"minimax_m2"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kSparseMoe>,
          minimax_m2_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
