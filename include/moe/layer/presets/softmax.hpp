// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Gates of the language models that score experts by a softmax: logits [T, E] -> TopKGate::Options.
#pragma once

#include "moe/layer/presets/variant.hpp"

MOE_NAMESPACE_BEGIN
namespace presets {

/// Mixtral (Jiang et al. 2024), K = 2. mistral-inference takes the softmax of the chosen logits; HF
/// divides the softmax by its chosen sum.
inline TopKGate::Options mixtral(Variant variant = Variant::official) {
  if (variant == Variant::official) return {.score = ScoreFunction::softmax_of_chosen};
  return detail::softmax_preset(true, variant);
}

/// Qwen1.5-MoE and Qwen2-MoE, K = 4 and 8: weights are not normalised.
inline TopKGate::Options qwen2_moe(Variant variant = Variant::official,
                                   bool norm_topk_prob = false) {
  return detail::softmax_preset(norm_topk_prob, variant);
}

/// Qwen3-MoE, K = 8: as Qwen2-MoE, normalised, no shared expert. A config.json that does not say
/// norm_topk_prob means false.
inline TopKGate::Options qwen3_moe(Variant variant = Variant::official,
                                   bool norm_topk_prob = true) {
  return detail::softmax_preset(norm_topk_prob, variant);
}

/// OLMoE (Muennighoff et al. 2024), K = 8.
inline TopKGate::Options olmoe(Variant variant = Variant::official, bool norm_topk_prob = false) {
  return detail::softmax_preset(norm_topk_prob, variant);
}

/// DBRX, K = 4 (databricks/dbrx, MegaBlocks): weights divided by their p-norm, p =
/// moe_normalize_expert_weights, 0 for none. llama.cpp always divides by the sum.
inline TopKGate::Options dbrx(Variant variant = Variant::official,
                              double moe_normalize_expert_weights = 1) {
  if (variant == Variant::llama_cpp) return detail::softmax_preset(true, variant);
  if (moe_normalize_expert_weights == 0) return {.renormalize = false};
  return {.norm_p = moe_normalize_expert_weights};
}

/// Jamba (Lieber et al. 2024), K = 2: not normalised, in all codes.
inline TopKGate::Options jamba(Variant = Variant::official) { return {.renormalize = false}; }

/// Granite 3 MoE and JetMoE, K = 8 and 2: softmax of the chosen logits.
inline TopKGate::Options granite_moe(Variant variant = Variant::official) {
  if (variant == Variant::llama_cpp) return detail::softmax_preset(true, variant);
  return {.score = ScoreFunction::softmax_of_chosen};
}

/// gpt-oss, K = 4: softmax of the chosen logits, in all codes; the router has a bias, see
/// gpt_oss_router.
inline TopKGate::Options gpt_oss(Variant = Variant::official) {
  return {.score = ScoreFunction::softmax_of_chosen};
}

/// Grok-1 (xai-org/grok-1), K = 2: not normalised; llama.cpp normalises.
inline TopKGate::Options grok1(Variant variant = Variant::official) {
  return detail::softmax_preset(variant == Variant::llama_cpp, variant);
}

/// Phi-3.5-MoE as llama.cpp and mlx-lm run it, K = 2: softmax and top-k instead of the model's
/// SparseMixer, with other numbers. The model's own gate is phi_moe.
inline TopKGate::Options phi_moe_llama_cpp() {
  return detail::softmax_preset(true, Variant::llama_cpp);
}

/// Ernie 4.5 MoE, K = 6 (HF's Ernie4_5_MoeConfig, the 21B-A3B's): softmax plus bias chooses,
/// weights / max(sum, moe_norm_min).
inline TopKGate::Options ernie45_moe(Index num_experts, Variant variant = Variant::official,
                                     double moe_norm_min = 1e-12) {
  TopKGate::Options gate{.selection_bias = detail::no_bias_yet(num_experts)};
  gate.norm_min = variant == Variant::llama_cpp ? detail::kLlamaCppNormMin : moe_norm_min;
  return gate;
}

/// LongCat-Flash, K = 12 (HF's LongcatFlashConfig): softmax plus bias over the routed and the zero
/// experts (num_experts counts both, 512 + 256), weights scaled, not normalised. Its zero experts
/// return x.
inline TopKGate::Options longcat(Index num_experts, Variant = Variant::official,
                                 double routed_scaling_factor = 6) {
  return {.renormalize = false,
          .selection_bias = detail::no_bias_yet(num_experts),
          .scale = routed_scaling_factor};
}

/// What DeepSeek-V2's config.json says, under its names; the defaults are the 236B model's.
/// V2-Lite:
/// {.n_group = 1, .topk_group = 1, .routed_scaling_factor = 1}.
struct DeepSeekV2Config {
  Index n_group = 8;
  Index topk_group = 3;
  bool norm_topk_prob = false;
  double routed_scaling_factor = 16;
  Index n_shared_experts = 2;
};

/// DeepSeek-V2 (arXiv 2405.04434; modeling_deepseek.py of the checkpoint), K = 6.
///   official   group score: its best expert; weights either / (sum + 1e-20) or scaled, not both
///   hf         the same groups; always scaled, norm_topk_prob ignored
///   llama_cpp  group score: its two best; normalised if norm_topk_prob, always scaled
///   megatron   group score: its K / topk_group best; never normalised, always scaled
inline TopKGate::Options deepseek_v2(Variant variant = Variant::official,
                                     const DeepSeekV2Config& config = {}) {
  TopKGate::Options gate{.renormalize = config.norm_topk_prob,
                         .num_groups = config.n_group,
                         .top_groups = config.topk_group,
                         .group_score = GroupScore::max,
                         .group_mask = GroupMask::zero,
                         .norm_epsilon = detail::kTinyEpsilon,
                         .scale = config.routed_scaling_factor,
                         .scale_only_unnormalized = variant == Variant::official};
  if (variant == Variant::hf || variant == Variant::megatron) gate.renormalize = false;
  if (variant == Variant::llama_cpp || variant == Variant::megatron) {
    detail::set_norm(gate, variant, 0);
    gate.group_score =
        variant == Variant::megatron ? GroupScore::top_share_sum : GroupScore::top2_sum;
    gate.group_mask = GroupMask::minus_infinity;
  }
  return gate;
}

}  // namespace presets
MOE_NAMESPACE_END
