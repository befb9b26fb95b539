// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Row kernels of routing: softmax, log-sum-exp, top-k, gather.
#pragma once

#include <algorithm>
#include <span>

#include "moe/core/executor.hpp"
#include "moe/kernel/kernels.hpp"
#include "moe/kernel/share.hpp"

MOE_NAMESPACE_BEGIN

/// out = softmax(scale * x) row by row; x, out [T, E], which may be the same memory. A row that
/// holds a NaN or a positive infinity, or nothing above negative infinity, becomes NaN throughout.
template <class S>
void softmax_rows(MatrixView<const S> x, MatrixView<S> out, S scale = S(1),
                  ExecutorRef executor = {}) {
  const auto& table = detail::kernels<S>();
  const Index threads = detail::useful_threads(executor, 8.0 * static_cast<double>(x.size()));
  detail::run_threads(executor, threads, [&](Index i, Index n) {
    const detail::Range r = detail::part_of(x.rows(), i, n);
    table.softmax({x.row(r.begin), x.stride(), r.end - r.begin, x.cols(), scale, out.row(r.begin),
                   out.stride(), nullptr});
  });
}

/// out[t] = log sum_e exp(scale * x[t][e]); x [T, E], out [T].
template <class S>
void logsumexp_rows(MatrixView<const S> x, std::span<S> out, S scale = S(1)) {
  detail::kernels<S>().softmax(
      {x.data(), x.stride(), x.rows(), x.cols(), scale, nullptr, 0, out.data()});
}

/// The indices of the K largest of `values`, largest first, to `out` [K]; K <= values.size(). Ties
/// go to the lowest index; NaN ranks below everything, again lowest index first.
template <class S>
void top_k(std::span<const S> values, std::span<std::int32_t> out) {
  const auto k = static_cast<Index>(out.size());
  const auto n = static_cast<Index>(values.size());
  const S* v = values.data();
  std::int32_t* best = out.data();
  // NaN is below all, so "a before b" must be false whenever a is NaN and true when only b is.
  const auto before = [](S a, S b) { return a > b || (b != b && a == a); };
  Index held = 0;
  for (Index i = 0; i < n; ++i) {
    if (held == k && (k == 0 || !before(v[i], v[best[k - 1]]))) continue;
    Index at = held < k ? held++ : k - 1;
    for (; at > 0 && before(v[i], v[best[at - 1]]); --at) best[at] = best[at - 1];
    best[at] = static_cast<std::int32_t>(i);
  }
}

/// top_k of every row: x [T, E], out [T, K].
template <class S>
void top_k_rows(MatrixView<const S> x, MatrixView<std::int32_t> out, ExecutorRef executor = {}) {
  const Index threads = detail::useful_threads(executor, 4.0 * static_cast<double>(x.size()));
  detail::run_threads(executor, threads, [&](Index i, Index n) {
    const detail::Range r = detail::part_of(x.rows(), i, n);
    for (Index t = r.begin; t < r.end; ++t) {
      top_k<S>({x.row(t), static_cast<std::size_t>(x.cols())},
               {out.row(t), static_cast<std::size_t>(out.cols())});
    }
  });
}

/// out[s] = x[token[s]]: the rows of x [T, D] in slot order, [N, D].
template <class S>
void dispatch_rows(MatrixView<const S> x, std::span<const std::int32_t> token, MatrixView<S> out,
                   ExecutorRef executor = {}) {
  const Index threads = detail::useful_threads(executor, static_cast<double>(out.size()));
  detail::run_threads(executor, threads, [&](Index i, Index n) {
    const detail::Range r = detail::part_of(out.rows(), i, n);
    for (Index s = r.begin; s < r.end; ++s) {
      std::copy_n(x.row(token[static_cast<std::size_t>(s)]), x.cols(), out.row(s));
    }
  });
}

MOE_NAMESPACE_END
