// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of NLLB-MoE.
#pragma once

#include "moe/gate/top_k.hpp"
#include "moe/io/checkpoint/recipe.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

/// The two best experts, weights / max(sum, float32's epsilon); outside training all are scaled by
/// what the dropout of whole outputs left in training. Layers are counted through the encoder, then
/// through the decoder.
inline LayerRecipe nllb_recipe(const ModelConfig& config, Index layer, const std::string& block,
                               presets::Variant) {
  LayerRecipe r;
  const Index e = config.count("num_experts", 2, ModelConfig::kMostExperts);
  const Index d = config.dim("d_model");
  const bool encoder = layer < config.layers("encoder_layers");
  r.dims = {d, config.dim(encoder ? "encoder_ffn_dim" : "decoder_ffn_dim"), e, 2};
  r.gated = false;
  r.activation = config.activation("activation_function", "relu");
  r.router = detail::whole(block + ".router.classifier.weight", e, d);
  if (config.flag_or("router_bias", false)) {
    r.router_bias = detail::whole(block + ".router.classifier.bias", e);
  }
  const double dropout = config.number_or("moe_token_dropout", 0.2);
  if (!(dropout >= 0 && dropout < 1)) config.fail("moe_token_dropout", "is not in [0, 1)");
  r.gate = TopKGate::Options{.norm_min = 0x1p-23, .scale = 1 - dropout};
  r.expert = [block, dims = r.dims](Index i) {
    return detail::separate_ffn(block + ".experts.expert_" + std::to_string(i), {"", "fc1", "fc2"},
                                dims.model_dim, dims.hidden_dim, /*bias=*/true);
  };
  return r;
}

inline CheckpointFamily nllb_moe() {
  return {"NLLB-MoE",
          {"nllb-moe", "nllb_moe"},
          [](const ModelConfig& config) {
            return config.layers("encoder_layers") + config.layers("decoder_layers");
          },
          [](const ModelConfig& config, Index layer) {
            const Index encoder = config.layers("encoder_layers");
            return layer < encoder
                       ? "model.encoder.layers." + std::to_string(layer) + ".ffn"
                       : "model.decoder.layers." + std::to_string(layer - encoder) + ".ffn";
          },
          nllb_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
