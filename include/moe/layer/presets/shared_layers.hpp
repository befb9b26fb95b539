// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The MoE layers of published language models with a shared expert: a type for each, and its Config.
//   DeepSeekV3Moe<float> layer(presets::deepseek_v3_layer(), seed);
//   layer.layer().gate().set_selection_bias(bias);      // the routed part, a MoeLayer
#pragma once

#include "moe/layer/presets/layers.hpp"
#include "moe/layer/shared.hpp"

MOE_NAMESPACE_BEGIN

/// A TopKMoe and one shared expert of its kind. A model's n shared experts are one of n times the
/// width.
template <class S = float, class Act = Silu>
using SharedTopKMoe = SharedLayer<TopKMoe<S, Act>, GatedFfn<S, Act>>;

template <class S = float>
using Qwen2Moe = SharedTopKMoe<S>;
template <class S = float>
using Ernie45Moe = SharedTopKMoe<S>;
template <class S = float>
using DeepSeekV2Moe = SharedTopKMoe<S>;
template <class S = float>
using DeepSeekV3Moe = SharedTopKMoe<S>;
template <class S = float>
using DeepSeekV4Moe = SharedTopKMoe<S, ClampedSilu>;
template <class S = float>
using Glm4Moe = SharedTopKMoe<S>;
template <class S = float>
using Dots1Moe = SharedTopKMoe<S>;
template <class S = float>
using KimiK2Moe = SharedTopKMoe<S>;
template <class S = float>
using Llama4Moe = SharedTopKMoe<S>;

namespace detail {

/// The shared expert's width is `width` times that of the others.
template <class Layer, class Gate>
typename Layer::Config shared_preset(const Dims& dims, Gate gate, Index width) {
  using Routed = std::remove_cvref_t<decltype(std::declval<Layer&>().layer())>;
  typename Layer::Config config;
  config.layer = layer_preset<Routed>(dims, std::move(gate));
  config.hidden_dim = width * dims.hidden_dim;
  return config;
}

}  // namespace detail

namespace presets {

// Each takes Dims (D, H, E, K), by default those of the model named, then what its gate takes.

/// Qwen2-57B-A14B: the shared expert has a sigmoid gate. shared_expert_intermediate_size 0: 8 H.
/// Qwen1.5-MoE-A2.7B: {2048, 1408, 60, 4} and 5632.
template <class S = float>
typename Qwen2Moe<S>::Config qwen2_moe_layer(const Dims& dims = {3584, 2560, 64, 8},
                                             Variant variant = Variant::official,
                                             bool norm_topk_prob = false,
                                             Index shared_expert_intermediate_size = 0) {
  auto config = detail::shared_preset<Qwen2Moe<S>>(dims, qwen2_moe(variant, norm_topk_prob), 8);
  if (shared_expert_intermediate_size != 0) config.hidden_dim = shared_expert_intermediate_size;
  config.gate = true;
  return config;
}

/// Ernie 4.5 21B-A3B.
template <class S = float>
typename Ernie45Moe<S>::Config ernie45_moe_layer(const Dims& dims = {2560, 1536, 64, 6},
                                                 Variant variant = Variant::official,
                                                 double moe_norm_min = 1e-12,
                                                 Index moe_num_shared_experts = 2) {
  return detail::shared_preset<Ernie45Moe<S>>(
      dims, ernie45_moe(dims.num_experts, variant, moe_norm_min), moe_num_shared_experts);
}

/// DeepSeek-V2 236B.
template <class S = float>
typename DeepSeekV2Moe<S>::Config deepseek_v2_layer(const Dims& dims = {5120, 1536, 160, 6},
                                                    Variant variant = Variant::official,
                                                    const DeepSeekV2Config& config = {}) {
  return detail::shared_preset<DeepSeekV2Moe<S>>(dims, deepseek_v2(variant, config),
                                                 config.n_shared_experts);
}

/// DeepSeek-V3, R1.
template <class S = float>
typename DeepSeekV3Moe<S>::Config deepseek_v3_layer(const Dims& dims = {7168, 2048, 256, 8},
                                                    Variant variant = Variant::official,
                                                    const DeepSeekV3Config& config = {}) {
  return detail::shared_preset<DeepSeekV3Moe<S>>(
      dims, deepseek_v3(dims.num_experts, variant, config), config.n_shared_experts);
}

/// DeepSeek-V4: gates of all experts, the shared one too, at most swiglu_limit, ups within it. The
/// first layers, which choose by token id, differ in their router: see deepseek_v4.
template <class S = float>
typename DeepSeekV4Moe<S>::Config deepseek_v4_layer(const Dims& dims,
                                                    Variant variant = Variant::official,
                                                    double routed_scaling_factor = 2.5,
                                                    double swiglu_limit = 10,
                                                    Index n_shared_experts = 1) {
  auto config = detail::shared_preset<DeepSeekV4Moe<S>>(
      dims, deepseek_v4(dims.num_experts, variant, routed_scaling_factor), n_shared_experts);
  config.expert.clamped = {.alpha = 1, .limit = swiglu_limit, .offset = 0};
  config.layer.expert.clamped = config.expert.clamped;
  return config;
}

/// GLM-4.5.
template <class S = float>
typename Glm4Moe<S>::Config glm4_moe_layer(const Dims& dims = {5120, 1536, 160, 8},
                                           Variant variant = Variant::official,
                                           const DeepSeekV3Config& config = {.n_group = 1,
                                                                             .topk_group = 1}) {
  return detail::shared_preset<Glm4Moe<S>>(dims, glm4_moe(dims.num_experts, variant, config),
                                           config.n_shared_experts);
}

/// dots.llm1.
template <class S = float>
typename Dots1Moe<S>::Config dots1_layer(
    const Dims& dims = {4096, 1408, 128, 6}, Variant variant = Variant::official,
    const DeepSeekV3Config& config = {.n_group = 1, .topk_group = 1, .n_shared_experts = 2}) {
  return detail::shared_preset<Dots1Moe<S>>(dims, dots1(dims.num_experts, variant, config),
                                            config.n_shared_experts);
}

/// Kimi K2.
template <class S = float>
typename KimiK2Moe<S>::Config kimi_k2_layer(
    const Dims& dims = {7168, 2048, 384, 8}, Variant variant = Variant::official,
    const DeepSeekV3Config& config = {
        .n_group = 1, .topk_group = 1, .routed_scaling_factor = 2.827}) {
  return detail::shared_preset<KimiK2Moe<S>>(dims, kimi_k2(dims.num_experts, variant, config),
                                             config.n_shared_experts);
}

/// Llama 4 Scout; Maverick has 128 experts. The router's weight goes on the routed expert's input,
/// the shared expert sees the token as it is.
template <class S = float>
typename Llama4Moe<S>::Config llama4_layer(const Dims& dims = {5120, 8192, 16, 1},
                                           Variant variant = Variant::official) {
  return detail::shared_preset<Llama4Moe<S>>(dims, llama4(variant), 1);
}

}  // namespace presets
MOE_NAMESPACE_END
