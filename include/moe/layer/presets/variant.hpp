// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Whose code a preset follows, where the codes of one model differ.
#pragma once

#include "moe/gate/top_k.hpp"

MOE_NAMESPACE_BEGIN
namespace presets {

/// Every preset takes one. A code that does not have the family, or computes the same, gives
/// `official`: the model's own release.
///
/// The variants differ on purpose where the codes do, mostly for tokens whose chosen scores are
/// tiny. With K = 1 every variant keeps TopKGate's rule, the weight stays the raw score; no
/// released model with a normalised gate has K = 1.
enum class Variant : std::uint8_t {
  official,   ///< the authors' code or checkpoint
  hf,         ///< Hugging Face transformers
  llama_cpp,  ///< llama.cpp's build_moe_ffn
  megatron,   ///< Megatron-LM's topk_routing_with_score_function
};

}  // namespace presets

namespace detail {

/// llama.cpp divides by max(sum, this): the smallest normal half.
inline constexpr double kLlamaCppNormMin = 6.103515625e-5;
/// HF and Megatron divide by sum + this.
inline constexpr double kTinyEpsilon = 1e-20;

/// The divisor of independent scores. `epsilon` is the official code's.
inline void set_norm(TopKGate::Options& gate, presets::Variant variant, double epsilon) {
  const bool llama_cpp = variant == presets::Variant::llama_cpp;
  const bool official = variant == presets::Variant::official;
  gate.norm_epsilon = llama_cpp ? 0 : official ? epsilon : kTinyEpsilon;
  gate.norm_min = llama_cpp ? kLlamaCppNormMin : 0;
}

/// Softmax, then the K largest; their sum is divided out or not. Megatron's softmax of the chosen
/// alone is the same function, rounded differently.
inline TopKGate::Options softmax_preset(bool normalized, presets::Variant variant) {
  if (!normalized) return {.renormalize = false};
  if (variant == presets::Variant::llama_cpp) return {.norm_min = kLlamaCppNormMin};
  if (variant == presets::Variant::megatron) return {.score = ScoreFunction::softmax_of_chosen};
  return {};
}

/// Zeros [E]: a selection bias to be loaded, or moved by BiasUpdate.
inline std::vector<float> no_bias_yet(Index num_experts) {
  check_positive("moe::presets", "num_experts", num_experts);
  return std::vector<float>(static_cast<std::size_t>(num_experts), 0.0f);
}

}  // namespace detail
MOE_NAMESPACE_END
