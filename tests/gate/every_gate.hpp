// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every gate there is, for the tests of what all of them promise.
#pragma once

#include "gate/gate_checks.hpp"
#include "moe/gate/auction.hpp"
#include "moe/gate/dense.hpp"
#include "moe/gate/expert_choice.hpp"
#include "moe/gate/gshard.hpp"
#include "moe/gate/min_p.hpp"
#include "moe/gate/quantile.hpp"
#include "moe/gate/relu.hpp"
#include "moe/gate/sinkhorn.hpp"
#include "moe/gate/sparse_mixer.hpp"
#include "moe/gate/top_any.hpp"
#include "moe/gate/top_k.hpp"
#include "moe/gate/top_p.hpp"

namespace moe_test {

/// The gate of K experts out of E that tests build; K is what the gate allows.
template <class G>
G make_gate(Index k, Index e) {
  return G({.num_experts = e, .top_k = k}, {});
}
template <>
inline moe::TopKGate make_gate(Index k, Index e) {
  return {{.num_experts = e, .top_k = k},
          {.score = moe::ScoreFunction::sigmoid,
           .selection_bias = std::vector<float>(static_cast<std::size_t>(e), 0.5f)}};
}
template <>
inline moe::GShardGate make_gate(Index, Index e) {
  return {{.num_experts = e, .top_k = 2}, {}};
}
template <>
inline moe::AuctionGate make_gate(Index, Index e) {
  return {{.num_experts = e, .top_k = 1}, {}};
}

/// In training the choice of a token depends on the other tokens of the call.
template <class G>
constexpr bool kCouplesTokens =
    std::is_same_v<G, moe::ExpertChoiceGate> || std::is_same_v<G, moe::SinkhornGate> ||
    std::is_same_v<G, moe::AuctionGate>;

}  // namespace moe_test

#define MOE_TEST_GATES                                                                            \
  moe::TopKGate, moe::GShardGate, moe::SparseMixerGate, moe::ExpertChoiceGate, moe::TopPGate,     \
      moe::MinPGate, moe::TopAnyGate<double>, moe::ReluGate, moe::SinkhornGate, moe::AuctionGate, \
      moe::QuantileGate, moe::DenseGate
