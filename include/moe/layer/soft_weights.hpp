// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The weights of Soft MoE: logits [R, M] -> combine [R, M] and, per sequence, dispatch [M, L]; R real
// tokens, M slots, L tokens of a sequence.
#pragma once

#include "moe/kernel/rows.hpp"
#include "moe/layer/sequence_rows.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// dp <- p (dp - <p, dp>), the gradient of a softmax through its values, row by row.
template <class S>
void softmax_backward_rows(MatrixView<const S> p, MatrixView<S> dp, const ExecutorRef& executor) {
  const auto dot = kernels<S>().dot;
  const Index threads = useful_threads(executor, 2.0 * static_cast<double>(p.size()));
  run_threads(executor, threads, [&](Index thread, Index n) {
    const Range mine = part_of(p.rows(), thread, n);
    for (Index i = mine.begin; i < mine.end; ++i) {
      const S inner = dot(p.row(i), dp.row(i), p.cols());
      for (Index j = 0; j < p.cols(); ++j) dp(i, j) = p(i, j) * (dp(i, j) - inner);
    }
  });
}

}  // namespace detail

/// The weights between tokens and slots, and their gradients; dispatch of sequence b starts at value
/// M * first[b].
template <class S>
struct SoftWeights {
  Buffer<S> combine;   ///< [R, M], each row sums to 1: a token is a mean of slots
  Buffer<S> dispatch;  ///< per sequence [M, L], rows sum to 1: a slot is a mean of tokens
  Buffer<S> dcombine, ddispatch;
  Index slots = 0;  ///< M

  MatrixView<const S> combine_of(const SequenceRows& q, Index b) const {
    return {combine.data() + q.begin(b) * slots, q.length(b), slots};
  }
  MatrixView<const S> dispatch_of(const SequenceRows& q, Index b) const {
    return {dispatch.data() + q.begin(b) * slots, slots, q.length(b)};
  }
  MatrixView<S> dcombine_of(const SequenceRows& q, Index b) {
    return {dcombine.data() + q.begin(b) * slots, q.length(b), slots};
  }
  MatrixView<S> ddispatch_of(const SequenceRows& q, Index b) {
    return {ddispatch.data() + q.begin(b) * slots, slots, q.length(b)};
  }

  /// Both softmaxes of the logits [R, M].
  void fill(const SequenceRows& sequences, MatrixView<const S> logits, ExecutorRef executor) {
    const Index m = slots = logits.cols();
    softmax_rows<S>(logits, combine.resize(logits.rows(), m), S(1), executor);
    dispatch.resize(logits.size());
    for (Index b = 0; b < sequences.count(); ++b) {
      const Index begin = sequences.begin(b), length = sequences.length(b);
      const MatrixView<S> out(dispatch.data() + begin * m, m, length);
      for (Index t = 0; t < length; ++t) {
        for (Index s = 0; s < m; ++s) out(s, t) = logits(begin + t, s);
      }
      softmax_rows<S>(MatrixView<const S>(out), out, S(1), executor);
    }
  }

  /// dlogits [R, M] from dcombine and ddispatch, which become scratch.
  void backward(const SequenceRows& sequences, MatrixView<S> dlogits, const ExecutorRef& executor) {
    for (Index b = 0; b < sequences.count(); ++b) {
      const MatrixView<S> dc = dcombine_of(sequences, b), dd = ddispatch_of(sequences, b);
      detail::softmax_backward_rows<S>(combine_of(sequences, b), dc, executor);
      detail::softmax_backward_rows<S>(dispatch_of(sequences, b), dd, executor);
      const Index begin = sequences.begin(b);
      for (Index t = 0; t < dc.rows(); ++t) {
        for (Index s = 0; s < slots; ++s) dlogits(begin + t, s) = dc(t, s) + dd(s, t);
      }
    }
  }
};

MOE_NAMESPACE_END
