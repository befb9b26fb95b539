// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of Granite MoE and JetMoE: the experts of a layer are one tensor.
#pragma once

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/softmax.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

/// input_linear [E, 2 H, D] holds the gate above the up projection.
inline LayerRecipe granite_recipe(const ModelConfig& config, Index, const std::string& block,
                                  presets::Variant variant) {
  LayerRecipe r;
  const Index e = config.experts("num_local_experts"), d = config.dim("hidden_size");
  r.dims = {d, config.dim("intermediate_size"), e, detail::top_k(config, "num_experts_per_tok", e)};
  r.activation = config.activation("hidden_act", "silu");
  r.router = detail::whole(block + ".router.layer.weight", e, d);
  r.gate = presets::granite_moe(variant);
  r.expert = [block, dims = r.dims](Index i) {
    return detail::fused_ffn(block + ".input_linear.weight", block + ".output_linear.weight", dims,
                             i, detail::FusedOrder::halves, /*transposed=*/false);
  };
  // "model.layers.3.shared_mlp"
  r.beside = block.substr(0, block.rfind('.')) + ".shared_mlp";
  if (config.model_type() == "granitemoe") return r;  // the others have a shared expert
  r.shared_dim = config.count_or("shared_intermediate_size", 0, 0, ModelConfig::kLargestDim);
  if (r.shared_dim > 0) {
    r.shared =
        detail::fused_ffn(r.beside + ".input_linear.weight", r.beside + ".output_linear.weight",
                          {d, r.shared_dim, 1, 1}, 0, detail::FusedOrder::halves, false);
  }
  return r;
}

/// The same, with a bias on the layer's output.
inline LayerRecipe jetmoe_recipe(const ModelConfig& config, Index, const std::string& block,
                                 presets::Variant variant) {
  LayerRecipe r;
  const Index e = config.experts("num_local_experts"), d = config.dim("hidden_size");
  r.dims = {d, config.dim("intermediate_size"), e, detail::top_k(config, "num_experts_per_tok", e)};
  r.activation = config.activation("activation_function", "silu");
  r.router = detail::whole(block + ".router.layer.weight", e, d);
  r.gate = presets::granite_moe(variant);
  r.expert = [block, dims = r.dims](Index i) {
    return detail::fused_ffn(block + ".input_linear.weight", block + ".output_linear.weight", dims,
                             i, detail::FusedOrder::halves, /*transposed=*/false);
  };
  r.output_bias = detail::whole(block + ".bias", d);
  return r;
}

inline CheckpointFamily granite_moe() {
  return {"Granite MoE",
          {"granitemoe", "granitemoeshared", "granitemoehybrid"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kSparseMoe>,
          granite_recipe};
}
inline CheckpointFamily jetmoe() {
  return {"JetMoE",
          {"jetmoe"},
          detail::num_hidden_layers,
          detail::llama_block<detail::kMlp>,
          jetmoe_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
