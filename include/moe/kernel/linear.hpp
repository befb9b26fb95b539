// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Dense linear map: y [M, N] = x [M, K] w^T + b, w [N, K], and its gradients.
#pragma once

#include "moe/core/buffer.hpp"
#include "moe/core/error.hpp"
#include "moe/core/executor.hpp"
#include "moe/core/types.hpp"
#include "moe/kernel/packed.hpp"
#include "moe/kernel/product.hpp"
#include "moe/kernel/share.hpp"

MOE_NAMESPACE_BEGIN

/// Scratch of linear_forward and linear_backward.
template <class S>
struct LinearScratch {
  Buffer<S> packed;
};

namespace detail {

/// A quarter of a panel or less, as a small router's logits: most lanes of the product would be empty.
/// Pays from two panels of rows on; rows that are gathered, and weights in bfloat16, cannot change places.
template <class S>
bool few_columns(const Operand<S>& a, Index rows, const PanelSource<S>& b) {
  return 4 * b.cols <= kLanes<S> && rows >= 2 * kLanes<S> && a.index == nullptr && !b.bf16;
}

/// multiply_store for few columns, as b a^T: rows of `a` take the place of weights and fill all lanes.
/// The same chains, so the same bits.
template <class S>
void multiply_store_turned(const Operand<S>& a, Index rows, Index depth, const PanelSource<S>& b,
                           const S* bias, MatrixView<S> y, bool accumulate, S* work,
                           const ProductScratch<S>& sizes, Index threads,
                           const ExecutorRef& executor) {
  const KernelTable<S>& table = kernels<S>();
  // A panel's lanes are columns of b, k after k.
  const Operand<S> few = b.packed == nullptr
                             ? b.part[0]
                             : Operand<S>{.data = b.packed, .stride = kLanes<S>, .k_major = true};
  PanelSource<S> tokens;
  tokens.part[0] = a;
  tokens.cols = rows;
  run_threads(executor, threads, [&](Index i, Index n) {
    const Range mine = part_of(tokens.panels(), i, n);
    const Product<S> p{few, b.cols, depth, tokens, mine.begin, mine.end};
    Multiply<S>(table, p, work + i * sizes.total(), sizes).run([&](const Block<S>& c) {
      const Index first = c.panel * kLanes<S>;
      const Index count = std::min(c.panels * kLanes<S>, rows - first);
      for (Index t = 0; t < count; ++t) {
        S* out = y.row(first + t) + c.row;
        for (Index j = 0; j < c.rows; ++j) {
          S value = c.c[j * c.ldc + t];
          if (bias != nullptr) value += bias[c.row + j];
          out[j] = accumulate ? out[j] + value : value;
        }
      }
    });
  });
}

/// y [rows, b.cols] = or += a b^T + bias, threads sharing columns or, when there are few, rows.
template <class S>
void multiply_store(const Operand<S>& a, Index rows, Index depth, const PanelSource<S>& b,
                    const S* bias, MatrixView<S> y, bool accumulate, Buffer<S>& work,
                    const ExecutorRef& executor) {
  const KernelTable<S>& table = kernels<S>();
  const Index panels = b.panels();
  const Index threads =
      useful_threads(executor, static_cast<double>(rows) * static_cast<double>(depth * b.cols));
  const bool by_columns = threads == 1 || panels >= 4 * threads || rows < threads * table.mr;
  const ProductScratch<S> sizes = scratch_for(table, rows, depth);
  work.resize(sizes.total() * threads);
  // The same scratch, though less would do: fewer rows may then take the other way without allocating.
  if (few_columns(a, rows, b)) {
    return multiply_store_turned(a, rows, depth, b, bias, y, accumulate, work.data(), sizes,
                                 threads, executor);
  }
  run_threads(executor, threads, [&](Index i, Index n) {
    const Range cols = by_columns ? part_of(panels, i, n) : Range{0, panels};
    const Range mine = by_columns ? Range{0, rows} : part_of(rows, i, n, table.mr);
    Operand<S> part = a;
    if (a.index != nullptr && !a.k_major)
      part.index += mine.begin;
    else
      part.data += a.k_major ? mine.begin : mine.begin * a.stride;
    const Product<S> p{part, mine.end - mine.begin, depth, b, cols.begin, cols.end};
    Multiply<S>(table, p, work.data() + i * sizes.total(), sizes).run([&](const Block<S>& c) {
      const Index col = c.panel * kLanes<S>;
      table.store({c.c, c.ldc, c.rows, std::min(c.panels * kLanes<S>, b.cols - col), nullptr,
                   nullptr, bias != nullptr ? bias + col : nullptr, y.row(mine.begin + c.row) + col,
                   y.stride(), accumulate});
    });
  });
}

/// x [M, inputs], y or its gradient [M, outputs].
template <class S, class Y>
void check_linear(std::string_view function, MatrixView<const S> x, Index outputs, Index inputs,
                  const Y& y) {
  check_size(function, "x", x.cols(), "columns", "the weight's number of inputs", inputs);
  check_shape(function, "y", y, x.rows(), outputs);
}

}  // namespace detail

/// y = x w^T + bias. `bias` [N] or null. One accumulation chain per output, k ascending, then the
/// bias. This and the next two throw std::invalid_argument on shapes that do not fit.
template <class S>
void linear_forward(MatrixView<const S> x, MatrixView<const S> w, const S* bias, MatrixView<S> y,
                    LinearScratch<S>& scratch, ExecutorRef executor) {
  detail::check_linear<S>("moe::linear_forward", x, w.rows(), w.cols(), y);
  detail::PanelSource<S> b;
  b.part[0] = {.data = w.data(), .stride = w.stride()};
  b.cols = w.rows();
  detail::multiply_store<S>({.data = x.data(), .stride = x.stride()}, x.rows(), x.cols(), b, bias,
                            y, false, scratch.packed, executor);
}

/// The same with packed weights.
template <class S>
void linear_forward(MatrixView<const S> x, const PackedLinear<S>& w, const S* bias, MatrixView<S> y,
                    LinearScratch<S>& scratch, ExecutorRef executor) {
  detail::check_linear<S>("moe::linear_forward", x, w.outputs(), w.inputs(), y);
  detail::multiply_store<S>({.data = x.data(), .stride = x.stride()}, x.rows(), x.cols(),
                            w.source(), bias, y, false, scratch.packed, executor);
}

/// Adds to each gradient that is given: dx [M, K] += dy w, dw [N, K] += dy^T x, dbias [N] += sum
/// dy. An empty dx or dw view, or a null dbias, is skipped; w is read for dx alone, x for dw alone.
template <class S>
void linear_backward(MatrixView<const S> x, MatrixView<const S> w, MatrixView<const S> dy,
                     MatrixView<S> dx, MatrixView<S> dw, S* dbias, LinearScratch<S>& scratch,
                     ExecutorRef executor) {
  constexpr auto* kWhere = "moe::linear_backward";
  if (!dx.empty()) {
    detail::check_size(kWhere, "w", w.rows(), "rows", "dy's number of columns", dy.cols());
    detail::check_shape(kWhere, "dx", dx, dy.rows(), w.cols());
  }
  if (!dw.empty()) {
    detail::check_size(kWhere, "x", x.rows(), "rows", "dy's number of rows", dy.rows());
    detail::check_shape(kWhere, "dw", dw, dy.cols(), x.cols());
  }
  const detail::Operand<S> dy_rows{.data = dy.data(), .stride = dy.stride()};
  const detail::Operand<S> dy_columns{.data = dy.data(), .stride = dy.stride(), .k_major = true};
  detail::PanelSource<S> b;
  if (!dx.empty()) {
    b.part[0] = {.data = w.data(), .stride = w.stride(), .k_major = true};
    b.cols = w.cols();
    detail::multiply_store<S>(dy_rows, dy.rows(), dy.cols(), b, nullptr, dx, true, scratch.packed,
                              executor);
  }
  if (!dw.empty() && dy.rows() > 0) {
    b.part[0] = {.data = x.data(), .stride = x.stride(), .k_major = true};
    b.cols = x.cols();
    detail::multiply_store<S>(dy_columns, dy.cols(), dy.rows(), b, nullptr, dw, true,
                              scratch.packed, executor);
  }
  if (dbias != nullptr && dy.rows() > 0) {
    detail::kernels<S>().column_sum(
        {dy.data(), dy.stride(), nullptr, nullptr, dy.rows(), dy.cols(), dbias});
  }
}

MOE_NAMESPACE_END
