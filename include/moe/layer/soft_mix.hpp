// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The mixing of Soft MoE, sequence by sequence: tokens [L, D] -> slots [M, D] -> tokens [L, D], by
// dispatch [M, L] and combine [L, M] weights; M = E P slots, L tokens of a sequence, B sequences.
#pragma once

#include <limits>
#include <vector>

#include "moe/core/error.hpp"
#include "moe/kernel/linear.hpp"
#include "moe/layer/soft_weights.hpp"
#include "moe/plan/plan.hpp"

MOE_NAMESPACE_BEGIN

/// Slot rows [B * E * P]: slot p of expert e in sequence b is row (b E + e) P + p. The plan that sends
/// each to its expert. Throws std::invalid_argument from 2^31 slots on.
inline void plan_slots(Index sequences, Index experts, Index slots, Plan& plan) {
  const Index all = sequences * experts * slots;
  if (all > std::numeric_limits<std::int32_t>::max()) {
    detail::fail("moe::SoftLayer", "sequences * experts * slots is ", all,
                 ", expected less than 2^31");
  }
  const auto size = static_cast<std::size_t>(all);
  plan.tokens = all;
  plan.top_k = 1;
  plan.capacity = std::numeric_limits<Index>::max();
  plan.rules = {};
  plan.demanded.assign(static_cast<std::size_t>(experts),
                       static_cast<std::int32_t>(sequences * slots));
  plan.fill = plan.demanded;
  plan.offset.resize(static_cast<std::size_t>(experts) + 1);
  plan.token.resize(size);
  plan.slot.resize(size);
  plan.outcome.assign(size, Outcome::kept);
  std::size_t s = 0;
  for (Index e = 0; e < experts; ++e) {
    plan.offset[static_cast<std::size_t>(e)] = static_cast<std::int32_t>(s);
    for (Index b = 0; b < sequences; ++b) {
      for (Index p = 0; p < slots; ++p, ++s) {
        const Index row = (b * experts + e) * slots + p;
        plan.token[s] = static_cast<std::int32_t>(row);
        plan.slot[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(s);
      }
    }
  }
  plan.offset[static_cast<std::size_t>(experts)] = static_cast<std::int32_t>(s);
  plan.origin = plan.token;
}

/// Scratch of the products, one for each thread that works on sequences of its own.
template <class S>
using SoftScratch = std::vector<LinearScratch<S>>;

namespace detail {

/// Memory for every product of the longest sequence, forward and backward, whoever computes it: nothing
/// is allocated on another thread, where a throw would end the program.
template <class S>
void reserve_soft(Index longest, Index slots, Index cols, Index threads, SoftScratch<S>& scratch) {
  scratch.resize(static_cast<std::size_t>(std::max(threads, std::ssize(scratch))));
  const auto total = [](Index rows, Index depth) {
    return scratch_for(kernels<S>(), rows, depth).total();
  };
  const Index most = std::max(
      {total(slots, longest), total(longest, slots), total(longest, cols), total(slots, cols)});
  for (LinearScratch<S>& one : scratch) one.packed.reserve(most);
  scratch.front().packed.reserve(most * threads);  // of few sequences each has all threads
}

/// f(b, scratch, executor) for every sequence: many sequences are shared among the threads, of few
/// each has all threads to itself. No result depends on which.
template <class S, class F>
void for_sequences(const SequenceRows& sequences, Index slots, Index cols, SoftScratch<S>& scratch,
                   const ExecutorRef& executor, F&& f) {
  const double work = static_cast<double>(sequences.rows()) * static_cast<double>(slots * cols);
  const Index threads = useful_threads(executor, work);
  reserve_soft(sequences.longest(), slots, cols, executor.size(), scratch);
  if (threads > 1 && sequences.count() >= 2 * threads) {
    run_threads(executor, threads, [&](Index i, Index n) {
      const Range mine = part_of(sequences.count(), i, n);
      for (Index b = mine.begin; b < mine.end; ++b) {
        f(b, scratch[static_cast<std::size_t>(i)], ExecutorRef{});
      }
    });
  } else {
    for (Index b = 0; b < sequences.count(); ++b) f(b, scratch.front(), executor);
  }
}

/// out [R, D] = +the product of a [R, K] and b [K, D].
template <class S>
void add_product(MatrixView<const S> a, MatrixView<const S> b, MatrixView<S> out,
                 LinearScratch<S>& scratch, ExecutorRef executor) {
  linear_backward<S>({}, b, a, out, {}, nullptr, scratch, executor);
}
/// out [K, D] += a^T b, a [R, K], b [R, D].
template <class S>
void add_transposed_product(MatrixView<const S> a, MatrixView<const S> b, MatrixView<S> out,
                            LinearScratch<S>& scratch, ExecutorRef executor) {
  linear_backward<S>(b, {}, a, {}, out, nullptr, scratch, executor);
}

}  // namespace detail

/// Everything between the weights and the experts. Slot rows are [B * M, D].
template <class S>
struct SoftMix {
  SequenceRows sequences;
  SoftWeights<S> weights;
  Buffer<S> slots, outputs;    ///< [B * M, D], what experts are given and what they return
  Buffer<S> dslots, doutputs;  ///< [B * M, D]
  SoftScratch<S> scratch;

  Index slot_rows() const { return sequences.count() * weights.slots; }

  /// slots = dispatch^T source [R, D], per sequence; makes room for the outputs.
  void to_slots(MatrixView<const S> source, const ExecutorRef& executor) {
    slots.resize(slot_rows() * source.cols());
    slots.fill(S(0));
    outputs.resize(slot_rows() * source.cols());
    each(source.cols(), executor, [&](Index b, LinearScratch<S>& work, ExecutorRef threads) {
      detail::add_product<S>(weights.dispatch_of(sequences, b), tokens_of(source, b),
                             slots_of(slots, source.cols(), b), work, threads);
    });
  }

  /// out [R, D] += combine outputs, per sequence.
  void to_tokens(MatrixView<S> out, const ExecutorRef& executor) {
    each(out.cols(), executor, [&](Index b, LinearScratch<S>& work, ExecutorRef threads) {
      detail::add_product<S>(weights.combine_of(sequences, b), slots_of(outputs, out.cols(), b),
                             tokens_of(out, b), work, threads);
    });
  }

  /// dcombine = dy outputs^T and doutputs = combine^T dy; dy [R, D].
  void to_tokens_backward(MatrixView<const S> dy, const ExecutorRef& executor) {
    weights.dcombine.resize(dy.rows() * weights.slots);
    doutputs.resize(slot_rows() * dy.cols());
    doutputs.fill(S(0));
    each(dy.cols(), executor, [&](Index b, LinearScratch<S>& work, ExecutorRef threads) {
      const MatrixView<const S> given = tokens_of(dy, b);
      linear_forward<S>(given, slots_of(outputs, dy.cols(), b), nullptr,
                        weights.dcombine_of(sequences, b), work, threads);
      detail::add_transposed_product<S>(weights.combine_of(sequences, b), given,
                                        slots_of(doutputs, dy.cols(), b), work, threads);
    });
  }

  /// ddispatch = dslots source^T and dsource += dispatch^T dslots; source, dsource [R, D].
  void to_slots_backward(MatrixView<const S> source, MatrixView<S> dsource,
                         const ExecutorRef& executor) {
    weights.ddispatch.resize(source.rows() * weights.slots);
    each(source.cols(), executor, [&](Index b, LinearScratch<S>& work, ExecutorRef threads) {
      const MatrixView<const S> given = slots_of(dslots, source.cols(), b);
      linear_forward<S>(given, tokens_of(source, b), nullptr, weights.ddispatch_of(sequences, b),
                        work, threads);
      detail::add_transposed_product<S>(weights.dispatch_of(sequences, b), given,
                                        tokens_of(dsource, b), work, threads);
    });
  }

 private:
  template <class T>
  MatrixView<T> tokens_of(MatrixView<T> rows, Index b) const {
    return rows.middle_rows(sequences.begin(b), sequences.length(b));
  }
  MatrixView<S> slots_of(Buffer<S>& buffer, Index cols, Index b) const {
    return {buffer.data() + b * weights.slots * cols, weights.slots, cols};
  }
  template <class F>
  void each(Index cols, const ExecutorRef& executor, F&& f) {
    detail::for_sequences<S>(sequences, weights.slots, cols, scratch, executor, f);
  }
};

MOE_NAMESPACE_END
