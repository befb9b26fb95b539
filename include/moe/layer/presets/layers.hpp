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

// Linear router, TopKGate, SwiGLU experts: the types are one, their Configs differ. Models with a
// shared expert stand in shared_layers.hpp, those with experts of several kinds in kinds_layers.hpp.
template <class S = float, class Act = Silu>
using TopKMoe = MoeLayer<S, LinearRouter<S>, TopKGate, GatedFfn<S, Act>>;

template <class S = float>
using MixtralMoe = TopKMoe<S>;
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
using GptOssMoe = TopKMoe<S, ClampedSilu>;
template <class S = float>
using PhiMoe = MoeLayer<S, LinearRouter<S>, SparseMixerGate, GatedFfn<S>>;
template <class S = float>
using MiniMaxM2Moe = TopKMoe<S>;

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

/// Mixtral 8x7B (config.json of mistralai/Mixtral-8x7B-v0.1).
template <class S = float>
typename MixtralMoe<S>::Config mixtral_layer(const Dims& dims = {4096, 14336, 8, 2},
                                             Variant variant = Variant::official) {
  return detail::layer_preset<MixtralMoe<S>>(dims, mixtral(variant));
}

/// Qwen3-30B-A3B (config.json of Qwen/Qwen3-30B-A3B).
template <class S = float>
typename Qwen3Moe<S>::Config qwen3_moe_layer(const Dims& dims = {2048, 768, 128, 8},
                                             Variant variant = Variant::official,
                                             bool norm_topk_prob = true) {
  return detail::layer_preset<Qwen3Moe<S>>(dims, qwen3_moe(variant, norm_topk_prob));
}

/// OLMoE-1B-7B (config.json of allenai/OLMoE-1B-7B-0924).
template <class S = float>
typename OlmoeMoe<S>::Config olmoe_layer(const Dims& dims = {2048, 1024, 64, 8},
                                         Variant variant = Variant::official,
                                         bool norm_topk_prob = false) {
  return detail::layer_preset<OlmoeMoe<S>>(dims, olmoe(variant, norm_topk_prob));
}

/// DBRX (config.json of databricks/dbrx-base, ffn_config).
template <class S = float>
typename DbrxMoe<S>::Config dbrx_layer(const Dims& dims = {6144, 10752, 16, 4},
                                       Variant variant = Variant::official,
                                       double moe_normalize_expert_weights = 1) {
  return detail::layer_preset<DbrxMoe<S>>(dims, dbrx(variant, moe_normalize_expert_weights));
}

/// Jamba v0.1 (config.json of ai21labs/Jamba-v0.1; HF's JambaConfig).
template <class S = float>
typename JambaMoe<S>::Config jamba_layer(const Dims& dims = {4096, 14336, 16, 2},
                                         Variant variant = Variant::official) {
  return detail::layer_preset<JambaMoe<S>>(dims, jamba(variant));
}

/// Granite 3.0 3B-A800M (config.json of ibm-granite/granite-3.0-3b-a800m-base).
template <class S = float>
typename GraniteMoe<S>::Config granite_moe_layer(const Dims& dims = {1536, 512, 40, 8},
                                                 Variant variant = Variant::official) {
  return detail::layer_preset<GraniteMoe<S>>(dims, granite_moe(variant));
}

/// gpt-oss-120b; 20b: 32 experts. Router and experts have biases, the SwiGLU is clamped at 7.
template <class S = float>
typename GptOssMoe<S>::Config gpt_oss_layer(const Dims& dims = {2880, 2880, 128, 4},
                                            Variant variant = Variant::official,
                                            double swiglu_limit = 7) {
  auto config = detail::layer_preset<GptOssMoe<S>>(dims, gpt_oss(variant));
  config.router = gpt_oss_router<S>();
  config.expert.bias = true;
  config.expert.clamped = {.alpha = 1.702, .limit = swiglu_limit, .offset = 1};
  return config;
}

/// Grok-1 (run.py of xai-org/grok-1: widening_factor 8 times 2/3).
template <class S = float>
typename Grok1Moe<S>::Config grok1_layer(const Dims& dims = {6144, 32768, 8, 2},
                                         Variant variant = Variant::official) {
  return detail::layer_preset<Grok1Moe<S>>(dims, grok1(variant));
}

/// Phi-3.5-MoE (config.json of microsoft/Phi-3.5-MoE-instruct). llama.cpp's way of it is a TopKMoe
/// with phi_moe_llama_cpp().
template <class S = float>
typename PhiMoe<S>::Config phi_moe_layer(const Dims& dims = {4096, 6400, 16, 2},
                                         Variant variant = Variant::official,
                                         double router_jitter_noise = 0.01) {
  return detail::layer_preset<PhiMoe<S>>(dims, phi_moe(variant, router_jitter_noise));
}

/// MiniMax-M2 (HF's MiniMaxM2Config).
template <class S = float>
typename MiniMaxM2Moe<S>::Config minimax_m2_layer(const Dims& dims = {3072, 1536, 256, 8},
                                                  Variant variant = Variant::official) {
  return detail::layer_preset<MiniMaxM2Moe<S>>(dims, minimax_m2(dims.num_experts, variant));
}

}  // namespace presets
MOE_NAMESPACE_END
