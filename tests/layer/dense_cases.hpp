// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Dense layers for the tests, and the sparse ones that they are held against.
#pragma once

#include "layer/shape_cases.hpp"
#include "moe/layer/dense_layer.hpp"
#include "moe/layer/moe_layer.hpp"
#include "moe/loss/importance.hpp"

namespace moe_test {

template <class S>
using Dense = moe::DenseLayer<S, moe::LinearRouter<S>, moe::GatedFfn<S>>;
template <class S>
using Scaling = moe::DenseLayer<S, moe::LinearRouter<S>, ScaleExpert<S>>;

template <class L>
L make_dense(Index d, Index h, Index e, double temperature = 1, std::uint64_t seed = 3) {
  typename L::Config config{.model_dim = d, .hidden_dim = h, .num_experts = e};
  config.router.bias = true;
  config.gate.temperature = temperature;
  return L(config, seed);
}

/// The same function by the sparse layer.
template <class S, class X>
moe::MoeLayer<S, moe::LinearRouter<S>, moe::DenseGate, X> sparse_twin(
    const moe::DenseLayer<S, moe::LinearRouter<S>, X>& layer) {
  std::vector<X> experts;
  for (Index e = 0; e < layer.num_experts(); ++e) experts.push_back(layer.expert(e));
  return {layer.router(), layer.gate(), experts};
}

inline const auto kLosses = [](auto& tape) {
  return static_cast<double>(tape.add_loss(moe::SwitchLoss{0.3}) +
                             tape.add_loss(moe::RouterZLoss{0.2}) +
                             tape.add_loss(moe::ImportanceLoss{.coefficient = 0.4}));
};

}  // namespace moe_test
