// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Experts of several kinds for inference: the FFNs' weights packed for the kernels, run by run.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "moe/expert/group.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Packs one FFN, adapters merged.
template <class S, class K>
void pack_ffn(const K& expert, Index e, PackedFfn<S>& packed, ExecutorRef executor) {
  if constexpr (AdaptedFfn<K, S>) {
    packed.pack_expert(e, expert.merged_ffn().pointers(), executor);
  } else {
    packed.pack_expert(e, expert.pointers(), executor);
  }
}

}  // namespace detail

/// What `pack` makes of experts of several kinds. FFNs of one shape that stand side by side are packed
/// together, adapters merged, and their row-major weights are not kept; experts of other kinds are
/// copied.
template <class X, class S>
class PackedRuns {
 public:
  PackedRuns() = default;

  /// The experts must have been checked: weights of the shapes they say.
  explicit PackedRuns(std::span<const X* const> experts, WeightType type = WeightType::native,
                      ExecutorRef executor = {}) {
    for (const X* expert : experts) {
      detail::add_run(detail::run_of<S>(*expert, num_experts()), runs_);
      experts_.push_back(without_weights(*expert));
    }
    ffns_.resize(runs_.size());
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      const ExpertRun& run = runs_[i];
      if (run.kind != RunKind::grouped) continue;
      ffns_[i] = PackedFfn<S>(run.shape, run.end - run.begin, type);
      for (Index e = run.begin; e < run.end; ++e) {
        detail::visit_kind(*experts[static_cast<std::size_t>(e)], [&]<class K>(const K& expert) {
          if constexpr (GroupedExpert<K, S>) {
            detail::pack_ffn(expert, e - run.begin, ffns_[i], executor);
          }
        });
      }
    }
  }

  Index num_experts() const { return static_cast<Index>(experts_.size()); }
  const std::vector<X>& experts() const { return experts_; }  ///< FFNs without their weights
  const std::vector<ExpertRun>& runs() const { return runs_; }
  const PackedFfn<S>& ffn(std::size_t run) const { return ffns_[run]; }  ///< of a grouped run

  /// Bytes of the packed weights.
  std::size_t bytes() const {
    std::size_t sum = 0;
    for (const auto& ffn : ffns_) sum += ffn.bytes();
    return sum;
  }

 private:
  static X without_weights(const X& expert) {
    return detail::visit_kind(expert, [&]<class K>(const K&) -> X {
      if constexpr (GroupedExpert<K, S> && std::is_default_constructible_v<K>) {
        return K();
      } else {
        return expert;
      }
    });
  }

  std::vector<X> experts_;
  std::vector<ExpertRun> runs_;
  std::vector<PackedFfn<S>> ffns_;  ///< [runs], empty where a run is not grouped
};

template <class X, class S>
struct GroupState<PackedRuns<X, S>, S> {
  SlotRows<S> rows;  ///< only used with WeightOn::input
  RunsState<X, S> runs;
};

/// As group_forward of experts that are not packed, with the same bits when weights are native.
template <class X, class S>
void group_forward(const PackedRuns<X, S>& experts, const RowGroups<S>& rows, MatrixView<const S> x,
                   MatrixView<S> y, GroupState<PackedRuns<X, S>, S>& state, bool,
                   ExecutorRef executor, bool accumulate = false) {
  detail::run_all<X, S>(
      experts.experts(), experts.runs(), rows, x, y, accumulate, state.runs,
      /*keep=*/false, executor, [&](std::size_t i, const RowGroups<S>& group, bool add) {
        ffn_forward<S>(experts.ffn(i), group, x, y, state.runs.scratch, executor, add);
      });
}

MOE_NAMESPACE_END
