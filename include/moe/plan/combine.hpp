// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// combine: rows [N, D] grouped by expert -> y [T, D], the weighted sum per token; and its gradient.
#pragma once

#include "moe/kernel/kernels.hpp"
#include "moe/plan/plan.hpp"
#include "moe/plan/slot_weight.hpp"

MOE_NAMESPACE_BEGIN

/// y[t] = sum over the slots of t, experts ascending, of slot_weight[s] * rows[s]; zero for a token
/// without slots. Throws std::invalid_argument on a shape that does not fit.
template <class S>
void combine(MatrixView<const S> rows, const Plan& plan, std::span<const S> slot_weight,
             MatrixView<S> y) {
  detail::check_size("moe::combine", "y", y.rows(), "rows", "the plan's token count", plan.tokens);
  detail::check_shape("moe::combine", "rows", rows, plan.count(), y.cols());
  detail::check_size("moe::combine", "slot_weight", std::ssize(slot_weight), "values",
                     "the plan's slot count", plan.count());
  for (Index t = 0; t < y.rows(); ++t) std::fill_n(y.row(t), y.cols(), S(0));
  for (Index s = 0; s < plan.count(); ++s) {  // slots ascend by expert
    const S weight = slot_weight[static_cast<std::size_t>(s)];
    S* out = y.row(plan.token[static_cast<std::size_t>(s)]);
    for (Index i = 0; i < y.cols(); ++i) out[i] += weight * rows(s, i);
  }
}

/// drows[s] = slot_weight[s] * dy[t], dslot_weight[s] = <rows[s], dy[t]>, t the token of s. Throws
/// std::invalid_argument on a shape that does not fit.
template <class S>
void combine_backward(MatrixView<const S> dy, MatrixView<const S> rows, const Plan& plan,
                      std::span<const S> slot_weight, MatrixView<S> drows,
                      std::span<S> dslot_weight) {
  constexpr auto* kWhere = "moe::combine_backward";
  detail::check_size(kWhere, "dy", dy.rows(), "rows", "the plan's token count", plan.tokens);
  detail::check_shape(kWhere, "rows", rows, plan.count(), dy.cols());
  detail::check_shape(kWhere, "drows", drows, plan.count(), dy.cols());
  detail::check_size(kWhere, "slot_weight", std::ssize(slot_weight), "values",
                     "the plan's slot count", plan.count());
  detail::check_size(kWhere, "dslot_weight", std::ssize(dslot_weight), "values",
                     "the plan's slot count", plan.count());
  const auto dot = detail::kernels<S>().dot;  // a plain loop would be one chain of additions
  for (std::size_t s = 0; s < plan.token.size(); ++s) {
    const auto i = static_cast<Index>(s);
    const S* in = dy.row(plan.token[s]);
    dslot_weight[s] = dot(rows.row(i), in, dy.cols());
    for (Index d = 0; d < dy.cols(); ++d) drows(i, d) = slot_weight[s] * in[d];
  }
}

MOE_NAMESPACE_END
