// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Scaled dot-product attention within sequences: q [T, heads * width], k, v [T, kv_heads * width] ->
// [T, heads * width]; and its gradient.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "moe/block/sequences.hpp"
#include "moe/kernel/linear.hpp"

MOE_NAMESPACE_BEGIN

/// How columns form heads, and what a row sees.
struct AttendShape {
  Index heads = 0;     ///< of the queries, a multiple of kv_heads
  Index kv_heads = 0;  ///< of keys and values, each shared by heads / kv_heads query heads
  Index width = 0;     ///< of a head
  bool causal = true;  ///< a row sees itself and the rows before it, else its whole sequence
  /// Query head h uses key head h % kv_heads instead of h / (heads / kv_heads): several complete
  /// sets of heads lie side by side.
  bool sets = false;

  Index sharing() const { return heads / kv_heads; }
  Index query_head(Index kv_head, Index i) const {
    return sets ? i * kv_heads + kv_head : kv_head * sharing() + i;
  }
};

/// Memory of attend and attend_backward. Grows with the length of a sequence, not with its square.
template <class S>
struct AttendScratch {
  struct Thread {
    Buffer<S> scores, dscores;
    LinearScratch<S> product;
  };
  std::vector<Thread> threads;
};

namespace detail {

/// Queries that are scored at a time: few enough that their scores stay in the cache, and that a
/// causal block computes little of what it may not see.
inline constexpr Index kAttendRows = 64;

template <class S>
void reserve_attend(const AttendShape& shape, Index longest, Index threads,
                    AttendScratch<S>& scratch) {
  if (std::ssize(scratch.threads) < threads) {
    scratch.threads.resize(static_cast<std::size_t>(threads));
  }
  const Index rows = std::max(kAttendRows, longest);
  const Index product = scratch_for(kernels<S>(), rows, std::max(rows, shape.width)).total();
  for (auto& one : scratch.threads) {
    one.scores.reserve(kAttendRows * longest);
    one.dscores.reserve(kAttendRows * longest);
    one.product.packed.reserve(product);
  }
  // The first may be used with all threads in each product.
  if (!scratch.threads.empty()) scratch.threads.front().product.packed.reserve(product * threads);
}

/// At most kAttendRows queries of one head of one sequence, and the keys that any of them sees.
template <class S>
struct AttendBlock {
  const AttendShape& shape;
  const Batch& batch;
  Index begin;  ///< row of the sequence
  Index kv_head;
  Index head;
  Index first;  ///< query of the sequence
  Index rows;
  Index keys;

  /// The block's part of a matrix of queries, or of keys.
  template <class T>
  MatrixView<T> query_rows(const MatrixView<T>& m) const {
    return {m.row(begin + first) + head * shape.width, rows, shape.width, m.stride()};
  }
  template <class T>
  MatrixView<T> key_rows(const MatrixView<T>& m) const {
    return {m.row(begin) + kv_head * shape.width, keys, shape.width, m.stride()};
  }

  bool is_padding(Index row) const { return batch.is_padding(begin + row); }
  /// Keys that query i of the block sees.
  Index seen_by(Index i) const {
    if (is_padding(first + i)) return 0;
    return shape.causal ? first + i + 1 : keys;
  }
  S scale() const { return static_cast<S>(1 / std::sqrt(static_cast<double>(shape.width))); }

  /// p [rows, keys] = softmax(scale q k^T) over the keys a query sees, 0 elsewhere.
  void probabilities(MatrixView<const S> q, MatrixView<const S> k, MatrixView<S> p,
                     LinearScratch<S>& scratch, const ExecutorRef& executor) const {
    linear_forward<S>(query_rows(q), key_rows(k), nullptr, p, scratch, executor);
    const auto softmax = kernels<S>().softmax;
    for (Index i = 0; i < rows; ++i) {
      S* row = p.row(i);
      const Index seen = seen_by(i);
      for (Index j = 0; !batch.mask.empty() && j < seen; ++j) {
        if (is_padding(j)) row[j] = -std::numeric_limits<S>::infinity();
      }
      if (seen > 0) softmax({row, p.stride(), 1, seen, scale(), row, p.stride(), nullptr});
      std::fill(row + seen, row + keys, S(0));
    }
  }

  /// From the gradient of p, in place, that of q k^T: scale p (dp - <p, dp>).
  void scores_backward(MatrixView<const S> p, MatrixView<S> dp) const {
    const auto dot = kernels<S>().dot;
    const S factor = scale();
    for (Index i = 0; i < rows; ++i) {
      S* row = dp.row(i);
      const Index seen = seen_by(i);
      const S mean = dot(p.row(i), row, seen);
      for (Index j = 0; j < seen; ++j) row[j] = factor * p(i, j) * (row[j] - mean);
      std::fill(row + seen, row + keys, S(0));
    }
  }
};

/// f(block) for every block of the heads of one sequence that use key head `kv_head`.
template <class S, class F>
void for_each_block_of(const AttendShape& shape, const Sequences& sequences, const Batch& batch,
                       Index sequence, Index kv_head, F&& f) {
  const Index length = sequences.length(sequence);
  for (Index i = 0; i < shape.sharing(); ++i) {
    for (Index first = 0; first < length; first += kAttendRows) {
      const Index rows = std::min(kAttendRows, length - first);
      f(AttendBlock<S>{shape, batch, sequences.begin[sequence], kv_head,
                       shape.query_head(kv_head, i), first, rows,
                       shape.causal ? first + rows : length});
    }
  }
}

/// f(block, scratch, executor) for every block of the call. Blocks that share keys come in order and
/// on one thread; or, when there are fewer such groups than threads, all come in order, with all
/// threads in their products. Results do not depend on which.
template <class S, class F>
void for_each_block(const AttendShape& shape, const Sequences& sequences, const Batch& batch,
                    AttendScratch<S>& scratch, const ExecutorRef& executor, F&& f) {
  Index cost = 0;  // of one head
  for (Index b = 0; b < sequences.count(); ++b) {
    cost += sequences.length(b) * sequences.length(b);
  }
  reserve_attend(shape, sequences.longest, executor.size(), scratch);
  const double work = static_cast<double>(cost) * static_cast<double>(shape.heads * shape.width);
  const bool few = sequences.count() * shape.kv_heads < executor.size();
  const Index threads = few ? 1 : useful_threads(executor, work);
  const ExecutorRef inner = threads == 1 ? executor : ExecutorRef();
  run_threads(executor, threads, [&](Index part, Index n) {
    auto& memory = scratch.threads[static_cast<std::size_t>(part)];
    CostShare share(cost * shape.kv_heads, part, n);
    for (Index b = 0; b < sequences.count(); ++b) {
      const Index length = sequences.length(b);
      if (length == 0) continue;
      const Range mine = share.next(shape.kv_heads, length * length);
      for (Index kv_head = mine.begin; kv_head < mine.end; ++kv_head) {
        for_each_block_of<S>(shape, sequences, batch, b, kv_head,
                             [&](const AttendBlock<S>& block) { f(block, memory, inner); });
      }
    }
  });
}

template <class S>
void set_zero(MatrixView<S> m) {
  for (Index i = 0; i < m.rows(); ++i) std::fill_n(m.row(i), m.cols(), S(0));
}

}  // namespace detail

/// out[t] = sum over the keys s that t sees of softmax_s(<q_t, k_s> / sqrt(width)) v_s, head by head
/// (Vaswani et al. 2017; heads that share keys: Ainslie et al. 2023). Padding sees nothing and is
/// not seen: its rows of out are zero; its rows of q, k and v must be finite. The bits of a row
/// depend on its own sequence alone and, causal and finite, on nothing that stands behind it.
template <class S>
void attend(const AttendShape& shape, const Sequences& sequences, const Batch& batch,
            MatrixView<const S> q, MatrixView<const S> k, MatrixView<const S> v, MatrixView<S> out,
            AttendScratch<S>& scratch, const ExecutorRef& executor) {
  detail::set_zero(out);
  detail::for_each_block<S>(
      shape, sequences, batch, scratch, executor,
      [&](const detail::AttendBlock<S>& block, auto& memory, const ExecutorRef& threads) {
        const MatrixView<S> p = memory.scores.resize(block.rows, block.keys);
        block.probabilities(q, k, p, memory.product, threads);
        linear_backward<S>({}, block.key_rows(v), p, block.query_rows(out), {}, nullptr,
                           memory.product, threads);  // out += p v
      });
}

/// Writes dq, dk and dv, given dout and what attend was given. The probabilities are computed again
/// instead of kept. Rows of padding in dout must be finite and count nothing.
template <class S>
void attend_backward(const AttendShape& shape, const Sequences& sequences, const Batch& batch,
                     MatrixView<const S> q, MatrixView<const S> k, MatrixView<const S> v,
                     MatrixView<const S> dout, MatrixView<S> dq, MatrixView<S> dk, MatrixView<S> dv,
                     AttendScratch<S>& scratch, const ExecutorRef& executor) {
  detail::set_zero(dq);
  detail::set_zero(dk);
  detail::set_zero(dv);
  detail::for_each_block<S>(
      shape, sequences, batch, scratch, executor,
      [&](const detail::AttendBlock<S>& block, auto& memory, const ExecutorRef& threads) {
        const auto queries = block.query_rows(q), dresult = block.query_rows(dout);
        const MatrixView<S> p = memory.scores.resize(block.rows, block.keys);
        const MatrixView<S> ds = memory.dscores.resize(block.rows, block.keys);
        block.probabilities(q, k, p, memory.product, threads);
        linear_forward<S>(dresult, block.key_rows(v), nullptr, ds, memory.product, threads);
        block.scores_backward(p, ds);
        linear_backward<S>(queries, block.key_rows(k), ds, block.query_rows(dq), block.key_rows(dk),
                           nullptr, memory.product, threads);
        linear_backward<S>(dresult, {}, p, {}, block.key_rows(dv), nullptr, memory.product,
                           threads);
      });
}

MOE_NAMESPACE_END
