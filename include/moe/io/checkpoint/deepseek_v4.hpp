// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of DeepSeek-V4.
#pragma once

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/sigmoid.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

/// w1 is the gate, w3 the up, w2 the down projection, MXFP4 or float8 with "scale" beside "weight". Gates
/// and ups are clamped. The first num_hash_layers choose by the token's id.
inline LayerRecipe deepseek_v4_recipe(const ModelConfig& config, Index layer,
                                      const std::string& block, presets::Variant variant) {
  config.expect_text("scoring_func", {"sqrtsoftplus"});
  config.expect_text("topk_method", {"noaux_tc"});
  LayerRecipe r;
  const Index e = config.experts("n_routed_experts");
  const Index d = config.dim("hidden_size"), h = config.dim("moe_intermediate_size");
  r.dims = {d, h, e, detail::top_k(config, "num_experts_per_tok", e)};
  const double limit = config.number_or("swiglu_limit", 0);
  if (limit > 0) {
    r.activation = Activation::clamped_swiglu;
    r.clamped = {.alpha = 1, .limit = limit, .offset = 0};
  }
  r.router = detail::whole(block + ".gate.weight", e, d);
  TopKGate::Options gate =
      presets::deepseek_v4(e, variant, config.number_or("routed_scaling_factor", 1));
  if (layer < config.count_or("num_hash_layers", 0, 0, ModelConfig::kMostLayers)) {
    const Index vocabulary = config.count("vocab_size", 1, ModelConfig::kLargestDim);
    r.token_table = detail::whole(block + ".gate.tid2eid", vocabulary, r.dims.top_k);
    gate.selection_bias.clear();
  } else {
    r.selection_bias = detail::whole(block + ".gate.bias", e);
  }
  r.gate = std::move(gate);
  r.expert = detail::separate_experts(block, detail::kW123, r.dims);
  const Index shared = config.count_or("n_shared_experts", 0, 0, ModelConfig::kMostExperts);
  r.shared_dim = shared * h;
  if (shared > 0) {
    r.shared = detail::separate_ffn(block + ".shared_experts", detail::kW123, d, r.shared_dim);
  }
  return r;
}

inline CheckpointFamily deepseek_v4() {
  return {
      "DeepSeek-V4",
      {"deepseek_v4"},
      detail::num_hidden_layers,
      [](const ModelConfig&, Index layer) { return "layers." + std::to_string(layer) + ".ffn"; },
      deepseek_v4_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
