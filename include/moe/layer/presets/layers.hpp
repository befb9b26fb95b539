// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The MoE layers of published language models: a type for each, and its Config. One line makes one:
//   MixtralMoe<float> layer(presets::mixtral_layer(), seed);                        // as released
//   MixtralMoe<float> layer(presets::mixtral_layer({64, 128, 8, 2}, Variant::hf), seed);
#pragma once

#include "moe/gate/sparse_mixer.hpp"
#include "moe/layer/moe_layer.hpp"
#include "moe/layer/presets/classic.hpp"
#include "moe/layer/presets/sigmoid.hpp"
#include "moe/layer/presets/softmax.hpp"

MOE_NAMESPACE_BEGIN

// Linear router, TopKGate, SwiGLU experts: the types are one, their Configs differ. Only the routed
// experts are here; where a model has shared experts, the caller adds their output.
template <class S = float, class Act = Silu>
using TopKMoe = MoeLayer<S, LinearRouter<S>, TopKGate, GatedFfn<S, Act>>;

template <class S = float>
using MixtralMoe = TopKMoe<S>;
template <class S = float>
using Qwen2Moe = TopKMoe<S>;
template <class S = float>
using Qwen3Moe = TopKMoe<S>;
template <class S = float>
using OlmoeMoe = TopKMoe<S>;
template <class S = float>
using DbrxMoe = TopKMoe<S>;
template <class S = float>
using JambaMoe = TopKMoe<S>;
template <class S = float>
using GraniteMoe = TopKMoe<S>;
template <class S = float>
using Grok1Moe = TopKMoe<S, GeluTanh>;
template <class S = float>
using PhiMoe = MoeLayer<S, LinearRouter<S>, SparseMixerGate, GatedFfn<S>>;
template <class S = float>
using Ernie45Moe = TopKMoe<S>;
template <class S = float>
using DeepSeekV2Moe = TopKMoe<S>;
template <class S = float>
using DeepSeekV3Moe = TopKMoe<S>;
template <class S = float>
using Glm4Moe = TopKMoe<S>;
template <class S = float>
using Dots1Moe = TopKMoe<S>;
template <class S = float>
using KimiK2Moe = TopKMoe<S>;
template <class S = float>
using MiniMaxM2Moe = TopKMoe<S>;
template <class S = float>
using Llama4Moe = TopKMoe<S>;

namespace detail {

template <class Layer, class Gate>
typename Layer::Config layer_preset(const Dims& dims, Gate gate, const CapacityOptions& room = {}) {
  typename Layer::Config config;
  config.model_dim = dims.model_dim;
  config.hidden_dim = dims.hidden_dim;
  config.num_experts = dims.num_experts;
  config.top_k = dims.top_k;
  config.gate = std::move(gate);
  config.capacity = room;
  return config;
}

}  // namespace detail

namespace presets {

/// gpt-oss's router: logits = W x + b.
template <class S = float>
typename LinearRouter<S>::Options gpt_oss_router() {
  return {.bias = true};
}

// Each takes Dims (D, H, E, K), by default those of the model named, then what its gate takes.

/// Mixtral 8x7B.
template <class S = float>
typename MixtralMoe<S>::Config mixtral_layer(const Dims& dims = {4096, 14336, 8, 2},
                                             Variant variant = Variant::official) {
  return detail::layer_preset<MixtralMoe<S>>(dims, mixtral(variant));
}

/// Qwen2-57B-A14B.
template <class S = float>
typename Qwen2Moe<S>::Config qwen2_moe_layer(const Dims& dims = {3584, 2560, 64, 8},
                                             Variant variant = Variant::official,
                                             bool norm_topk_prob = false) {
  return detail::layer_preset<Qwen2Moe<S>>(dims, qwen2_moe(variant, norm_topk_prob));
}

/// Qwen3-30B-A3B.
template <class S = float>
typename Qwen3Moe<S>::Config qwen3_moe_layer(const Dims& dims = {2048, 768, 128, 8},
                                             Variant variant = Variant::official,
                                             bool norm_topk_prob = true) {
  return detail::layer_preset<Qwen3Moe<S>>(dims, qwen3_moe(variant, norm_topk_prob));
}

/// OLMoE-1B-7B.
template <class S = float>
typename OlmoeMoe<S>::Config olmoe_layer(const Dims& dims = {2048, 1024, 64, 8},
                                         Variant variant = Variant::official,
                                         bool norm_topk_prob = false) {
  return detail::layer_preset<OlmoeMoe<S>>(dims, olmoe(variant, norm_topk_prob));
}

/// DBRX.
template <class S = float>
typename DbrxMoe<S>::Config dbrx_layer(const Dims& dims = {6144, 10752, 16, 4},
                                       Variant variant = Variant::official,
                                       double moe_normalize_expert_weights = 1) {
  return detail::layer_preset<DbrxMoe<S>>(dims, dbrx(variant, moe_normalize_expert_weights));
}

/// Jamba v0.1.
template <class S = float>
typename JambaMoe<S>::Config jamba_layer(const Dims& dims = {4096, 14336, 16, 2},
                                         Variant variant = Variant::official) {
  return detail::layer_preset<JambaMoe<S>>(dims, jamba(variant));
}

/// Granite 3.0 3B-A800M.
template <class S = float>
typename GraniteMoe<S>::Config granite_moe_layer(const Dims& dims = {1536, 512, 40, 8},
                                                 Variant variant = Variant::official) {
  return detail::layer_preset<GraniteMoe<S>>(dims, granite_moe(variant));
}

/// Grok-1.
template <class S = float>
typename Grok1Moe<S>::Config grok1_layer(const Dims& dims = {6144, 32768, 8, 2},
                                         Variant variant = Variant::official) {
  return detail::layer_preset<Grok1Moe<S>>(dims, grok1(variant));
}

/// Phi-3.5-MoE. llama.cpp's way of it is a TopKMoe with phi_moe_llama_cpp().
template <class S = float>
typename PhiMoe<S>::Config phi_moe_layer(const Dims& dims = {4096, 6400, 16, 2},
                                         Variant variant = Variant::official,
                                         double router_jitter_noise = 0.01) {
  return detail::layer_preset<PhiMoe<S>>(dims, phi_moe(variant, router_jitter_noise));
}

/// Ernie 4.5 21B-A3B.
template <class S = float>
typename Ernie45Moe<S>::Config ernie45_moe_layer(const Dims& dims = {2560, 1536, 64, 6},
                                                 Variant variant = Variant::official,
                                                 double moe_norm_min = 1e-12) {
  return detail::layer_preset<Ernie45Moe<S>>(dims,
                                             ernie45_moe(dims.num_experts, variant, moe_norm_min));
}

/// DeepSeek-V2 236B.
template <class S = float>
typename DeepSeekV2Moe<S>::Config deepseek_v2_layer(const Dims& dims = {5120, 1536, 160, 6},
                                                    Variant variant = Variant::official,
                                                    const DeepSeekV2Config& config = {}) {
  return detail::layer_preset<DeepSeekV2Moe<S>>(dims, deepseek_v2(variant, config));
}

/// DeepSeek-V3, R1.
template <class S = float>
typename DeepSeekV3Moe<S>::Config deepseek_v3_layer(const Dims& dims = {7168, 2048, 256, 8},
                                                    Variant variant = Variant::official,
                                                    const DeepSeekV3Config& config = {}) {
  return detail::layer_preset<DeepSeekV3Moe<S>>(dims,
                                                deepseek_v3(dims.num_experts, variant, config));
}

/// GLM-4.5.
template <class S = float>
typename Glm4Moe<S>::Config glm4_moe_layer(const Dims& dims = {5120, 1536, 160, 8},
                                           Variant variant = Variant::official,
                                           const DeepSeekV3Config& config = {.n_group = 1,
                                                                             .topk_group = 1}) {
  return detail::layer_preset<Glm4Moe<S>>(dims, glm4_moe(dims.num_experts, variant, config));
}

/// dots.llm1.
template <class S = float>
typename Dots1Moe<S>::Config dots1_layer(const Dims& dims = {4096, 1408, 128, 6},
                                         Variant variant = Variant::official,
                                         const DeepSeekV3Config& config = {.n_group = 1,
                                                                           .topk_group = 1}) {
  return detail::layer_preset<Dots1Moe<S>>(dims, dots1(dims.num_experts, variant, config));
}

/// Kimi K2.
template <class S = float>
typename KimiK2Moe<S>::Config kimi_k2_layer(
    const Dims& dims = {7168, 2048, 384, 8}, Variant variant = Variant::official,
    const DeepSeekV3Config& config = {
        .n_group = 1, .topk_group = 1, .routed_scaling_factor = 2.827}) {
  return detail::layer_preset<KimiK2Moe<S>>(dims, kimi_k2(dims.num_experts, variant, config));
}

/// MiniMax-M2.
template <class S = float>
typename MiniMaxM2Moe<S>::Config minimax_m2_layer(const Dims& dims = {3072, 1536, 256, 8},
                                                  Variant variant = Variant::official) {
  return detail::layer_preset<MiniMaxM2Moe<S>>(dims, minimax_m2(dims.num_experts, variant));
}

/// Llama 4 Scout; Maverick has 128 experts.
template <class S = float>
typename Llama4Moe<S>::Config llama4_layer(const Dims& dims = {5120, 8192, 16, 1},
                                           Variant variant = Variant::official) {
  return detail::layer_preset<Llama4Moe<S>>(dims, llama4(variant));
}

}  // namespace presets
MOE_NAMESPACE_END
