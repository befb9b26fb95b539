// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Forward and backward of experts of several kinds: rows of x [T, D], grouped by expert, through
// their experts, weighted into y [T, D], run by run.
#pragma once

#include "moe/expert/run_weights.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

template <class S>
void clear_rows(MatrixView<S> m) {
  for (Index i = 0; i < m.rows(); ++i) std::fill_n(m.row(i), m.cols(), S(0));
}

/// Rows that the experts computed by rows have now, and can have.
template <class S>
void resize_gathered(std::span<const ExpertRun> runs, const RowGroups<S>& rows, Index x_rows,
                     Index cols, bool backward, GatheredRows<S>& gathered) {
  Index count = 0, experts = 0;
  for (const ExpertRun& run : runs) {
    if (run.kind != RunKind::by_rows) continue;
    const Range slots = slots_of(rows, run.begin, run.end);
    count += slots.end - slots.begin;
    experts += run.end - run.begin;
  }
  gathered.resize(backward, count, std::min(rows.bound, rows.rows_per_expert(x_rows) * experts),
                  cols);
}

/// The experts of an in-place run on the rows of y that a thread owns.
template <class X, class S>
void in_place_forward(const std::vector<X>& experts, const ExpertRun& run, const RowGroups<S>& rows,
                      MatrixView<const S> x, MatrixView<S> y, bool accumulate,
                      ExecutorRef executor) {
  const Range slots = slots_of(rows, run.begin, run.end);
  const Index work = (slots.end - slots.begin) * x.cols() + (accumulate ? 0 : y.size());
  const Index threads = useful_threads(executor, static_cast<double>(work));
  run_threads(executor, threads, [&](Index i, Index n) {
    const Range mine = part_of(y.rows(), i, n);
    if (!accumulate) clear_rows(y.middle_rows(mine.begin, mine.end - mine.begin));
    for (Index e = run.begin; e < run.end; ++e) {
      visit_kind(experts[static_cast<std::size_t>(e)], [&]<class K>(const K& expert) {
        if constexpr (InPlaceExpert<K, S>) {
          expert.add_forward(slots_between(rows, e, mine), x, y);
        }
      });
    }
  });
}

/// Its gradient, and after all rows that of the parameters, an expert by one thread.
template <class X, class S>
void in_place_backward(std::vector<X>& experts, const ExpertRun& run, const RowGroups<S>& rows,
                       MatrixView<const S> x, MatrixView<const S> dy, MatrixView<S> dx,
                       std::span<S> dweight, RunsState<X, S>& state, ExecutorRef executor) {
  const auto each = [&](Index first, Index step, auto&& f) {
    for (Index e = first; e < run.end; e += step) {
      const auto i = static_cast<std::size_t>(e);
      visit_kind(experts[i], [&]<class K>(K& expert) {
        if constexpr (InPlaceExpert<K, S>) f(e, expert, state_of<K>(state.states[i]));
      });
    }
  };
  each(run.begin, 1, [&](Index e, auto& expert, auto& memory) {
    const Range slots = slots_of(rows, e, e + 1);
    const Index most = std::min(rows.bound, rows.rows_per_expert(x.rows()));
    expert.prepare(slots.end - slots.begin, most, memory);
  });
  const Range slots = slots_of(rows, run.begin, run.end);
  const Index threads =
      useful_threads(executor, 2.0 * static_cast<double>((slots.end - slots.begin) * x.cols()));
  run_threads(executor, threads, [&](Index i, Index n) {
    each(run.begin, 1, [&](Index e, auto& expert, auto& memory) {
      const ExpertSlots<S> mine = slots_between(rows, e, part_of(dx.rows(), i, n));
      const Index first = slots_of(rows, e, e + 1).begin + mine.first;
      expert.add_backward(mine, x, dy, dx,
                          dweight.subspan(static_cast<std::size_t>(first), mine.token.size()),
                          memory);
    });
  });
  run_threads(executor, threads, [&](Index i, Index n) {
    each(run.begin + i, n, [&](Index e, auto& expert, auto& memory) {
      expert.add_gradients(slots_between(rows, e, Range{0, x.rows()}), x, dy, memory);
    });
  });
}

/// One expert of any type on gathered rows, from row `at` of them on.
template <class X, class S>
void rows_forward(const std::vector<X>& experts, Index e, const RowGroups<S>& rows, Index at,
                  MatrixView<const S> x, MatrixView<S> y, RunsState<X, S>& state, bool keep,
                  ExecutorRef executor) {
  const ExpertSlots<S> slots = slots_between(rows, e, Range{0, x.rows()});
  const Index d = x.cols(), n = slots.count();
  if (n == 0) return;
  const MatrixView<S> in(state.gathered.in.data() + at * d, n, d);
  const MatrixView<S> out(state.gathered.out.data() + at * d, n, d);
  for (Index i = 0; i < n; ++i) std::copy_n(x.row(slots.row(i)), d, in.row(i));
  visit_kind(experts[static_cast<std::size_t>(e)], [&]<class K>(const K& expert) {
    auto& memory = state_of<K>(state.states[static_cast<std::size_t>(e)]);
    if constexpr (requires { memory.keep; }) memory.keep = keep;
    if constexpr (requires { expert.forward(MatrixView<const S>(in), out, memory, executor); }) {
      expert.forward(MatrixView<const S>(in), out, memory, executor);
    } else {
      expert.forward(MatrixView<const S>(in), out, memory);
    }
  });
  for (Index i = 0; i < n; ++i) add_scaled(out.row(i), slots.weight_of(i), y.row(slots.row(i)), d);
}

template <class X, class S>
void rows_backward(std::vector<X>& experts, Index e, const RowGroups<S>& rows, Index at,
                   MatrixView<const S> x, MatrixView<const S> dy, MatrixView<S> dx,
                   std::span<S> dweight, RunsState<X, S>& state, ExecutorRef executor) {
  const ExpertSlots<S> slots = slots_between(rows, e, Range{0, x.rows()});
  const Index d = x.cols(), n = slots.count(), first = slots_of(rows, e, e + 1).begin;
  if (n == 0) return;
  GatheredRows<S>& gathered = state.gathered;
  const MatrixView<const S> in(gathered.in.data() + at * d, n, d);
  const MatrixView<S> dout(gathered.dout.data() + at * d, n, d);
  const MatrixView<S> din(gathered.din.data() + at * d, n, d);
  for (Index i = 0; i < n; ++i) {
    const S* from = dy.row(slots.row(i));
    dweight[static_cast<std::size_t>(first + i)] =
        kernels<S>().dot(gathered.out.data() + (at + i) * d, from, d);
    for (Index j = 0; j < d; ++j) dout(i, j) = slots.weight_of(i) * from[j];
  }
  visit_kind(experts[static_cast<std::size_t>(e)], [&]<class K>(K& expert) {
    auto& memory = state_of<K>(state.states[static_cast<std::size_t>(e)]);
    const MatrixView<const S> out_gradient = dout;
    if constexpr (requires { expert.backward(in, out_gradient, din, memory, executor); }) {
      expert.backward(in, out_gradient, din, memory, executor);
    } else {
      expert.backward(in, out_gradient, din, memory);
    }
  });
  for (Index i = 0; i < n; ++i) add_scaled(din.row(i), S(1), dx.row(slots.row(i)), d);
}

/// y = or += every run, ascending. ffn(run's index, its rows, accumulate) computes a grouped one.
template <class X, class S, class Ffn>
void run_all(const std::vector<X>& experts, std::span<const ExpertRun> runs,
             const RowGroups<S>& rows, MatrixView<const S> x, MatrixView<S> y, bool accumulate,
             RunsState<X, S>& state, bool keep, ExecutorRef executor, Ffn&& ffn) {
  if (state.grouped.size() < runs.size()) state.grouped.resize(runs.size());
  state.states.resize(experts.size());
  resize_gathered(runs, rows, x.rows(), x.cols(), false, state.gathered);
  Index gathered = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const ExpertRun& run = runs[i];
    if (run.kind == RunKind::grouped) {
      ffn(i, rows_of_run(rows, run, x.rows(), state.grouped[i].offset), accumulate);
    } else if (run.kind == RunKind::in_place) {
      in_place_forward(experts, run, rows, x, y, accumulate, executor);
    } else {
      if (!accumulate) clear_rows(y);
      rows_forward(experts, run.begin, rows, gathered, x, y, state, keep, executor);
      const Range slots = slots_of(rows, run.begin, run.end);
      gathered += slots.end - slots.begin;
    }
    accumulate = true;
  }
}

/// The forward of a layer's experts; `keep`: a backward will follow.
template <class X, class S>
void runs_forward(const std::vector<X>& experts, const RowGroups<S>& rows, MatrixView<const S> x,
                  MatrixView<S> y, bool accumulate, RunsState<X, S>& state, bool keep,
                  ExecutorRef executor) {
  find_runs<S>(experts, state.runs);
  run_all<X, S>(experts, state.runs, rows, x, y, accumulate, state, keep, executor,
                [&](std::size_t i, const RowGroups<S>& group, bool add) {
                  const ExpertRun& run = state.runs[i];
                  GroupedRun<S>& memory = state.grouped[i];
                  collect_weights(experts, run, group, state, memory, executor);
                  ffn_forward<S>(run.shape, group, memory.weights, x, y, state.scratch,
                                 keep ? &memory.saved : nullptr, executor, add);
                });
}

/// Adds to dx and to the experts' gradients, writes dweight [N].
template <class X, class S>
void runs_backward(std::vector<X>& experts, const RowGroups<S>& rows, MatrixView<const S> x,
                   MatrixView<const S> dy, MatrixView<S> dx, std::span<S> dweight,
                   RunsState<X, S>& state, ExecutorRef executor) {
  resize_gathered<S>(state.runs, rows, x.rows(), x.cols(), true, state.gathered);
  Index gathered = 0;
  for (std::size_t i = 0; i < state.runs.size(); ++i) {
    const ExpertRun& run = state.runs[i];
    const Range slots = slots_of(rows, run.begin, run.end);
    const Index count = slots.end - slots.begin;
    if (run.kind == RunKind::grouped) {
      GroupedRun<S>& memory = state.grouped[i];
      const RowGroups<S> group = rows_of_run(rows, run, x.rows(), memory.offset);
      collect_gradients(experts, run, memory);
      ffn_backward<S>(
          run.shape, group, memory.weights, x, memory.saved, dy, dx, memory.gradients,
          dweight.subspan(static_cast<std::size_t>(slots.begin), static_cast<std::size_t>(count)),
          state.scratch, executor);
      add_own_gradients(experts, run, group, x, dy, state, memory, executor);
    } else if (run.kind == RunKind::in_place) {
      in_place_backward(experts, run, rows, x, dy, dx, dweight, state, executor);
    } else {
      rows_backward(experts, run.begin, rows, gathered, x, dy, dx, dweight, state, executor);
      gathered += count;
    }
  }
}

}  // namespace detail
MOE_NAMESPACE_END
