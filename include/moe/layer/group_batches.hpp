// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What each group of a hierarchical layer is told of its rows: Batch of T rows + Plan -> a Batch each.
#pragma once

#include "moe/core/random.hpp"
#include "moe/plan/plan.hpp"

MOE_NAMESPACE_BEGIN

/// A seed of its own for group g: of its weights, given a layer's seed, and of its draws, given a
/// batch's.
inline std::uint64_t group_seed(std::uint64_t seed, Index g) {
  constexpr std::uint64_t kStream = 0x67726F7570;
  const auto bits = philox(seed, kStream, static_cast<std::uint64_t>(g));
  return std::uint64_t{bits[0]} << 32 | bits[1];
}

/// Facts about the rows of every group, slot by slot.
class GroupBatches {
 public:
  /// Everything that `batch` says of a token follows it to its groups: its id, its place in the
  /// whole batch, its sequence. Padding is in no group. Spans of `of(g)` live until the next call.
  void gather(const Batch& batch, const Plan& plan) {
    batch_ = batch;
    plan_ = &plan;
    sequences_ = std::ssize(batch.sequence_lengths);
    const Index most = std::ssize(plan.slot);
    ids_.reserve(batch.token_ids.empty() ? 0 : most);
    ids_.resize(batch.token_ids.empty() ? 0 : plan.count());
    places_.reserve(most);
    places_.resize(plan.count());
    for (Index s = 0; s < plan.count(); ++s) {
      const std::int32_t t = plan.token[static_cast<std::size_t>(s)];
      if (!batch.token_ids.empty()) ids_[s] = batch.token_ids[static_cast<std::size_t>(t)];
      places_[s] = batch.place_of(t);
    }
    lengths_.resize(plan.num_experts() * sequences_);
    if (sequences_ > 0) count_lengths();
  }

  /// For the rows of group g in slot order.
  Batch of(Index g) const {
    const auto first = static_cast<std::size_t>(plan_->offset[static_cast<std::size_t>(g)]);
    const auto count = static_cast<std::size_t>(plan_->load(g));
    Batch batch;
    if (ids_.size() > 0) batch.token_ids = ids_.span().subspan(first, count);
    batch.token_places = places_.span().subspan(first, count);
    batch.sequence_lengths = lengths_.span().subspan(static_cast<std::size_t>(g * sequences_),
                                                     static_cast<std::size_t>(sequences_));
    batch.seed = group_seed(batch_.seed, g);
    batch.step = batch_.step;
    batch.training = batch_.training;
    return batch;
  }

 private:
  /// lengths_ [G, sequences]: a group's rows are in token order, so sequence by sequence.
  void count_lengths() {
    lengths_.fill(0);
    for (Index g = 0; g < plan_->num_experts(); ++g) {
      const Index begin = plan_->offset[static_cast<std::size_t>(g)], end = begin + plan_->load(g);
      Index b = 0, last = batch_.sequence_lengths[0];
      for (Index s = begin; s < end; ++s) {
        while (plan_->token[static_cast<std::size_t>(s)] >= last) {
          last += batch_.sequence_lengths[static_cast<std::size_t>(++b)];
        }
        ++lengths_[g * sequences_ + b];
      }
    }
  }

  Batch batch_;
  const Plan* plan_ = nullptr;
  Index sequences_ = 0;
  Buffer<std::int64_t> ids_, places_;  ///< [N]
  Buffer<Index> lengths_;              ///< [G, sequences]
};

MOE_NAMESPACE_END
