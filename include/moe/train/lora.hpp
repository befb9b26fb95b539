// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Adapters on a trained layer's router and experts, trained alone, merged and taken out again.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "moe/layer/moe_layer.hpp"
#include "moe/train/lora/ffn.hpp"
#include "moe/train/lora/group.hpp"
#include "moe/train/lora/router.hpp"

MOE_NAMESPACE_BEGIN

/// Where a layer gets adapters.
struct AddLora {
  LoraOptions experts{};           ///< rank 0: none
  LoraOptions router{.rank = 0};   ///< rank 0: none
  std::vector<Index> chosen = {};  ///< experts that get one; empty: all
  std::uint64_t seed = 0;          ///< of every A
};

/// A layer with adapters (or places for them) on router and experts.
template <class S, class GateType, class FfnType>
using LoraLayer = MoeLayer<S, LoraRouter<S>, GateType, LoraFfn<FfnType>>;

/// The same layer with adapters: what it computes is the same, bit by bit, until they train; all but
/// them is frozen. Parameters keep their names, the adapters' are "experts.3.lora.w_in.a" and
/// "router.lora.b". An optimizer made for it holds state for the adapters alone. Throws
/// std::invalid_argument on bad options or an expert that is not there.
template <class S, class GateType, class FfnType>
LoraLayer<S, GateType, FfnType> add_lora(MoeLayer<S, LinearRouter<S>, GateType, FfnType> layer,
                                         const AddLora& where = {}) {
  for (const Index e : where.chosen) {
    if (e < 0 || e >= layer.num_experts()) {
      detail::fail("moe::add_lora", "expert ", e, " is named, expected 0 to ",
                   layer.num_experts() - 1);
    }
  }
  Random random(where.seed, 0);
  LoraRouter<S> router(std::move(layer.router()), where.router, random);
  std::vector<LoraFfn<FfnType>> experts;
  for (Index e = 0; e < layer.num_experts(); ++e) {
    const bool adapted =
        where.chosen.empty() || std::count(where.chosen.begin(), where.chosen.end(), e) > 0;
    LoraOptions options = where.experts;
    if (!adapted) options.rank = 0;
    Random own(where.seed, static_cast<std::uint64_t>(e) + 1);
    experts.emplace_back(std::move(layer.expert(e)), options, own);
  }
  LoraLayer<S, GateType, FfnType> adapted(std::move(router), std::move(layer.gate()),
                                          std::move(experts), layer.capacity());
  if constexpr (HasParameters<GateType, S>) {
    adapted.gate().visit_parameters([](std::string_view, Parameter<S>& p) { p.trainable = false; });
  }
  return adapted;
}

/// Puts all adapters into the weights, or takes them out again: see LoraFfn::merge.
template <class S, class GateType, class FfnType>
void merge_lora(LoraLayer<S, GateType, FfnType>& layer, bool keep = true) {
  layer.router().merge(keep);
  for (Index e = 0; e < layer.num_experts(); ++e) layer.expert(e).merge(keep);
}
template <class S, class GateType, class FfnType>
void unmerge_lora(LoraLayer<S, GateType, FfnType>& layer) {
  layer.router().unmerge();
  for (Index e = 0; e < layer.num_experts(); ++e) layer.expert(e).unmerge();
}

/// A plain layer that computes what the layer with adapters computes, bit by bit: to be packed, saved,
/// or trained on. The weights train or not as they did under the adapters: see unfreeze.
template <class S, class GateType, class FfnType>
MoeLayer<S, LinearRouter<S>, GateType, FfnType> merged_layer(
    const LoraLayer<S, GateType, FfnType>& layer) {
  std::vector<FfnType> experts;
  for (Index e = 0; e < layer.num_experts(); ++e) experts.push_back(layer.expert(e).merged_ffn());
  return {layer.router().merged_router(), layer.gate(), std::move(experts), layer.capacity()};
}

/// A layer whose experts are one FFN, each with adapters of its own.
template <class S, class GateType, class FfnType, class RouterType = LinearRouter<S>>
using LoraMixture = MoeLayer<S, RouterType, GateType, SharedLoraFfn<FfnType>>;

/// `count` experts on one base, for the experts of a LoraMixture:
///   LoraMixture<float, TopKGate, GatedFfn<float>> layer(router, gate, lora_experts(ffn, 8, {}));
/// While B is zero each is the base, and so is the layer, for a gate whose weights sum to 1. What the
/// layer visits, trains and saves is its router, its gate and the adapters. Each expert a token meets
/// costs an FFN: the base is not linear. Throws std::invalid_argument unless count is at least 1.
template <class FfnType>
std::vector<SharedLoraFfn<FfnType>> lora_experts(FfnType base, Index count,
                                                 const LoraOptions& options,
                                                 std::uint64_t seed = 0) {
  detail::check_positive("moe::lora_experts", "count", count);
  const auto shared = std::make_shared<const FfnType>(std::move(base));
  std::vector<SharedLoraFfn<FfnType>> experts;
  for (Index e = 0; e < count; ++e) {
    Random random(seed, static_cast<std::uint64_t>(e) + 1);
    experts.emplace_back(shared, options, random);
  }
  return experts;
}

MOE_NAMESPACE_END
