// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The MoE layers of the papers before the language models of today: a type for each, and its
// Config.
//   SwitchMoe<float> layer(presets::switch_layer({.model_dim = 512, .hidden_dim = 2048,
//                                                 .num_experts = 8, .top_k = 1}), seed);
#pragma once

#include "moe/gate/auction.hpp"
#include "moe/gate/expert_choice.hpp"
#include "moe/gate/relu.hpp"
#include "moe/gate/sinkhorn.hpp"
#include "moe/gate/top_p.hpp"
#include "moe/layer/presets/layers.hpp"
#include "moe/router/cosine.hpp"
#include "moe/router/hash.hpp"
#include "moe/router/input_jitter.hpp"
#include "moe/router/learned_noise.hpp"
#include "moe/router/logit_noise.hpp"

MOE_NAMESPACE_BEGIN

/// Shazeer et al. 2017: learned noise, K of E, ReLU experts.
template <class S = float>
using SparselyGatedMoe = MoeLayer<S, LearnedNoise<LinearRouter<S>>, TopKGate, Ffn<S, Relu>>;

/// Lepikhin et al. 2020 (GShard): K = 2, ReLU experts.
template <class S = float>
using GShardMoe = MoeLayer<S, LinearRouter<S>, GShardGate, Ffn<S, Relu>>;

/// Fedus et al. 2021 (Switch): K = 1, jitter on the router's input, ReLU experts.
template <class S = float>
using SwitchMoe = MoeLayer<S, InputJitter<LinearRouter<S>>, TopKGate, Ffn<S, Relu>>;

/// Du et al. 2021 (GLaM): K = 2, GEGLU experts.
template <class S = float>
using GlamMoe = MoeLayer<S, LinearRouter<S>, GShardGate, GatedFfn<S, GeluTanh>>;

/// Zoph et al. 2022 (ST-MoE): K = 2, input jitter, GEGLU experts. Their multiplicative bias and the
/// dense FFNs around the layer are not included.
template <class S = float>
using StMoe = MoeLayer<S, InputJitter<LinearRouter<S>>, GShardGate, GatedFfn<S, GeluTanh>>;

/// Costa-jussa et al. 2022 (NLLB-200): K = 2, ReLU experts with biases. Expert output masking, a
/// dropout of training, is not included.
template <class S = float>
using NllbMoe = MoeLayer<S, LinearRouter<S>, GShardGate, Ffn<S, Relu>>;

/// Roller et al. 2021 (hash layers): a token's id names its expert, weight 1. Needs
/// Batch::token_ids.
template <class S = float>
using HashMoe = MoeLayer<S, HashRouter<UniformRouter<S>>, TopKGate, Ffn<S, Relu>>;

/// Lewis et al. 2021 (BASE): balanced assignment in training, K = 1. The expert's own residual and
/// layer norm are not included.
template <class S = float>
using BaseMoe = MoeLayer<S, LinearRouter<S>, AuctionGate, Ffn<S, Relu>>;

/// Clark et al. 2022 (S-BASE): balanced by Sinkhorn in training.
template <class S = float>
using SBaseMoe = MoeLayer<S, LinearRouter<S>, SinkhornGate, Ffn<S, Relu>>;

/// Zhou et al. 2022 (expert choice): experts choose tokens. Not causal, see ExpertChoiceGate.
template <class S = float>
using ExpertChoiceMoe = MoeLayer<S, LinearRouter<S>, ExpertChoiceGate, Ffn<S, GeluTanh>>;

/// Wang et al. 2024 (ReMoE): ReLU routing, SwiGLU experts. Train it with ReluL1Loss.
template <class S = float>
using ReMoe = MoeLayer<S, LinearRouter<S>, ReluGate, GatedFfn<S>>;

/// Riquelme et al. 2021 (V-MoE, for images): Gaussian noise of 1 / E, GELU experts with biases.
template <class S = float>
using VMoe = MoeLayer<S, LogitNoise<LinearRouter<S>>, TopKGate, Ffn<S, GeluTanh>>;

/// Chi et al. 2022 (X-MoE, torchscale): K = 1, cosine router, GELU experts with biases. Call
/// router().rescale_experts() after each optimizer step.
template <class S = float>
using XMoe = MoeLayer<S, CosineRouter<S>, TopKGate, Ffn<S, Gelu>>;

/// Huang et al. 2024 (dynamic K by top-p), SwiGLU experts.
template <class S = float>
using TopPMoe = MoeLayer<S, LinearRouter<S>, TopPGate, GatedFfn<S>>;

namespace presets {

// Each takes Dims (D, H, E, K), then what its gate takes.

template <class S = float>
typename SparselyGatedMoe<S>::Config sparsely_gated_layer(const Dims& dims,
                                                          Variant variant = Variant::official) {
  auto config = detail::layer_preset<SparselyGatedMoe<S>>(dims, sparsely_gated(variant));
  config.router.base.zero_init = true;
  return config;
}

template <class S = float>
typename GShardMoe<S>::Config gshard_layer(const Dims& dims, Variant variant = Variant::official) {
  return detail::layer_preset<GShardMoe<S>>(dims, gshard(variant), gshard_capacity(variant));
}

/// Jitter of 1 %. Switch-Base-8: {768, 3072, 8, 1}.
template <class S = float>
typename SwitchMoe<S>::Config switch_layer(const Dims& dims, Variant variant = Variant::official) {
  return detail::layer_preset<SwitchMoe<S>>(dims, switch_transformer(variant),
                                            switch_capacity(variant));
}

template <class S = float>
typename GlamMoe<S>::Config glam_layer(const Dims& dims, Variant variant = Variant::official) {
  return detail::layer_preset<GlamMoe<S>>(dims, glam(variant), glam_capacity(variant));
}

template <class S = float>
typename StMoe<S>::Config st_moe_layer(const Dims& dims, Variant variant = Variant::official) {
  return detail::layer_preset<StMoe<S>>(dims, st_moe(variant), st_moe_capacity(variant));
}

/// NLLB-MoE-54B by default.
template <class S = float>
typename NllbMoe<S>::Config nllb_layer(const Dims& dims = {2048, 8192, 128, 2},
                                       Variant variant = Variant::official) {
  auto config = detail::layer_preset<NllbMoe<S>>(dims, nllb(variant), nllb_capacity(variant));
  config.expert.bias = true;
  return config;
}

/// `vocabulary`: number of token ids. The random table can be replaced: config.router.table.
template <class S = float>
typename HashMoe<S>::Config hash_layer(const Dims& dims, Index vocabulary,
                                       Variant = Variant::official) {
  auto config = detail::layer_preset<HashMoe<S>>(dims, TopKGate::Options{});
  config.router.vocabulary = vocabulary;
  return config;
}

template <class S = float>
typename BaseMoe<S>::Config base_layer(const Dims& dims, Variant = Variant::official) {
  return detail::layer_preset<BaseMoe<S>>(dims, NoOptions{});
}

template <class S = float>
typename SBaseMoe<S>::Config s_base_layer(const Dims& dims, Variant = Variant::official) {
  return detail::layer_preset<SBaseMoe<S>>(dims, SinkhornGate::Options{});
}

/// Each expert takes K T / E tokens, Flaxformer's form; at least 4 as there.
template <class S = float>
typename ExpertChoiceMoe<S>::Config expert_choice_layer(const Dims& dims,
                                                        Variant = Variant::official) {
  return detail::layer_preset<ExpertChoiceMoe<S>>(dims,
                                                  ExpertChoiceGate::Options{.min_capacity = 4});
}

/// K is the mean number of experts that ReluL1Loss aims at.
template <class S = float>
typename ReMoe<S>::Config remoe_layer(const Dims& dims, Variant = Variant::official) {
  return detail::layer_preset<ReMoe<S>>(dims, ReluGate::Options{});
}

/// V-MoE's K is 2 and its weights are not normalised. Its batch prioritized routing:
/// config.capacity.order = DropOrder::batch_priority.
template <class S = float>
typename VMoe<S>::Config vmoe_layer(const Dims& dims, Variant = Variant::official) {
  const CapacityOptions room{
      .factor = 1.05, .formula = CapacityFormula::vmoe, .order = DropOrder::choice};
  auto config = detail::layer_preset<VMoe<S>>(dims, TopKGate::Options{.renormalize = false}, room);
  config.router.per_expert = true;
  config.expert.bias = true;
  return config;
}

template <class S = float>
typename XMoe<S>::Config xmoe_layer(const Dims& dims, Variant = Variant::official) {
  auto config = detail::layer_preset<XMoe<S>>(dims, TopKGate::Options{.renormalize = false});
  config.router = CosineOptions::xmoe();
  config.expert.bias = true;
  return config;
}

/// As many experts as it takes for a probability above `top_p`; K is not used.
template <class S = float>
typename TopPMoe<S>::Config top_p_layer(const Dims& dims, Variant = Variant::official,
                                        double top_p = 0.4) {
  return detail::layer_preset<TopPMoe<S>>(dims, TopPGate::Options{.top_p = top_p});
}

}  // namespace presets
MOE_NAMESPACE_END
