// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of DBRX.
#pragma once

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/softmax.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

/// The experts of a layer lie below one another: w1 (gate), v1 (up) and w2 (down) [E H, D]; w2 is
/// transposed.
inline LayerRecipe dbrx_recipe(const ModelConfig& config, Index, const std::string& block,
                               presets::Variant variant) {
  const ModelConfig ffn = config.part("ffn_config");
  LayerRecipe r;
  const Index e = ffn.experts("moe_num_experts");
  const Index d = config.dim("d_model"), h = ffn.dim("ffn_hidden_size");
  r.dims = {d, h, e, detail::top_k(ffn, "moe_top_k", e)};
  if (ffn.has("ffn_act_fn")) r.activation = ffn.part("ffn_act_fn").activation("name", "silu");
  r.router = detail::whole(block + ".router.layer.weight", e, d);
  // Absent, as in the released config.json, it is 1; null turns it off.
  constexpr auto* kNorm = "moe_normalize_expert_weights";
  r.gate = presets::dbrx(variant, ffn.is_null(kNorm) ? 0 : ffn.number_or(kNorm, 1));
  r.expert = [=](Index i) {
    const auto place = [&](const char* name) {
      return WeightPlace{block + ".experts.mlp." + name, {e * h, d}, h, d, i * h * d, d, 1};
    };
    FfnPlaces p;
    p.gate = place("w1");
    p.in = place("v1");
    p.out = {block + ".experts.mlp.w2", {e * h, d}, d, h, i * h * d, 1, d};
    return p;
  };
  return r;
}

inline CheckpointFamily dbrx() {
  return {"DBRX",
          {"dbrx"},
          [](const ModelConfig& config) { return config.layers("n_layers"); },
          [](const ModelConfig&, Index layer) {
            return "transformer.blocks." + std::to_string(layer) + ".ffn";
          },
          dbrx_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
