// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// combine: rows [N, D] grouped by expert -> y [T, D], the weighted sum per token; and its gradient.
#pragma once

#include "moe/kernel/slot_rows.hpp"
#include "moe/plan/plan.hpp"
#include "moe/plan/slot_weight.hpp"

MOE_NAMESPACE_BEGIN

/// y[t] = sum over the slots of t, experts ascending, of slot_weight[s] * rows[s]; zero for a token
/// without slots. Throws std::invalid_argument on a shape that does not fit, and when rows and y share
/// memory.
template <class S>
void combine(MatrixView<const S> rows, const Plan& plan, std::span<const S> slot_weight,
             MatrixView<S> y, ExecutorRef executor = {}) {
  detail::check_size("moe::combine", "y", y.rows(), "rows", "the plan's token count", plan.tokens);
  detail::check_shape("moe::combine", "rows", rows, plan.count(), y.cols());
  detail::check_size("moe::combine", "slot_weight", std::ssize(slot_weight), "values",
                     "the plan's slot count", plan.count());
  detail::check_no_alias("moe::combine", "rows", rows, "y", y);
  detail::combine_rows<S>(rows, plan.slot, slot_weight, y, /*accumulate=*/false, executor);
}

/// drows[s] = slot_weight[s] * dy[t], dslot_weight[s] = <rows[s], dy[t]>, t the token of s. Throws
/// std::invalid_argument on a shape that does not fit, and when drows shares memory with dy or rows.
template <class S>
void combine_backward(MatrixView<const S> dy, MatrixView<const S> rows, const Plan& plan,
                      std::span<const S> slot_weight, MatrixView<S> drows,
                      std::span<S> dslot_weight, ExecutorRef executor = {}) {
  constexpr auto* kWhere = "moe::combine_backward";
  detail::check_size(kWhere, "dy", dy.rows(), "rows", "the plan's token count", plan.tokens);
  detail::check_shape(kWhere, "rows", rows, plan.count(), dy.cols());
  detail::check_shape(kWhere, "drows", drows, plan.count(), dy.cols());
  detail::check_size(kWhere, "slot_weight", std::ssize(slot_weight), "values",
                     "the plan's slot count", plan.count());
  detail::check_size(kWhere, "dslot_weight", std::ssize(dslot_weight), "values",
                     "the plan's slot count", plan.count());
  detail::check_no_alias(kWhere, "dy", dy, "drows", drows);
  detail::check_no_alias(kWhere, "rows", rows, "drows", drows);
  detail::combine_rows_backward<S>(dy, rows, plan.slot, slot_weight, drows, dslot_weight, executor);
}

MOE_NAMESPACE_END
