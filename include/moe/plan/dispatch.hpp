// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// dispatch: x [T, D] -> rows [N, D] grouped by expert; and its gradient.
#pragma once

#include "moe/plan/plan.hpp"

MOE_NAMESPACE_BEGIN

/// rows[s] = x[token of slot s]. For experts that need their tokens side by side; the built-in FFNs
/// read x through the plan instead. Throws std::invalid_argument on a shape that does not fit.
template <class S>
void dispatch(MatrixView<const S> x, const Plan& plan, MatrixView<S> rows) {
  detail::check_size("moe::dispatch", "x", x.rows(), "rows", "the plan's token count", plan.tokens);
  detail::check_shape("moe::dispatch", "rows", rows, plan.count(), x.cols());
  for (Index s = 0; s < plan.count(); ++s) {
    std::copy_n(x.row(plan.token[static_cast<std::size_t>(s)]), x.cols(), rows.row(s));
  }
}

/// dx[token of s] += drows[s], slots ascending.
template <class S>
void dispatch_backward(MatrixView<const S> drows, const Plan& plan, MatrixView<S> dx) {
  detail::check_size("moe::dispatch_backward", "dx", dx.rows(), "rows", "the plan's token count",
                     plan.tokens);
  detail::check_shape("moe::dispatch_backward", "drows", drows, plan.count(), dx.cols());
  for (Index s = 0; s < plan.count(); ++s) {
    S* out = dx.row(plan.token[static_cast<std::size_t>(s)]);
    for (Index i = 0; i < dx.cols(); ++i) out[i] += drows(s, i);
  }
}

MOE_NAMESPACE_END
