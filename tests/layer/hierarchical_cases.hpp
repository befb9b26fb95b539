// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Hierarchical layers for the tests, and the textbook one that they are held against.
#pragma once

#include "layer/shape_cases.hpp"
#include "moe/layer/hierarchical_layer.hpp"
#include "moe/layer/hierarchical_losses.hpp"
#include "moe/router/learned_noise.hpp"

namespace moe_test {

template <class S>
using Inner = moe::MoeLayer<S>;
template <class S>
using TwoLevels = moe::HierarchicalLayer<S, Inner<S>>;
template <class S>
using NoisyRouter = moe::LearnedNoise<moe::LinearRouter<S>>;
template <class S>
using NoisyLevels = moe::HierarchicalLayer<S, moe::MoeLayer<S, NoisyRouter<S>>, NoisyRouter<S>>;

struct LevelSizes {
  Index d = 5, h = 6, groups = 3, k = 2, experts = 4, inner_k = 2;
};

template <class L>
L make_levels(const LevelSizes& s = {}, moe::CapacityOptions capacity = {},
              std::uint64_t seed = 9) {
  L layer({.model_dim = s.d,
           .num_groups = s.groups,
           .top_k = s.k,
           .capacity = capacity,
           .group = {.hidden_dim = s.h, .num_experts = s.experts, .top_k = s.inner_k}},
          seed);
  moe::Random random(seed);
  layer.visit_parameters([&](std::string_view name, auto& p) {
    if (name.find("noise_weight") == name.npos) return;
    for (Index i = 0; i < p.value.size(); ++i) {
      p.value.data()[i] = static_cast<typename L::Scalar>(random.uniform(-0.5, 0.5));
    }
  });
  return layer;
}

/// The textbook: every token through every group, weighted by the outer gate.
template <class S>
naive::Table naive_levels(const TwoLevels<S>& layer, const naive::Table& x) {
  naive::Table y(x.size(), naive::Row(x.empty() ? 0 : x.front().size(), 0.0));
  const naive::Table weight = to_table(layer.router().weight.value);
  for (std::size_t t = 0; t < x.size(); ++t) {
    const naive::Row logits = naive::affine(weight, {}, x[t]);
    const naive::Row p = naive::softmax(logits, 1);
    const auto order = naive::ranking(logits);
    double sum = 0;
    for (Index j = 0; j < layer.top_k(); ++j) sum += p[order[static_cast<std::size_t>(j)]];
    if (layer.top_k() == 1) sum = 1;
    for (Index j = 0; j < layer.top_k(); ++j) {
      const std::size_t g = order[static_cast<std::size_t>(j)];
      const auto inner = naive::forward(to_naive_layer(layer.group(static_cast<Index>(g))), {x[t]});
      for (std::size_t d = 0; d < y[t].size(); ++d) y[t][d] += p[g] / sum * inner.y[0][d];
    }
  }
  return y;
}

inline const auto kLevelLosses = [](auto& tape) {
  return static_cast<double>(tape.add_loss(moe::SwitchLoss{0.3}) +
                             tape.add_group_losses(moe::SwitchLoss{0.2}) +
                             tape.group(0).add_loss(moe::RouterZLoss{0.1}) +
                             tape.add_loss(moe::HierarchicalImportanceLoss{0.4}) +
                             tape.add_loss(moe::HierarchicalLoadLoss{0.5}));
};

}  // namespace moe_test
