// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Grouped expert FFNs: rows of x [T, D], grouped by expert, through their FFNs, weighted into y [T,
// D].
#pragma once

#include "moe/kernel/ffn_backward.hpp"
#include "moe/kernel/ffn_forward.hpp"

MOE_NAMESPACE_BEGIN

/// y[t] = sum over the slots of t, experts ascending, of weight * FFN_e(x[t]); rows of y without a
/// slot become zero. Shapes: x, y [T, D]; `experts` [E]. With `saved`, keeps the pre-activations.
/// With `accumulate`, the sum goes on from y as it is.
template <class S>
void ffn_forward(const FfnShape& shape, const RowGroups<S>& rows,
                 std::span<const FfnPointers<const S>> experts, MatrixView<const S> x,
                 MatrixView<S> y, FfnScratch<S>& scratch, FfnSaved<S>* saved, ExecutorRef executor,
                 bool accumulate = false) {
  detail::FfnForward<S>(shape, rows, experts, nullptr, x, y, scratch, saved, accumulate)
      .run(executor);
}

/// The same with packed weights, for inference.
template <class S>
void ffn_forward(const PackedFfn<S>& experts, const RowGroups<S>& rows, MatrixView<const S> x,
                 MatrixView<S> y, FfnScratch<S>& scratch, ExecutorRef executor,
                 bool accumulate = false) {
  detail::FfnForward<S>(experts.shape(), rows, {}, &experts, x, y, scratch, nullptr, accumulate)
      .run(executor);
}

/// Gradients of ffn_forward. Adds to dx [T, D] (an empty view is skipped) and to every non-null
/// gradient of `grads` [E]; writes dweight [N], the gradient of each slot's gate weight. `saved` is
/// consumed.
template <class S>
void ffn_backward(const FfnShape& shape, const RowGroups<S>& rows,
                  std::span<const FfnPointers<const S>> experts, MatrixView<const S> x,
                  FfnSaved<S>& saved, MatrixView<const S> dy, MatrixView<S> dx,
                  std::span<const FfnPointers<S>> grads, std::span<S> dweight,
                  FfnScratch<S>& scratch, ExecutorRef executor) {
  detail::FfnBackward<S>(shape, rows, experts, x, saved, dy, dx, grads, dweight, scratch)
      .run(executor);
}

MOE_NAMESPACE_END
