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
  /// whole batch, its sequence. Padding is in no group.
  void gather(const Batch& batch, const Plan& plan) {
    seed_ = batch.seed;
    step_ = batch.step;
    training_ = batch.training;
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
    if (sequences_ > 0) count_lengths(batch, plan);
  }

  /// About the rows of group g in slot order, by the plan that was gathered; valid until the next
  /// gather. Its sequence_lengths are what losses over sequences want inside the group.
  Batch of(const Plan& plan, Index g) const {
    const auto first = static_cast<std::size_t>(plan.offset[static_cast<std::size_t>(g)]);
    const auto count = static_cast<std::size_t>(plan.load(g));
    Batch batch;
    if (ids_.size() > 0) batch.token_ids = ids_.span().subspan(first, count);
    batch.token_places = places_.span().subspan(first, count);
    batch.sequence_lengths = lengths_.span().subspan(static_cast<std::size_t>(g * sequences_),
                                                     static_cast<std::size_t>(sequences_));
    batch.seed = group_seed(seed_, g);
    batch.step = step_;
    batch.training = training_;
    return batch;
  }

 private:
  /// lengths_ [G, sequences]: a group's rows are in token order, so sequence by sequence.
  void count_lengths(const Batch& batch, const Plan& plan) {
    lengths_.fill(0);
    for (Index g = 0; g < plan.num_experts(); ++g) {
      const Index begin = plan.offset[static_cast<std::size_t>(g)], end = begin + plan.load(g);
      Index b = 0, last = batch.sequence_lengths[0];
      for (Index s = begin; s < end; ++s) {
        while (plan.token[static_cast<std::size_t>(s)] >= last) {
          last += batch.sequence_lengths[static_cast<std::size_t>(++b)];
        }
        ++lengths_[g * sequences_ + b];
      }
    }
  }

  std::uint64_t seed_ = 0, step_ = 0;
  bool training_ = false;
  Index sequences_ = 0;
  Buffer<std::int64_t> ids_, places_;  ///< [N]
  Buffer<Index> lengths_;              ///< [G, sequences]
};

MOE_NAMESPACE_END
