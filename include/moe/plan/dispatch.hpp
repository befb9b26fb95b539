// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// dispatch: x [T, D] -> rows [N, D] grouped by expert; and its gradient.
#pragma once

#include "moe/kernel/slot_rows.hpp"
#include "moe/plan/plan.hpp"

MOE_NAMESPACE_BEGIN

/// rows[s] = x[token of slot s]. For experts that need their tokens side by side; the built-in FFNs
/// read x through the plan instead. Throws std::invalid_argument on a shape that does not fit, and
/// when x and rows share memory.
template <class S>
void dispatch(MatrixView<const S> x, const Plan& plan, MatrixView<S> rows,
              ExecutorRef executor = {}) {
  detail::check_size("moe::dispatch", "x", x.rows(), "rows", "the plan's token count", plan.tokens);
  detail::check_shape("moe::dispatch", "rows", rows, plan.count(), x.cols());
  detail::check_no_alias("moe::dispatch", "x", x, "rows", rows);
  detail::spread_rows<S>(x, plan.slot, {}, rows, executor);
}

/// dx[token of s] += drows[s], slots ascending. Throws std::invalid_argument as dispatch.
template <class S>
void dispatch_backward(MatrixView<const S> drows, const Plan& plan, MatrixView<S> dx,
                       ExecutorRef executor = {}) {
  detail::check_size("moe::dispatch_backward", "dx", dx.rows(), "rows", "the plan's token count",
                     plan.tokens);
  detail::check_shape("moe::dispatch_backward", "drows", drows, plan.count(), dx.cols());
  detail::check_no_alias("moe::dispatch_backward", "drows", drows, "dx", dx);
  detail::combine_rows<S>(drows, plan.slot, {}, dx, /*accumulate=*/true, executor);
}

MOE_NAMESPACE_END
