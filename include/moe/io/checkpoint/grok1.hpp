// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of Grok-1.
#pragma once

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/softmax.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

/// The ports to Hugging Face: linear is the gate, linear_v the up, linear_1 the down projection; GELU by
/// its tanh. "grok-1" is hpcai-tech's and amd's (float8), "grok" keyfan's.
inline LayerRecipe grok1_recipe(const ModelConfig& config, Index, const std::string& block,
                                presets::Variant variant) {
  LayerRecipe r;
  const Index e = config.experts(config.has("num_experts") ? "num_experts" : "num_local_experts");
  r.dims = {config.dim("hidden_size"), config.dim("intermediate_size"), e,
            detail::top_k(config, "num_experts_per_tok", e)};
  r.activation = Activation::gelu_tanh;
  r.router = detail::whole(block + ".gate.weight", e, r.dims.model_dim);
  r.gate = presets::grok1(variant);
  r.expert = detail::separate_experts(block, {"linear", "linear_v", "linear_1"}, r.dims);
  return r;
}

inline CheckpointFamily grok1() {
  return {"Grok-1",
          {"grok-1", "grok1", "grok"},
          detail::num_hidden_layers,
          [](const ModelConfig& config, Index layer) {
            return config.model_type() == "grok"
                       ? "transformer.decoder_layer." + std::to_string(layer) + ".block_sparse_moe"
                       : detail::llama_block<detail::kMoeBlock>(config, layer);
          },
          grok1_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
