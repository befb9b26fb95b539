// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Gates of the language models that score each expert for itself, by sigmoid or sqrt(softplus):
// logits [T, E] -> TopKGate::Options. Each selection bias is zeros [E], to be loaded or trained.
#pragma once

#include "moe/layer/presets/variant.hpp"

MOE_NAMESPACE_BEGIN
namespace presets {

/// What the config.json of DeepSeek-V3 and its kin says, under its names; the defaults are
/// DeepSeek-V3's.
struct DeepSeekV3Config {
  Index n_group = 8;
  Index topk_group = 4;
  bool norm_topk_prob = true;
  double routed_scaling_factor = 2.5;
  /// zero: HF before transformers#45441, which chose experts outside the groups when keys of those
  /// inside were negative.
  GroupMask group_mask = GroupMask::minus_infinity;
  Index n_shared_experts = 1;
};

/// DeepSeek-V3, R1 (arXiv 2412.19437; inference/model.py), K = 8: sigmoid plus bias chooses among
/// the groups with the largest sums of two.
///   official   weights / sum          hf         / (sum + 1e-20)
///   llama_cpp  / max(sum, 6.1e-5)     megatron   / (sum + 1e-20); groups by K / topk_group best
inline TopKGate::Options deepseek_v3(Index num_experts, Variant variant = Variant::official,
                                     const DeepSeekV3Config& config = {}) {
  TopKGate::Options gate{.renormalize = config.norm_topk_prob,
                         .score = ScoreFunction::sigmoid,
                         .selection_bias = detail::no_bias_yet(num_experts),
                         .num_groups = config.n_group,
                         .top_groups = config.topk_group,
                         .group_mask = config.group_mask,
                         .scale = config.routed_scaling_factor};
  if (variant == Variant::megatron) gate.group_score = GroupScore::top_share_sum;
  detail::set_norm(gate, variant, 0);
  return gate;
}

/// The models that took DeepSeek-V3's gate; their release is HF's code, sum + 1e-20.
inline TopKGate::Options deepseek_v3_kin(Index num_experts, Variant variant,
                                         const DeepSeekV3Config& config) {
  return deepseek_v3(num_experts, variant == Variant::official ? Variant::hf : variant, config);
}

/// GLM-4.5, 4.6, K = 8 (config.json of zai-org/GLM-4.5); 4.5-Air: routed_scaling_factor = 1.
inline TopKGate::Options glm4_moe(Index num_experts, Variant variant = Variant::official,
                                  const DeepSeekV3Config& config = {.n_group = 1,
                                                                    .topk_group = 1}) {
  return deepseek_v3_kin(num_experts, variant, config);
}

/// dots.llm1, K = 6 (config.json of rednote-hilab/dots.llm1.inst: norm_topk_prob, 2.5).
inline TopKGate::Options dots1(Index num_experts, Variant variant = Variant::official,
                               const DeepSeekV3Config& config = {.n_group = 1, .topk_group = 1}) {
  return deepseek_v3_kin(num_experts, variant, config);
}

/// Kimi K2, K = 8 (config.json of moonshotai/Kimi-K2-Instruct).
inline TopKGate::Options kimi_k2(Index num_experts, Variant variant = Variant::official,
                                 const DeepSeekV3Config& config = {
                                     .n_group = 1,
                                     .topk_group = 1,
                                     .routed_scaling_factor = 2.827}) {
  return deepseek_v3_kin(num_experts, variant, config);
}

/// DeepSeek-V4: sqrt(softplus) plus bias chooses, without groups; weights / (sum + 1e-20)
/// (HF) or / max(sum, 6.1e-5) (llama.cpp), scaled by 1.5 or 2.5. `official` follows HF. Its first
/// layers choose by token id: HashRouter<LinearRouter<S>> and this gate with an empty selection
/// bias.
inline TopKGate::Options deepseek_v4(Index num_experts, Variant variant = Variant::official,
                                     double routed_scaling_factor = 2.5) {
  TopKGate::Options gate{.score = ScoreFunction::sqrt_softplus,
                         .selection_bias = detail::no_bias_yet(num_experts),
                         .scale = routed_scaling_factor};
  detail::set_norm(gate, variant, detail::kTinyEpsilon);
  return gate;
}

/// MiniMax-M2, K = 8 (HF's modular_minimax_m2.py): sigmoid plus bias chooses, weights / sum
/// (official, HF).
inline TopKGate::Options minimax_m2(Index num_experts, Variant variant = Variant::official) {
  TopKGate::Options gate{.score = ScoreFunction::sigmoid,
                         .selection_bias = detail::no_bias_yet(num_experts)};
  detail::set_norm(gate, variant == Variant::hf ? Variant::official : variant, 0);
  return gate;
}

/// Llama 4, K = 1 (meta-llama/llama-models moe.py): the largest logit chooses, its sigmoid
/// multiplies the expert's input, in all codes.
inline TopKGate::Options llama4(Variant = Variant::official) {
  return {.renormalize = false, .score = ScoreFunction::sigmoid, .weight_on_input = true};
}

/// torchtitan's router, not a released model: sigmoid plus bias chooses, with route_norm weights /
/// (sum + 1e-20).
inline TopKGate::Options torchtitan(Index num_experts, bool route_norm = true,
                                    double route_scale = 1) {
  return {.renormalize = route_norm,
          .score = ScoreFunction::sigmoid,
          .selection_bias = detail::no_bias_yet(num_experts),
          .norm_epsilon = detail::kTinyEpsilon,
          .scale = route_scale};
}

/// OLMo-core's router with sigmoid, not a released model (nn/moe/router.py): s = sigmoid + 1e-7, s
/// plus bias chooses, weights divided by their p-norm, p = normalize_expert_weights, 0 for none.
inline TopKGate::Options olmo_core(Index num_experts, double normalize_expert_weights = 0) {
  TopKGate::Options gate{.renormalize = normalize_expert_weights != 0,
                         .score = ScoreFunction::sigmoid,
                         .score_epsilon = 1e-7,
                         .selection_bias = detail::no_bias_yet(num_experts)};
  if (gate.renormalize) gate.norm_p = normalize_expert_weights;
  return gate;
}

}  // namespace presets
MOE_NAMESPACE_END
