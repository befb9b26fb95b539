// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Row kernels of routing: softmax, log-sum-exp, top-k, gather.
#pragma once

#include <algorithm>
#include <span>

#include "moe/core/error.hpp"
#include "moe/core/executor.hpp"
#include "moe/kernel/kernels.hpp"
#include "moe/kernel/share.hpp"

MOE_NAMESPACE_BEGIN

/// out = softmax(scale * x) row by row; x, out [T, E], which may be the same memory. A row that
/// holds a NaN or a positive infinity, or nothing above negative infinity, becomes NaN throughout.
template <class S>
void softmax_rows(MatrixView<const S> x, MatrixView<S> out, S scale = S(1),
                  ExecutorRef executor = {}) {
  detail::check_shape("moe::softmax_rows", "out", out, x.rows(), x.cols());
  const auto& table = detail::kernels<S>();
  const Index threads = detail::useful_threads(executor, 8.0 * static_cast<double>(x.size()));
  detail::run_threads(executor, threads, [&](Index i, Index n) {
    const detail::Range r = detail::part_of(x.rows(), i, n);
    table.softmax({x.row(r.begin), x.stride(), r.end - r.begin, x.cols(), scale, out.row(r.begin),
                   out.stride(), nullptr});
  });
}

/// out[t] = log sum_e exp(scale * x[t][e]); x [T, E], out [T]. NaN where scale * x has a NaN, else infinite
/// where its largest is.
template <class S>
void logsumexp_rows(MatrixView<const S> x, std::span<S> out, S scale = S(1)) {
  detail::check_size("moe::logsumexp_rows", "out", std::ssize(out), "values",
                     "the number of rows of x", x.rows());
  detail::kernels<S>().softmax(
      {x.data(), x.stride(), x.rows(), x.cols(), scale, nullptr, 0, out.data()});
}

/// The indices of the k largest of n scores, largest first: exact and stable for any n. Ties go to the
/// lowest index; NaN ranks below everything, again lowest index first. k <= n.
template <class S>
void select_top_k(const S* scores, Index n, Index k, std::int32_t* chosen) {
  // Insertion into a sorted list. A score comes later than those in the list: it must beat, not tie.
  const auto beats = [](S score, S listed) {
    return score > listed || (listed != listed && score == score);
  };
  Index count = 0;
  S worst = 0;  // of a full list
  for (Index e = 0; e < n; ++e) {
    const S score = scores[e];
    if (count == k && !beats(score, worst)) continue;
    if (k == 0) return;
    Index place = count < k ? count++ : k - 1;
    for (; place > 0 && beats(score, scores[chosen[place - 1]]); --place) {
      chosen[place] = chosen[place - 1];
    }
    chosen[place] = static_cast<std::int32_t>(e);
    worst = scores[chosen[count - 1]];
  }
}

/// out[s] = x[token[s]]: the rows of x [T, D] in slot order, [N, D]. Every token is in [0, T), which is
/// not checked.
template <class S>
void dispatch_rows(MatrixView<const S> x, std::span<const std::int32_t> token, MatrixView<S> out,
                   ExecutorRef executor = {}) {
  detail::check_shape("moe::dispatch_rows", "out", out, std::ssize(token), x.cols());
  const Index threads = detail::useful_threads(executor, static_cast<double>(out.size()));
  detail::run_threads(executor, threads, [&](Index i, Index n) {
    const detail::Range r = detail::part_of(out.rows(), i, n);
    for (Index s = r.begin; s < r.end; ++s) {
      std::copy_n(x.row(token[static_cast<std::size_t>(s)]), x.cols(), out.row(s));
    }
  });
}

MOE_NAMESPACE_END
