// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The MoE layers of published models whose experts are of several kinds: a type for each, and its
// Config.
//   LongCatMoe<float> layer(presets::longcat_layer(), seed);
#pragma once

#include "moe/expert/any_of.hpp"
#include "moe/expert/constant.hpp"
#include "moe/expert/identity.hpp"
#include "moe/expert/zero.hpp"
#include "moe/layer/presets/layers.hpp"
#include "moe/router/mlp.hpp"

MOE_NAMESPACE_BEGIN

/// LongCat-Flash (arXiv 2509.01322): SwiGLU experts, then "zero experts", which return their token.
template <class S = float>
using LongCatMoe = MoeLayer<S, LinearRouter<S>, TopKGate, AnyOf<S, GatedFfn<S>, IdentityExpert<S>>>;

/// Jin et al. 2024 (MoE++, arXiv 2410.07348): SwiGLU experts, then constant experts, a copy (here:
/// identity) and a zero expert; a two-layer router that knows the logits of the layer before. Train
/// it with WeightedBalanceLoss, eta from moe_plus_plus_eta.
template <class S = float>
using MoePlusPlus =
    MoeLayer<S, MlpRouter<S>, TopKGate,
             AnyOf<S, GatedFfn<S>, ConstantExpert<S>, IdentityExpert<S>, ZeroExpert<S>>>;

namespace presets {

/// LongCat-Flash: dims.num_experts counts both kinds, `zero_experts` of them are zero experts. HF and
/// vLLM agree; the bias of the gate is for BiasUpdate, or to be loaded.
template <class S = float>
typename LongCatMoe<S>::Config longcat_layer(const Dims& dims = {6144, 2048, 768, 12},
                                             Variant variant = Variant::official,
                                             Index zero_experts = 256,
                                             double routed_scaling_factor = 6) {
  auto config = detail::layer_preset<LongCatMoe<S>>(
      dims, longcat(dims.num_experts, variant, routed_scaling_factor));
  config.expert.template add<GatedFfn<S>>(dims.num_experts - zero_experts)
      .template add<IdentityExpert<S>>(zero_experts);
  return config;
}

/// What MoE++'s special experts are, and how they share capacity with the others.
struct MoePlusPlusConfig {
  Index constant_experts = 2;  ///< as released
  Index copy_experts = 1;
  Index zero_experts = 1;
  double tau = 0.75;  ///< load of an FFN to that of another; the paper tries 0.1 to 1
  std::optional<double> capacity_factor = 1.1;  ///< gamma; empty: nobody is dropped
  bool residual = false;                        ///< adds a map of the previous layer's logits

  Index special() const { return constant_experts + copy_experts + zero_experts; }
};

/// MoE++, K = 2, as the paper has it: weights are the softmax, not normalised, and capacities differ
/// by kind. dims.num_experts counts all kinds. The released code gives a zero expert the weight 0,
/// divides the others by their sum and doubles x before the experts; its capacity is unlimited.
template <class S = float>
typename MoePlusPlus<S>::Config moe_plus_plus_layer(const Dims& dims, Variant = Variant::official,
                                                    const MoePlusPlusConfig& options = {}) {
  const Index ffns = dims.num_experts - options.special();
  auto config = detail::layer_preset<MoePlusPlus<S>>(
      dims, TopKGate::Options{.renormalize = false},
      {.factor = options.capacity_factor,
       .share = shares_of_kinds(ffns, options.special(), options.tau)});
  config.router.residual = options.residual;
  config.expert.template add<GatedFfn<S>>(ffns)
      .template add<ConstantExpert<S>>(options.constant_experts)
      .template add<IdentityExpert<S>>(options.copy_experts)
      .template add<ZeroExpert<S>>(options.zero_experts);
  return config;
}

/// The eta of MoE++'s WeightedBalanceLoss: 1 for an FFN, tau for the others.
inline std::vector<double> moe_plus_plus_eta(Index num_experts,
                                             const MoePlusPlusConfig& options = {}) {
  std::vector<double> eta(static_cast<std::size_t>(num_experts), 1.0);
  for (Index e = std::max<Index>(0, num_experts - options.special()); e < num_experts; ++e) {
    eta[static_cast<std::size_t>(e)] = options.tau;
  }
  return eta;
}

}  // namespace presets
MOE_NAMESPACE_END
