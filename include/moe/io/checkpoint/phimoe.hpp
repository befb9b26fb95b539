// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of Phi-3.5-MoE.
#pragma once

#include "moe/io/checkpoint/mixtral.hpp"
#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/classic.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

/// Mixtral's tensors under another gate: SparseMixer, or what llama.cpp runs instead of it.
inline LayerRecipe phimoe_recipe(const ModelConfig& config, Index layer, const std::string& block,
                                 presets::Variant variant) {
  LayerRecipe r = mixtral_recipe(config, layer, block, variant);
  if (variant == presets::Variant::llama_cpp) {
    r.gate = presets::phi_moe_llama_cpp();
  } else {
    r.gate = presets::phi_moe(variant, config.number_or("router_jitter_noise", 0.01));
  }
  return r;
}

inline CheckpointFamily phimoe() {
  return {"Phi-3.5-MoE",
          {"phimoe"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kSparseMoe>,
          phimoe_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
