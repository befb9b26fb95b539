// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// All experts of a layer that have adapters, through the grouped kernels: rows of x [T, D] -> y [T, D].
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "moe/expert/group.hpp"
#include "moe/train/lora/ffn.hpp"

MOE_NAMESPACE_BEGIN

/// An expert whose weights are made for each call, see LoraFfn.
template <class X, class S>
concept AdaptedExpert = GroupedExpert<X, S> &&
    requires(const X& expert, S* room, LowRankScratch<S>& scratch) {
  { expert.adapters_now() } -> std::same_as<AdaptersThen>;
  { expert.adapted_size() } -> std::convertible_to<Index>;
  { expert.adapted_pointers(room, scratch) } -> std::same_as<FfnPointers<const S>>;
  { expert.adapted_scratch() } -> std::same_as<detail::LowRankSizes>;
  { expert.pointers_at(room) } -> std::same_as<FfnPointers<const S>>;
};

/// Memory of one call.
template <class X, class S>
requires AdaptedExpert<X, S>
struct GroupState<X, S> {
  SlotRows<S> rows;                           ///< only used with WeightOn::input
  std::vector<FfnPointers<const S>> weights;  ///< [E]
  std::vector<FfnPointers<S>> gradients;      ///< [E]
  Buffer<S> adapted;                          ///< weights of the experts that have rows
  std::vector<Index> begin;                   ///< [E], where in `adapted`, -1 without rows
  FfnShape shape;                             ///< of the experts in the forward
  std::vector<Index> size;                    ///< [E], of each expert's weights that were made
  std::vector<AdaptersThen> adapters;         ///< [E], in the forward
  std::vector<LowRankScratch<S>> low_rank;    ///< one per thread
  FfnScratch<S> scratch;
  FfnSaved<S> saved;

  /// An expert by one thread, experts with rows only.
  void make_weights(const std::vector<X>& experts, const RowGroups<S>& groups,
                    const ExecutorRef& executor) {
    const Index total = note_experts(experts, groups);
    // Another time other experts have rows, by other threads.
    const auto threads_for = [&](Index values) {
      return detail::useful_threads(executor, 8.0 * static_cast<double>(values));
    };
    const Index count = std::ssize(experts);
    const Index most = std::min(count, groups.most()) * *std::max_element(size.begin(), size.end());
    adapted.reserve(most);
    adapted.resize(total);
    if (std::ssize(low_rank) < executor.size()) {
      low_rank.resize(static_cast<std::size_t>(executor.size()));
    }
    reserve_scratch(experts, threads_for(most));
    detail::run_threads(executor, threads_for(total), [&](Index thread, Index n) {
      for (Index e = thread; e < count; e += n) {
        const auto i = static_cast<std::size_t>(e);
        weights[i] = begin[i] < 0
                         ? FfnPointers<const S>{}
                         : experts[i].adapted_pointers(adapted.data() + begin[i],
                                                       low_rank[static_cast<std::size_t>(thread)]);
      }
    });
  }

  /// The same weights, of a base that may have moved since.
  void find_weights(const std::vector<X>& experts) {
    for (std::size_t e = 0; e < experts.size(); ++e) {
      if (begin[e] >= 0) weights[e] = experts[e].pointers_at(adapted.data() + begin[e]);
    }
  }

 private:
  /// What the experts are in this forward, and where their weights are to be made. Returns the sum of
  /// the sizes of those that have rows.
  Index note_experts(const std::vector<X>& experts, const RowGroups<S>& groups) {
    weights.resize(experts.size());
    begin.resize(experts.size());
    size.resize(experts.size());
    adapters.resize(experts.size());
    shape = experts.front().shape();
    Index total = 0;
    for (std::size_t e = 0; e < experts.size(); ++e) {
      size[e] = experts[e].adapted_size();
      adapters[e] = experts[e].adapters_now();
      const bool has_rows = groups.offset[e + 1] > groups.offset[e];
      begin[e] = has_rows ? std::exchange(total, total + size[e]) : -1;
    }
    return total;
  }

  void reserve_scratch(const std::vector<X>& experts, Index threads) {
    detail::LowRankSizes sizes;
    for (const X& expert : experts) {
      sizes = detail::LowRankSizes::largest(sizes, expert.adapted_scratch());
    }
    for (Index i = 0; i < threads; ++i) {
      low_rank[static_cast<std::size_t>(i)].scaled.reserve(sizes.scaled);
      low_rank[static_cast<std::size_t>(i)].work.reserve(sizes.work);
    }
  }
};

/// Throws std::invalid_argument unless the experts are those of the forward, merged or not as they were
/// then, with adapters of the same matrices.
template <class X, class S>
requires AdaptedExpert<X, S>
void check_group(std::string_view function, const std::vector<X>& experts,
                 const GroupState<X, S>& state) {
  detail::check_size(function, "the layer", std::ssize(experts), "experts",
                     "their number in the forward", std::ssize(state.size));
  for (std::size_t e = 0; e < experts.size(); ++e) {
    experts[e].check_adapters(function, state.adapters[e], "expert ", e);
    if (experts[e].adapted_size() != state.size[e] || experts[e].shape() != state.shape) {
      detail::fail(function, "expert ", e, " has other shapes than in the forward");
    }
  }
}

template <class X, class S>
requires AdaptedExpert<X, S>
void group_forward(const std::vector<X>& experts, const RowGroups<S>& rows, MatrixView<const S> x,
                   MatrixView<S> y, GroupState<X, S>& state, bool keep, ExecutorRef executor,
                   bool accumulate = false) {
  state.make_weights(experts, rows, executor);
  ffn_forward<S>(experts.front().shape(), rows, state.weights, x, y, state.scratch,
                 keep ? &state.saved : nullptr, executor, accumulate);
}

/// With the adapted weights of the forward, which are still there.
template <class X, class S>
requires AdaptedExpert<X, S>
void group_backward(std::vector<X>& experts, const RowGroups<S>& rows, MatrixView<const S> x,
                    MatrixView<const S> dy, MatrixView<S> dx, std::span<S> dweight,
                    GroupState<X, S>& state, ExecutorRef executor) {
  check_group("moe::group_backward", experts, state);
  state.find_weights(experts);
  state.gradients.clear();
  for (X& expert : experts) state.gradients.push_back(expert.gradient_pointers());
  const Index most = rows.rows_per_expert(x.rows());
  for (const X& expert : experts) expert.reserve_gradients(most, state.low_rank[0], executor);
  const FfnShape shape = experts.front().shape();
  ffn_backward<S>(shape, rows, state.weights, x, state.saved, dy, dx, state.gradients, dweight,
                  state.scratch, executor);
  for (std::size_t e = 0; e < experts.size(); ++e) {
    const Index first = rows.offset[e], n = rows.offset[e + 1] - first,
                at = first * shape.hidden_dim;
    if (n == 0) continue;
    const std::int32_t* token = rows.token.data() + first;
    experts[e].adapter_gradients({x.data(), x.stride(), token}, {dy.data(), dy.stride(), token},
                                 shape.gated ? state.saved.gate.data() + at : nullptr,
                                 state.saved.in.data() + at, state.scratch.hidden.data() + at, n,
                                 state.low_rank[0], executor);
  }
}

MOE_NAMESPACE_END
