// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Experts of several kinds as runs of neighbours that are computed together, and the memory of that.
#pragma once

#include <vector>

#include "moe/core/buffer.hpp"
#include "moe/expert/in_place.hpp"
#include "moe/kernel/ffn.hpp"

MOE_NAMESPACE_BEGIN

/// How a run of experts is computed.
enum class RunKind : std::uint8_t {
  grouped,   ///< FFNs of one shape: one grouped product
  in_place,  ///< identity, zero, constant: no product, no rows
  by_rows,   ///< one expert of any type, between a gather and a scatter
};

/// Experts [begin, end).
struct ExpertRun {
  Index begin = 0, end = 0;
  RunKind kind = RunKind::by_rows;
  FfnShape shape{};  ///< of grouped experts

  bool operator==(const ExpertRun&) const = default;
};

/// Memory of one grouped run.
template <class S>
struct GroupedRun {
  std::vector<std::int32_t> offset;           ///< of the run's experts, from 0
  std::vector<FfnPointers<const S>> weights;  ///< of the run's experts
  std::vector<FfnPointers<S>> gradients;
  Buffer<S> adapted;         ///< weights that experts with rows make for the call
  std::vector<Index> begin;  ///< of the run's experts, where in `adapted`, -1: makes none
  FfnSaved<S> saved;
};

/// Rows gathered for the experts that are computed by rows, one expert after the other.
template <class S>
struct GatheredRows {
  Buffer<S> in, out, din, dout;

  void resize(bool backward, Index rows, Index most, Index cols) {
    const auto resize = [&](Buffer<S>& buffer) {
      buffer.reserve(most * cols);
      buffer.resize(rows * cols);
    };
    resize(backward ? din : in);
    resize(backward ? dout : out);
  }
};

/// Memory of one call for experts of several kinds.
template <class X, class S>
struct RunsState {
  std::vector<ExpertRun> runs;
  std::vector<GroupedRun<S>> grouped;     ///< [runs], used where a run is grouped
  std::vector<typename X::State> states;  ///< [E], used by the other experts
  GatheredRows<S> gathered;
  FfnScratch<S> scratch;
};

namespace detail {

/// f(expert), as the kind it is of when it is an AnyOf.
template <class X, class F>
decltype(auto) visit_kind(X& expert, F&& f) {
  if constexpr (requires { typename X::Variant; }) {
    return expert.visit(std::forward<F>(f));
  } else {
    return std::forward<F>(f)(expert);
  }
}

/// The state of an expert of kind K among the states of X.
template <class K, class State>
auto& state_of(State& state) {
  if constexpr (requires { state.template of<K>(); }) {
    return state.template of<K>();
  } else {
    return state;
  }
}

/// The same, or null when the states hold another kind's.
template <class K, class State>
const typename K::State* find_state(const State& state) {
  if constexpr (requires { state.template find<K>(); }) {
    return state.template find<K>();
  } else {
    return &state;
  }
}

template <class S, class X>
ExpertRun run_of(const X& expert, Index e) {
  return visit_kind(expert, [&]<class K>(const K& held) -> ExpertRun {
    if constexpr (GroupedExpert<K, S>) {
      return {e, e + 1, RunKind::grouped, held.shape()};
    } else {
      return {e, e + 1, InPlaceExpert<K, S> ? RunKind::in_place : RunKind::by_rows, {}};
    }
  });
}

/// Lengthens the last run by the next expert where the two go together.
inline void add_run(const ExpertRun& next, std::vector<ExpertRun>& runs) {
  if (!runs.empty() && next.kind != RunKind::by_rows && next.kind == runs.back().kind &&
      next.shape == runs.back().shape) {
    runs.back().end = next.end;
  } else {
    runs.push_back(next);
  }
}

/// The experts as runs, as long as they can be.
template <class S, class X>
void find_runs(const std::vector<X>& experts, std::vector<ExpertRun>& runs) {
  runs.clear();
  for (Index e = 0; e < std::ssize(experts); ++e) {
    add_run(run_of<S>(experts[static_cast<std::size_t>(e)], e), runs);
  }
}

/// True when `runs` are those of the experts as they are now.
template <class S, class X>
bool are_runs_of(const std::vector<X>& experts, const std::vector<ExpertRun>& runs) {
  Index e = 0;
  for (const ExpertRun& run : runs) {
    for (; e < run.end; ++e) {
      if (e >= std::ssize(experts)) return false;
      const ExpertRun now = run_of<S>(experts[static_cast<std::size_t>(e)], e);
      if (now.kind != run.kind || now.shape != run.shape) return false;
    }
  }
  return e == std::ssize(experts);
}

/// The slots of a run.
template <class S>
Range slots_of(const RowGroups<S>& rows, Index begin, Index end) {
  return {rows.offset[static_cast<std::size_t>(begin)], rows.offset[static_cast<std::size_t>(end)]};
}

/// The slots of a run as groups of their own. What N can grow to: no token is twice with an expert.
template <class S>
RowGroups<S> rows_of_run(const RowGroups<S>& rows, const ExpertRun& run, Index x_rows,
                         std::vector<std::int32_t>& offset) {
  const Range slots = slots_of(rows, run.begin, run.end);
  offset.clear();
  for (Index e = run.begin; e <= run.end; ++e) {
    offset.push_back(rows.offset[static_cast<std::size_t>(e)] -
                     static_cast<std::int32_t>(slots.begin));
  }
  const auto begin = static_cast<std::size_t>(slots.begin);
  const auto count = static_cast<std::size_t>(slots.end - slots.begin);
  return {offset, rows.token.subspan(begin, count), rows.weight.subspan(begin, count),
          std::min(rows.bound, rows.rows_per_expert(x_rows) * (run.end - run.begin)),
          rows.most_per_expert};
}

/// The slots of expert e whose rows are in `part`; tokens ascend within an expert.
template <class S>
ExpertSlots<S> slots_between(const RowGroups<S>& rows, Index e, Range part) {
  const Range all = slots_of(rows, e, e + 1);
  const auto first = rows.token.begin() + all.begin, last = rows.token.begin() + all.end;
  const auto begin = std::lower_bound(first, last, part.begin);
  const auto end = std::lower_bound(begin, last, part.end);
  const auto at = static_cast<std::size_t>(begin - rows.token.begin());
  const auto count = static_cast<std::size_t>(end - begin);
  return {rows.token.subspan(at, count), rows.weight.subspan(at, count), begin - first};
}

}  // namespace detail
MOE_NAMESPACE_END
