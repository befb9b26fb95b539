// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// All experts of a layer on one plan: x [T, D] -> y [T, D]. Built-in FFNs in one grouped product,
// any other expert type one by one between dispatch and combine.
#pragma once

#include <vector>

#include "moe/expert/expert.hpp"
#include "moe/kernel/ffn.hpp"
#include "moe/plan/combine.hpp"
#include "moe/plan/dispatch.hpp"

MOE_NAMESPACE_BEGIN

/// Memory of the experts' part of one call, for an expert type of any kind: rows side by side.
template <class X, class S>
struct GroupState {
  std::vector<typename X::State> states;  ///< [E]
  Buffer<S> rows, outputs;                ///< [N, D]
  Buffer<S> drows, doutputs;              ///< [N, D]
};

/// The same for experts that the grouped kernels read directly.
template <class X, class S>
requires GroupedExpert<X, S>
struct GroupState<X, S> {
  std::vector<FfnPointers<const S>> weights;  ///< [E]
  std::vector<FfnPointers<S>> gradients;      ///< [E]
  FfnScratch<S> scratch;
  FfnSaved<S> saved;

  void collect_weights(const std::vector<X>& experts) {
    weights.clear();
    for (const X& expert : experts) weights.push_back(expert.pointers());
  }
};

/// y[t] = sum over the experts of t, ascending, of slot_weight * expert(x[t]). `keep`: a backward
/// will follow.
template <class X, class S>
void experts_forward(const std::vector<X>& experts, const Plan& plan,
                     std::span<const S> slot_weight, MatrixView<const S> x, MatrixView<S> y,
                     GroupState<X, S>& state, bool keep, ExecutorRef executor) {
  if constexpr (GroupedExpert<X, S>) {
    state.collect_weights(experts);
    ffn_forward<S>(experts.front().shape(), {plan.offset, plan.token, slot_weight}, state.weights,
                   x, y, state.scratch, keep ? &state.saved : nullptr, executor);
  } else {
    state.states.resize(experts.size());
    const MatrixView<S> rows = state.rows.resize(plan.count(), x.cols());
    const MatrixView<S> outputs = state.outputs.resize(plan.count(), x.cols());
    dispatch<S>(x, plan, rows);
    for (std::size_t e = 0; e < experts.size(); ++e) {
      const Index first = plan.offset[e], n = plan.load(static_cast<Index>(e));
      if (n == 0) continue;
      experts[e].forward(MatrixView<const S>(rows.middle_rows(first, n)),
                         outputs.middle_rows(first, n), state.states[e]);
    }
    combine<S>(outputs, plan, slot_weight, y);
  }
}

/// Adds to dx [T, D] and to the experts' gradients; writes dslot_weight [N].
template <class X, class S>
void experts_backward(std::vector<X>& experts, const Plan& plan, std::span<const S> slot_weight,
                      MatrixView<const S> x, MatrixView<const S> dy, MatrixView<S> dx,
                      std::span<S> dslot_weight, GroupState<X, S>& state, ExecutorRef executor) {
  if constexpr (GroupedExpert<X, S>) {
    state.collect_weights(experts);
    state.gradients.clear();
    for (X& expert : experts) state.gradients.push_back(expert.gradient_pointers());
    ffn_backward<S>(experts.front().shape(), {plan.offset, plan.token, slot_weight}, state.weights,
                    x, state.saved, dy, dx, state.gradients, dslot_weight, state.scratch, executor);
  } else {
    const MatrixView<const S> rows(state.rows.data(), plan.count(), x.cols());
    const MatrixView<const S> outputs(state.outputs.data(), plan.count(), x.cols());
    const MatrixView<S> doutputs = state.doutputs.resize(plan.count(), x.cols());
    const MatrixView<S> drows = state.drows.resize(plan.count(), x.cols());
    combine_backward<S>(dy, outputs, plan, slot_weight, doutputs, dslot_weight);
    for (std::size_t e = 0; e < experts.size(); ++e) {
      const Index first = plan.offset[e], n = plan.load(static_cast<Index>(e));
      if (n == 0) continue;
      experts[e].backward(rows.middle_rows(first, n),
                          MatrixView<const S>(doutputs.middle_rows(first, n)),
                          drows.middle_rows(first, n), state.states[e]);
    }
    dispatch_backward<S>(drows, plan, dx);
  }
}

MOE_NAMESPACE_END
