// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The latent MoE layers of published language models: a type for each, and its Config.
#pragma once

#include "moe/layer/latent.hpp"
#include "moe/layer/presets/sigmoid.hpp"
#include "moe/layer/shared.hpp"

MOE_NAMESPACE_BEGIN

/// Nemotron 3 (Super, Ultra): squared-ReLU experts in a latent space, and a shared one at full width.
template <class S = float>
using NemotronMoe = SharedLayer<LatentLayer<S, LinearRouter<S>, TopKGate, Ffn<S, ReluSquared>>,
                                Ffn<S, ReluSquared>>;

namespace presets {

/// Nemotron 3's gate is DeepSeek-V3's without groups, as HF has it. Ultra: D 8192, E 512, K 22 and
/// latent_dim 2048. `shared_hidden_dim`: moe_shared_expert_intermediate_size.
template <class S = float>
typename NemotronMoe<S>::Config nemotron_layer(
    const Dims& dims, Index latent_dim, Index shared_hidden_dim,
    Variant variant = Variant::official,
    const DeepSeekV3Config& config = {.n_group = 1, .topk_group = 1, .routed_scaling_factor = 5}) {
  typename NemotronMoe<S>::Config made;
  made.layer.model_dim = dims.model_dim;
  made.layer.latent_dim = latent_dim;
  made.layer.hidden_dim = dims.hidden_dim;
  made.layer.num_experts = dims.num_experts;
  made.layer.top_k = dims.top_k;
  made.layer.gate = deepseek_v3_kin(dims.num_experts, variant, config);
  made.hidden_dim = shared_hidden_dim;
  return made;
}

}  // namespace presets
MOE_NAMESPACE_END
