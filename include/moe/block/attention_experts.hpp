// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Attention experts on one plan: queries x [T, D] -> [T, K * A], and the way out [T, K * A] -> y [T, D].
#pragma once

#include <vector>

#include "moe/core/random.hpp"
#include "moe/kernel/rows.hpp"
#include "moe/plan/combine.hpp"
#include "moe/plan/dispatch.hpp"
#include "moe/router/parameters.hpp"

MOE_NAMESPACE_BEGIN

/// What an attention expert owns: queries and the way out. Keys and values are shared.
template <class S>
struct AttentionExpert {
  AttentionExpert() = default;
  /// Uniform weights in +-1/sqrt(fan in).
  AttentionExpert(Index model_dim, Index width, Random& random)
      : w_q(width, model_dim), w_o(model_dim, width) {
    w_q.init_uniform(random, model_dim);
    w_o.init_uniform(random, width);
  }

  Index width() const { return w_q.value.rows(); }  ///< A, all its heads

  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("w_q"), w_q);
    f(std::string_view("w_o"), w_o);
  }

  Parameter<S> w_q;  ///< [A, D]
  Parameter<S> w_o;  ///< [D, A]
};

/// The rows of the slots, in their order.
template <class S>
struct AttentionSlots {
  Buffer<S> in, out;      ///< [N, D]: x of the slot's token, and what its expert returns
  Buffer<S> query, seen;  ///< [N, A]: the expert's queries, and what these found
  Buffer<S> din, dout, dwidth;
  LinearScratch<S> product;
};

namespace detail {

/// f(e, first slot, slots) for the experts that have any.
template <class F>
void for_each_expert(const Plan& plan, F&& f) {
  for (Index e = 0; e < plan.num_experts(); ++e) {
    if (plan.load(e) > 0) {
      f(static_cast<std::size_t>(e), plan.offset[static_cast<std::size_t>(e)], plan.load(e));
    }
  }
}

/// Where slot s stands in [T, K * A]: its token's row, from column j * A on.
template <class T>
T* place_of_slot(const Plan& plan, Index s, const MatrixView<T>& tokens) {
  const Index origin = plan.origin[static_cast<std::size_t>(s)];
  const Index width = tokens.cols() / plan.top_k;
  return tokens.row(origin / plan.top_k) + origin % plan.top_k * width;
}

template <class S>
void slots_to_tokens(const Plan& plan, MatrixView<const S> slots, MatrixView<S> tokens) {
  for (Index t = 0; t < tokens.rows(); ++t) std::fill_n(tokens.row(t), tokens.cols(), S(0));
  for (Index s = 0; s < slots.rows(); ++s) {
    std::copy_n(slots.row(s), slots.cols(), place_of_slot(plan, s, tokens));
  }
}
template <class S>
void tokens_to_slots(const Plan& plan, MatrixView<const S> tokens, MatrixView<S> slots) {
  for (Index s = 0; s < slots.rows(); ++s) {
    std::copy_n(place_of_slot(plan, s, tokens), slots.cols(), slots.row(s));
  }
}

/// [N, cols], with room for all T * K: another time more may be kept.
template <class S>
MatrixView<S> resize_slots(const Plan& plan, Buffer<S>& rows, Index cols) {
  rows.reserve(plan.tokens * plan.top_k * cols);
  return rows.resize(plan.count(), cols);
}

/// Memory for the products of up to `rows` rows, forward and backward, with matrices of at most
/// `width` rows and columns: another time an expert may have more of the rows.
template <class S>
void reserve_products(Index rows, Index width, const ExecutorRef& executor,
                      LinearScratch<S>& scratch) {
  const Index most = std::max(scratch_for(kernels<S>(), rows, width).total(),
                              scratch_for(kernels<S>(), width, rows).total());
  scratch.packed.reserve(most * executor.size());
}

}  // namespace detail

/// Writes q: the query of a token's j-th expert at columns [j A, (j + 1) A), zero where there is none.
template <class S>
void expert_queries(const std::vector<AttentionExpert<S>>& experts, const Plan& plan,
                    MatrixView<const S> x, MatrixView<S> q, AttentionSlots<S>& slots,
                    const ExecutorRef& executor) {
  const MatrixView<S> in = detail::resize_slots(plan, slots.in, x.cols());
  const MatrixView<S> query = detail::resize_slots(plan, slots.query, experts.front().width());
  dispatch_rows<S>(x, plan.token, in, executor);
  detail::for_each_expert(plan, [&](std::size_t e, Index first, Index rows) {
    linear_forward<S>(in.middle_rows(first, rows), experts[e].w_q.value, nullptr,
                      query.middle_rows(first, rows), slots.product, executor);
  });
  detail::slots_to_tokens<S>(plan, query, q);
}

/// Adds to dx and to the experts' gradients, given dq.
template <class S>
void expert_queries_backward(std::vector<AttentionExpert<S>>& experts, const Plan& plan,
                             MatrixView<const S> dq, MatrixView<S> dx, AttentionSlots<S>& slots,
                             const ExecutorRef& executor) {
  const MatrixView<const S> in(slots.in.data(), plan.count(), dx.cols());
  const MatrixView<S> dquery = detail::resize_slots(plan, slots.dwidth, experts.front().width());
  const MatrixView<S> din = detail::resize_slots(plan, slots.din, dx.cols());
  detail::tokens_to_slots<S>(plan, dq, dquery);
  slots.din.fill(S(0));
  detail::for_each_expert(plan, [&](std::size_t e, Index first, Index rows) {
    detail::linear_backward_into<S>(experts[e].w_q, nullptr, in.middle_rows(first, rows),
                                    dquery.middle_rows(first, rows), din.middle_rows(first, rows),
                                    slots.product, executor);
  });
  dispatch_backward<S>(din, plan, dx, executor);
}

/// Writes y: what a token's experts make of what their queries found, weighted and added up.
template <class S>
void expert_outputs(const std::vector<AttentionExpert<S>>& experts, const Plan& plan,
                    std::span<const S> slot_weight, MatrixView<const S> found, MatrixView<S> y,
                    AttentionSlots<S>& slots, const ExecutorRef& executor) {
  const MatrixView<S> seen = detail::resize_slots(plan, slots.seen, experts.front().width());
  const MatrixView<S> out = detail::resize_slots(plan, slots.out, y.cols());
  detail::tokens_to_slots<S>(plan, found, seen);
  detail::for_each_expert(plan, [&](std::size_t e, Index first, Index rows) {
    linear_forward<S>(seen.middle_rows(first, rows), experts[e].w_o.value, nullptr,
                      out.middle_rows(first, rows), slots.product, executor);
  });
  combine<S>(out, plan, slot_weight, y, executor);
}

/// Writes dfound and dslot_weight, adds to the experts' gradients.
template <class S>
void expert_outputs_backward(std::vector<AttentionExpert<S>>& experts, const Plan& plan,
                             std::span<const S> slot_weight, MatrixView<const S> dy,
                             MatrixView<S> dfound, std::span<S> dslot_weight,
                             AttentionSlots<S>& slots, const ExecutorRef& executor) {
  const Index width = experts.front().width();
  const MatrixView<const S> out(slots.out.data(), plan.count(), dy.cols());
  const MatrixView<const S> seen(slots.seen.data(), plan.count(), width);
  const MatrixView<S> dout = detail::resize_slots(plan, slots.dout, dy.cols());
  const MatrixView<S> dseen = detail::resize_slots(plan, slots.dwidth, width);
  combine_backward<S>(dy, out, plan, slot_weight, dout, dslot_weight, executor);
  slots.dwidth.fill(S(0));
  detail::for_each_expert(plan, [&](std::size_t e, Index first, Index rows) {
    detail::linear_backward_into<S>(experts[e].w_o, nullptr, seen.middle_rows(first, rows),
                                    dout.middle_rows(first, rows), dseen.middle_rows(first, rows),
                                    slots.product, executor);
  });
  detail::slots_to_tokens<S>(plan, dseen, dfound);
}

MOE_NAMESPACE_END
