// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The weights and gradients of a run of FFNs, as the grouped kernels read and write them.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "moe/expert/runs.hpp"

MOE_NAMESPACE_BEGIN

/// What the backward of the kernels leaves of one FFN's rows.
template <class S>
struct FfnRows {
  MatrixView<const S> x, dy;
  const std::int32_t* token;  ///< [n], the row of x and dy that each is; null: as they lie
  const S* dgate;             ///< [n, H], gradient of the gate's pre-activations; null without one
  const S* din;               ///< [n, H], of the others
  const S* hidden;            ///< [n, H], weighted activations
  Index count;                ///< n
};

/// An FFN that makes its weights for each call, in the memory of the call, and takes gradients of its
/// own from what the kernels leave behind: LoraFfn.
template <class X, class S>
concept AdaptedFfn = GroupedExpert<X, S> &&
    requires(const X& expert, X& trained, const FfnRows<S>& rows, S* room, typename X::State& state,
             const ExecutorRef& executor) {
  { expert.adapted_size() } -> std::convertible_to<Index>;
  expert.start_call(state);
  { expert.call_pointers(room, state) } -> std::same_as<FfnPointers<const S>>;
  { expert.pointers_at(room) } -> std::same_as<FfnPointers<const S>>;
  expert.check_state(std::string_view(), state, "expert ", std::size_t());
  expert.reserve_call(Index(), state, executor);
  trained.call_gradients(rows, state, executor);
  expert.merged_ffn().pointers();
};

namespace detail {

/// f(e, expert) for those experts of a run that make their weights for each call.
template <class S, class Experts, class F>
void visit_adapted(Experts& experts, const ExpertRun& run, F&& f) {
  for (Index e = run.begin; e < run.end; ++e) {
    visit_kind(experts[static_cast<std::size_t>(e)], [&]<class K>(K& expert) {
      if constexpr (AdaptedFfn<std::remove_const_t<K>, S>) f(e, expert);
    });
  }
}

/// All memory for the weights that experts of a run make, so that nothing is allocated on another
/// thread, where a throw would end the program, nor another time, when other experts have rows. Returns
/// the number of values they make.
template <class X, class S>
Index start_weights(const std::vector<X>& experts, const ExpertRun& run, const RowGroups<S>& group,
                    RunsState<X, S>& state, GroupedRun<S>& memory) {
  const Index count = run.end - run.begin;
  memory.weights.assign(static_cast<std::size_t>(count), {});
  memory.begin.assign(static_cast<std::size_t>(count), -1);
  Index total = 0, largest = 0;
  visit_adapted<S>(experts, run, [&]<class K>(Index e, const K& expert) {
    const auto of_run = static_cast<std::size_t>(e - run.begin);
    expert.start_call(state_of<K>(state.states[static_cast<std::size_t>(e)]));
    largest = std::max<Index>(largest, expert.adapted_size());
    if (group.offset[of_run + 1] == group.offset[of_run]) return;
    memory.begin[of_run] = std::exchange(total, total + expert.adapted_size());
  });
  memory.adapted.reserve(std::min(count, group.most()) * largest);
  memory.adapted.resize(total);
  return total;
}

/// Pointers to the weights of a run, of those that have rows in `group`, the run's slots. An expert's
/// weights are made by one thread.
template <class X, class S>
void collect_weights(const std::vector<X>& experts, const ExpertRun& run, const RowGroups<S>& group,
                     RunsState<X, S>& state, GroupedRun<S>& memory, const ExecutorRef& executor) {
  const Index values = start_weights(experts, run, group, state, memory);
  const Index threads = useful_threads(executor, 8.0 * static_cast<double>(values));
  run_threads(executor, threads, [&](Index thread, Index n) {
    for (Index e = run.begin + thread; e < run.end; e += n) {
      const auto i = static_cast<std::size_t>(e), of_run = static_cast<std::size_t>(e - run.begin);
      visit_kind(experts[i], [&]<class K>(const K& expert) {
        if constexpr (AdaptedFfn<K, S>) {
          const Index begin = memory.begin[of_run];
          if (begin < 0) return;
          memory.weights[of_run] =
              expert.call_pointers(memory.adapted.data() + begin, state_of<K>(state.states[i]));
        } else if constexpr (GroupedExpert<K, S>) {
          memory.weights[of_run] = expert.pointers();
        }
      });
    }
  });
}

/// The same weights for a backward, and the gradients.
template <class X, class S>
void collect_gradients(std::vector<X>& experts, const ExpertRun& run, GroupedRun<S>& memory) {
  memory.gradients.resize(memory.weights.size());
  for (Index e = run.begin; e < run.end; ++e) {
    const auto i = static_cast<std::size_t>(e), of_run = static_cast<std::size_t>(e - run.begin);
    visit_kind(experts[i], [&]<class K>(K& expert) {
      if constexpr (AdaptedFfn<K, S>) {
        const Index begin = memory.begin[of_run];
        if (begin >= 0) {
          memory.weights[of_run] = expert.pointers_at(memory.adapted.data() + begin);
        }
      } else if constexpr (GroupedExpert<K, S>) {
        memory.weights[of_run] = expert.pointers();
      }
      if constexpr (GroupedExpert<K, S>) memory.gradients[of_run] = expert.gradient_pointers();
    });
  }
}

/// After the kernels' backward: what experts with weights of their own making add. `hidden` is what
/// the kernels left, [n, H] of the run.
template <class X, class S>
void add_own_gradients(std::vector<X>& experts, const ExpertRun& run, const RowGroups<S>& group,
                       MatrixView<const S> x, MatrixView<const S> dy, RunsState<X, S>& state,
                       const GroupedRun<S>& memory, const ExecutorRef& executor) {
  const FfnSaved<S>& saved = memory.saved;
  visit_adapted<S>(experts, run, [&]<class K>(Index e, K& expert) {
    const auto of_run = static_cast<std::size_t>(e - run.begin);
    auto& own = state_of<K>(state.states[static_cast<std::size_t>(e)]);
    expert.reserve_call(group.rows_per_expert(x.rows()), own, executor);
    const Index first = group.offset[of_run], n = group.offset[of_run + 1] - first;
    const Index at = first * run.shape.hidden_dim;
    if (n == 0) return;
    expert.call_gradients(
        {x, dy, group.token.data() + first, run.shape.gated ? saved.gate.data() + at : nullptr,
         saved.in.data() + at, state.scratch.hidden.data() + at, n},
        own, executor);
  });
}

/// Throws std::invalid_argument when an expert that makes its weights is not as it was in the forward
/// that filled its state.
template <class X, class S>
void check_own_states(std::string_view function, const std::vector<X>& experts,
                      const RunsState<X, S>& state) {
  for (std::size_t e = 0; e < experts.size(); ++e) {
    visit_kind(experts[e], [&]<class K>(const K& expert) {
      if constexpr (AdaptedFfn<K, S>) {
        const auto* own = find_state<K>(state.states[e]);
        if (own == nullptr) fail(function, "expert ", e, " is of another kind than in the forward");
        expert.check_state(function, *own, "expert ", e);
      }
    });
  }
}

}  // namespace detail
MOE_NAMESPACE_END
