// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers that grow and shrink: experts added, removed and merged, router and gate with them.
#pragma once

#include "moe/train/grow/follow.hpp"
#include "moe/train/grow/layer.hpp"

MOE_NAMESPACE_BEGIN

/// Adds an expert behind the others; router, gate and capacity rules follow. The gate state of the
/// new one (selection bias, threshold) and its share of the capacity are the mean of those it is made
/// of, NewExpert::from, whatever its router row is, or of all; a closed one has the lowest selection
/// bias. Outputs, without a capacity factor (which has E in it):
///  - closed: the same bits, for any gate that takes experts by their logit, such as top-k, top-p,
///    dense and ReLU ones, while every token has K logits above kClosedLogit;
///  - split, with DenseGate: the same to rounding;
///  - copied, with top-1 and a weight that does not depend on other experts (sigmoid, or
///    normalize_single): the same bits, as ties go to the lower index;
///  - otherwise the new expert competes at once, and outputs change.
/// The change it returns is for what lives outside: see ExpertChange. Throws std::invalid_argument,
/// with the layer as it was, on an expert that is not there, or a router or gate that cannot follow.
template <class Layer>
ExpertChange add_expert(Layer& layer, const NewExpert& how = {}) {
  Random random(how.seed, static_cast<std::uint64_t>(layer.num_experts()) + 1);
  std::vector<double> shares = detail::equal_shares("moe::add_expert", layer, how.from);
  detail::expert_of<Layer> expert = detail::new_expert(layer, how, shares, random);
  return detail::add_made_expert(layer, std::move(expert), how, std::move(shares), random);
}

/// The same with an expert the caller made, or trained alone, of any shape the layer would have been
/// built with; `how.from` then only says whose router row and gate state it starts with.
template <class Layer>
ExpertChange add_expert(Layer& layer, detail::expert_of<Layer> expert, const NewExpert& how = {}) {
  Random random(how.seed, static_cast<std::uint64_t>(layer.num_experts()) + 1);
  std::vector<double> shares = detail::equal_shares("moe::add_expert", layer, how.from);
  detail::check_fits("moe::add_expert", layer, expert);
  return detail::add_made_expert(layer, std::move(expert), how, std::move(shares), random);
}

/// Removes expert e; those behind it move up. For tokens that did not choose it, without a capacity
/// factor, outputs are the same bits when a weight does not depend on experts that are not chosen
/// (sigmoid, softmax of the chosen, ReLU) or the logit of e was closed; the same to rounding when a
/// softmax over all is renormalised; otherwise the other experts' weights grow by 1 / (1 - p_e).
/// Throws std::invalid_argument, with the layer as it was, when e is not there, is the fallback expert
/// of the capacity, or fewer than K experts (or broken groups) would be left.
template <class Layer>
ExpertChange remove_expert(Layer& layer, Index e) {
  constexpr auto* kWhere = "moe::remove_expert";
  detail::check_expert_index(kWhere, e, layer.num_experts());
  ExpertChange change(layer.num_experts());
  change.origin.erase(change.origin.begin() + e);
  detail::GrownParts<Layer> parts(kWhere, layer, change);
  parts.move_into(layer);
  layer.experts().erase(layer.experts().begin() + e);
  return change;
}

struct MergeOptions {
  /// [n], of each expert, e.g. tokens it has seen; scaled to sum 1. Empty: equal.
  std::vector<double> shares = {};
  /// Adds ln n to the logit: under a softmax over all experts, experts with one row (see
  /// RouterRow::split) keep their joint weight. Needs a LinearRouter.
  bool join_weight = false;
};

/// Makes one expert of several, at the place of the lowest; those behind the others move up. Weights,
/// router row and gate state are the means by `shares` (Li et al. 2024, "Merge, then compress", by use).
/// Experts that are equal merge to the same bits. Throws std::invalid_argument, with the layer as it
/// was, unless at least two distinct experts of one shape are named and the layer can do with what is
/// left.
template <class Layer>
ExpertChange merge_experts(Layer& layer, std::vector<Index> experts,
                           const MergeOptions& options = {}) {
  using S = typename Layer::Scalar;
  using X = detail::expert_of<Layer>;
  constexpr auto* kWhere = "moe::merge_experts";
  if (experts.size() < 2) {
    detail::fail(kWhere, experts.size(), " experts are named, expected at least 2");
  }
  std::vector<double> shares = detail::equal_shares(kWhere, layer, experts);
  if (!options.shares.empty())
    shares = detail::scaled_shares(kWhere, options.shares, experts.size());
  const Index kept = *std::min_element(experts.begin(), experts.end());

  ExpertChange change(layer.num_experts());
  change.origin[static_cast<std::size_t>(kept)] = {experts, shares};
  std::vector<Index> gone = experts;
  std::sort(gone.rbegin(), gone.rend());
  gone.pop_back();
  for (const Index e : gone) change.origin.erase(change.origin.begin() + e);

  const auto sources = detail::pointers_to(layer, experts);
  X merged = mean_expert<S, X>(kWhere, sources, shares);
  detail::keep_training_flags<S>(layer.expert(kept), merged);
  detail::GrownParts<Layer> parts(kWhere, layer, change);
  if (options.join_weight) {
    detail::shift_logit(kWhere, parts.router, kept, std::log(static_cast<double>(experts.size())));
  }
  parts.move_into(layer);
  layer.expert(kept) = std::move(merged);
  for (const Index e : gone) layer.experts().erase(layer.experts().begin() + e);
  return change;
}

MOE_NAMESPACE_END
