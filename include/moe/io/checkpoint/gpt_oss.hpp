// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checkpoints of gpt-oss: Hugging Face's folders and the original ones, in MXFP4 or bfloat16.
#pragma once

#include "moe/io/checkpoint/recipe.hpp"
#include "moe/layer/presets/softmax.hpp"

MOE_NAMESPACE_BEGIN
namespace families {

namespace gpt_oss_names {

/// Only the original folders name no model_type.
inline bool original(const ModelConfig& config) { return config.model_type().empty(); }

}  // namespace gpt_oss_names

/// Gate and up rows alternate; MXFP4 tensors are [out, in] in blocks of 32, bfloat16 ones are
/// [in, out]. Biases everywhere, clamped SwiGLU.
inline LayerRecipe gpt_oss_recipe(const ModelConfig& config, Index, const std::string& block,
                                  presets::Variant variant) {
  const bool original = gpt_oss_names::original(config);
  LayerRecipe r;
  const Index e = config.experts(original ? "num_experts" : "num_local_experts");
  const Index d = config.dim("hidden_size"), h = config.dim("intermediate_size");
  const char* k =
      original || !config.has("num_experts_per_tok") ? "experts_per_token" : "num_experts_per_tok";
  r.dims = {d, h, e, detail::top_k(config, k, e)};
  r.activation = Activation::clamped_swiglu;
  r.clamped.limit = config.number_or("swiglu_limit", 7);
  if (!(r.clamped.limit > 0)) config.fail("swiglu_limit", "is not above 0");
  const std::string router = block + (original ? ".gate" : ".router");
  r.router = detail::whole(router + ".weight", e, d);
  r.router_bias = detail::whole(router + ".bias", e);
  r.gate = presets::gpt_oss(variant);
  const std::string both = block + (original ? ".mlp1" : ".experts.gate_up_proj");
  const std::string down = block + (original ? ".mlp2" : ".experts.down_proj");
  const std::string weight = original ? "_weight" : "";
  const bool transposed = !original && config.quantization() != "mxfp4";
  r.expert = [=, dims = r.dims](Index i) {
    FfnPlaces p = detail::fused_ffn(both + weight, down + weight, dims, i,
                                    detail::FusedOrder::interleaved, transposed);
    p.b_gate = {both + "_bias", {e, 2 * h}, 1, h, i * 2 * h, 2 * h, 2};
    p.b_in = p.b_gate;
    p.b_in.first += 1;
    p.b_out = {down + "_bias", {e, d}, 1, d, i * d, d, 1};
    return p;
  };
  return r;
}

inline CheckpointFamily gpt_oss() {
  return {"gpt-oss",
          {"gpt_oss"},
          detail::num_hidden_layers,
          [](const ModelConfig& config, Index layer) {
            const bool original = gpt_oss_names::original(config);
            return (original ? "block." : "model.layers.") + std::to_string(layer) + ".mlp";
          },
          gpt_oss_recipe};
}

}  // namespace families
MOE_NAMESPACE_END
