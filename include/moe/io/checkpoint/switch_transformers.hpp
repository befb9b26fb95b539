// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of Switch Transformers.
#pragma once

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/classic.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

/// Layers are counted through the encoder, then through the decoder.
inline LayerRecipe switch_recipe(const ModelConfig& config, Index, const std::string& block,
                                 presets::Variant variant) {
  if (config.flag_or("is_gated_act", false)) config.fail("is_gated_act", "is true, expected false");
  LayerRecipe r;
  const Index e = config.experts("num_experts"), d = config.dim("d_model");
  r.dims = {d, config.dim("d_ff"), e, 1};
  r.gated = false;
  r.activation = config.activation("dense_act_fn", "relu");
  r.router = detail::whole(block + ".router.classifier.weight", e, d);
  if (config.flag_or("router_bias", false)) {
    r.router_bias = detail::whole(block + ".router.classifier.bias", e);
  }
  r.gate = presets::switch_transformer(variant);
  r.expert = [block, dims = r.dims](Index i) {
    return detail::separate_ffn(block + ".experts.expert_" + std::to_string(i), {"", "wi", "wo"},
                                dims.model_dim, dims.hidden_dim);
  };
  return r;
}

inline CheckpointFamily switch_transformers() {
  return {"Switch",
          {"switch_transformers"},
          [](const ModelConfig& config) {
            return config.layers("num_layers") + config.layers("num_decoder_layers");
          },
          [](const ModelConfig& config, Index layer) {
            const Index encoder = config.layers("num_layers");
            return layer < encoder
                       ? "encoder.block." + std::to_string(layer) + ".layer.1.mlp"
                       : "decoder.block." + std::to_string(layer - encoder) + ".layer.2.mlp";
          },
          switch_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
