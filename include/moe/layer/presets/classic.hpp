// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Gates and capacities of the layers that train with limited room per expert, and SparseMixer.
#pragma once

#include "moe/gate/gshard.hpp"
#include "moe/gate/sparse_mixer.hpp"
#include "moe/layer/presets/variant.hpp"
#include "moe/plan/capacity.hpp"

MOE_NAMESPACE_BEGIN
namespace presets {

/// Sparsely-gated MoE (Shazeer et al. 2017): softmax of the K chosen noisy logits. Noise and zero
/// start are the router's, see sparsely_gated_layer.
inline TopKGate::Options sparsely_gated(Variant = Variant::official) {
  return {.score = ScoreFunction::softmax_of_chosen};
}

/// Switch (Fedus et al. 2021), K = 1: the softmax probability, not normalised.
inline TopKGate::Options switch_transformer(Variant = Variant::official) {
  return {.renormalize = false};
}

/// Places per expert: Mesh TensorFlow's factors 1.25 and, in evaluation, 2; HF: a fixed number,
/// expert_capacity, per sequence (group_size: the sequences' length; 0: all tokens are one).
inline CapacityOptions switch_capacity(Variant variant = Variant::official,
                                       Index expert_capacity = 64, Index group_size = 0) {
  if (variant == Variant::hf) {
    return {.factor = static_cast<double>(expert_capacity),
            .formula = CapacityFormula::fixed,
            .group_size = group_size};
  }
  return {.factor = 1.25,
          .evaluation_factor = 2,
          .formula = CapacityFormula::mesh,
          .group_size = group_size};
}

/// GShard (Lepikhin et al. 2020, algorithm 1), K = 2: weights divided by their sum, the second
/// expert used with probability min(1, 2 w2) in training, always in evaluation.
inline GShardGate::Options gshard(Variant = Variant::official) { return {.threshold = 0.5}; }

/// Twice an expert's share, up to a multiple of 4; first choices before second ones.
inline CapacityOptions gshard_capacity(Variant = Variant::official) {
  return {.factor = 2, .formula = CapacityFormula::lingvo, .order = DropOrder::choice};
}

/// GLaM (Du et al. 2021; praxis), K = 2: both experts always, weights divided by what capacity
/// left, see glam_capacity.
inline GShardGate::Options glam(Variant = Variant::official) {
  return {.policy = SecondExpert::all, .renormalize = GShardGate::Renormalize::none};
}

inline CapacityOptions glam_capacity(Variant = Variant::official) {
  CapacityOptions capacity = gshard_capacity();
  capacity.renormalize_kept = true;
  return capacity;
}

/// ST-MoE (Zoph et al. 2022; Mesh TensorFlow), K = 2: weights / (sum + 1e-9), the second expert
/// used with probability min(1, w2 / 0.2) in training. Evaluation uses it always, where mesh draws.
inline GShardGate::Options st_moe(Variant = Variant::official) { return {.threshold = 0.2}; }

/// Factors 1.25 and, in evaluation, 2.
inline CapacityOptions st_moe_capacity(Variant = Variant::official) {
  return {.factor = 1.25,
          .evaluation_factor = 2,
          .formula = CapacityFormula::mesh,
          .order = DropOrder::choice};
}

/// NLLB-200 (Costa-jussa et al. 2022; HF's defaults), K = 2: both experts always, weights divided
/// by what capacity left, see nllb_capacity.
inline GShardGate::Options nllb(Variant = Variant::official) { return glam(); }

/// fairseq's 2 ceil(T / E); in evaluation ceil(fraction T), 1 for the released model: no limit.
inline CapacityOptions nllb_capacity(Variant = Variant::official,
                                     double moe_eval_capacity_token_fraction = 1) {
  return {.factor = 2,
          .evaluation_factor = moe_eval_capacity_token_fraction,
          .formula = CapacityFormula::fairseq,
          .order = DropOrder::choice,
          .renormalize_kept = true};
}

/// Phi-3.5-MoE, K = 2: SparseMixer (jitter_eps of the checkpoint). HF multiplies the layer's input
/// by noise in training, twice and for the experts too; that is left to the caller. See also
/// phi_moe_llama_cpp.
inline SparseMixerGate::Options phi_moe(Variant = Variant::official,
                                        double router_jitter_noise = 0.01) {
  return {.jitter = router_jitter_noise};
}

}  // namespace presets
MOE_NAMESPACE_END
