// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Rows of tokens [T, D] <-> rows of slots [N, D]: what dispatch, combine and their gradients are made
// of. slot [T * K] names the slots of each token, -1: none.
#pragma once

#include <span>

#include "moe/kernel/cache.hpp"
#include "moe/kernel/kernels.hpp"
#include "moe/kernel/share.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// Bytes that moving `rows` rows of D values reads or writes.
template <class S>
double row_bytes(Index rows, Index cols) {
  return static_cast<double>(rows * cols) * sizeof(S);
}

/// A thread is worth waking for half as many multiply-adds as bytes: see useful_threads.
inline Index threads_for_bytes(const ExecutorRef& executor, double bytes) {
  return useful_threads(executor, bytes / 2);
}

/// y[t] = or += sum over the slots s of t, ascending, of weight[s] * x[s]; an empty `weight` counts as
/// ones. x [N, D], y [T, D].
template <class S>
void combine_rows(MatrixView<const S> x, std::span<const std::int32_t> slot,
                  std::span<const S> weight, MatrixView<S> y, bool accumulate,
                  ExecutorRef executor) {
  if (y.rows() == 0) return;
  const auto& table = kernels<S>();
  const Index k = std::ssize(slot) / y.rows();
  const double bytes = row_bytes<S>(x.rows() + y.rows(), y.cols());
  const bool stream = overflows_cache(bytes);
  run_threads(executor, threads_for_bytes(executor, bytes), [&](Index i, Index n) {
    const Range r = part_of(y.rows(), i, n);
    table.combine({x.data(), x.stride(), slot.data() + r.begin * k,
                   weight.empty() ? nullptr : weight.data(), k, r.end - r.begin, y.cols(),
                   y.row(r.begin), y.stride(), accumulate, stream});
  });
}

/// y[s] = weight[s] * x[t] for every slot s of t; an empty `weight`: y[s] = x[t]. x [T, D], y [N, D].
template <class S>
void spread_rows(MatrixView<const S> x, std::span<const std::int32_t> slot,
                 std::span<const S> weight, MatrixView<S> y, ExecutorRef executor) {
  if (x.rows() == 0) return;
  const auto& table = kernels<S>();
  const Index k = std::ssize(slot) / x.rows();
  const double bytes = row_bytes<S>(x.rows() + y.rows(), x.cols());
  const bool stream = overflows_cache(bytes);
  run_threads(executor, threads_for_bytes(executor, bytes), [&](Index i, Index n) {
    const Range r = part_of(x.rows(), i, n);
    table.spread({x.row(r.begin), x.stride(), slot.data() + r.begin * k,
                  weight.empty() ? nullptr : weight.data(), k, r.end - r.begin, x.cols(), y.data(),
                  y.stride(), stream, nullptr, 0, nullptr});
  });
}

/// The gradients of combine_rows: dx[s] = weight[s] * dy[t] and dweight[s] = <x[s], dy[t]>.
template <class S>
void combine_rows_backward(MatrixView<const S> dy, MatrixView<const S> x,
                           std::span<const std::int32_t> slot, std::span<const S> weight,
                           MatrixView<S> dx, std::span<S> dweight, ExecutorRef executor) {
  if (dy.rows() == 0) return;
  const auto& table = kernels<S>();
  const Index k = std::ssize(slot) / dy.rows();
  const double bytes = row_bytes<S>(2 * x.rows() + dy.rows(), dy.cols());
  const bool stream = overflows_cache(bytes);
  run_threads(executor, threads_for_bytes(executor, bytes), [&](Index i, Index n) {
    const Range r = part_of(dy.rows(), i, n);
    table.spread({dy.row(r.begin), dy.stride(), slot.data() + r.begin * k, weight.data(), k,
                  r.end - r.begin, dy.cols(), dx.data(), dx.stride(), stream, x.data(), x.stride(),
                  dweight.data()});
  });
}

/// The gradients of in[s] = weight[s] * x[token[s]]: from that of `in`, in place, that of the gathered
/// x, and dweight[s] = <din[s], x[token[s]]>.
template <class S>
void unscale_rows(MatrixView<const S> x, std::span<const std::int32_t> token,
                  std::span<const S> weight, MatrixView<S> din, std::span<S> dweight,
                  ExecutorRef executor) {
  const auto& table = kernels<S>();
  const Index threads = threads_for_bytes(executor, 3 * row_bytes<S>(din.rows(), din.cols()));
  run_threads(executor, threads, [&](Index i, Index n) {
    const Range r = part_of(din.rows(), i, n);
    for (Index row = r.begin; row < r.end; ++row) {
      const auto s = static_cast<std::size_t>(row);
      dweight[s] = table.dot(din.row(row), x.row(token[s]), x.cols());
      table.spread({din.row(row), din.stride(), nullptr, &weight[s], 1, 1, x.cols(), din.row(row),
                    din.stride(), false, nullptr, 0, nullptr});
    }
  });
}

}  // namespace detail
MOE_NAMESPACE_END
