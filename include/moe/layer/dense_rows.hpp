// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every expert on every token, weighted: x [T, D] -> y [T, D], slot weights [E, R], R real tokens.
#pragma once

#include <numeric>
#include <vector>

#include "moe/expert/group.hpp"

MOE_NAMESPACE_BEGIN

/// The plan in which every expert computes every real token of T: slot e * R + r is the r-th real
/// token at expert e. Nothing is counted or sorted. Throws std::invalid_argument from 2^31 slots on.
inline void plan_everything(Index tokens, Index experts, const Batch& batch, Plan& plan) {
  const Index assignments = tokens * experts;
  if (assignments > std::numeric_limits<std::int32_t>::max()) {
    detail::fail("moe::plan_everything", "tokens * experts is ", assignments,
                 ", expected less than 2^31");
  }
  const auto size = static_cast<std::size_t>(assignments);
  plan.tokens = tokens;
  plan.top_k = experts;
  plan.capacity = std::numeric_limits<Index>::max();
  plan.rules = {};
  plan.token.reserve(size);  // another time less may be padding
  plan.origin.reserve(size);
  plan.token.clear();
  for (Index t = 0; t < tokens; ++t) {
    if (!batch.is_padding(t)) plan.token.push_back(static_cast<std::int32_t>(t));
  }
  const std::size_t real = plan.token.size();
  plan.demanded.assign(static_cast<std::size_t>(experts), static_cast<std::int32_t>(real));
  plan.fill = plan.demanded;
  plan.offset.resize(static_cast<std::size_t>(experts) + 1);
  plan.token.resize(real * static_cast<std::size_t>(experts));
  plan.origin.resize(plan.token.size());
  plan.slot.assign(size, -1);
  plan.outcome.assign(size, Outcome::none);
  for (std::size_t e = 0; e <= static_cast<std::size_t>(experts); ++e) {
    plan.offset[e] = static_cast<std::int32_t>(e * real);
    for (std::size_t r = 0; r < real && e < static_cast<std::size_t>(experts); ++r) {
      const std::size_t s = e * real + r;
      const std::int32_t token = plan.token[r];
      const std::size_t a = static_cast<std::size_t>(token) * static_cast<std::size_t>(experts) + e;
      plan.token[s] = token;
      plan.origin[s] = static_cast<std::int32_t>(a);
      plan.slot[a] = static_cast<std::int32_t>(s);
      plan.outcome[a] = Outcome::kept;
    }
  }
}

/// slot_weight[e * R + r] = the weight of expert e for the r-th real token; routing names the experts
/// of a token in order.
template <class S>
void transpose_weights(const Routing<S>& routing, const Plan& plan, std::span<S> slot_weight) {
  for (Index e = 0; e < plan.num_experts(); ++e) {
    const auto first = static_cast<std::size_t>(plan.offset[static_cast<std::size_t>(e)]);
    for (std::size_t s = first; s < first + static_cast<std::size_t>(plan.load(e)); ++s) {
      slot_weight[s] = routing.weight(plan.token[s], e);
    }
  }
}

/// Memory of the experts' part of one dense call. Experts of a user's type share one copy of the
/// tokens, none when there is no padding.
template <class X, class S>
struct DenseRows {
  Buffer<S> in;                           ///< [R, D], the real tokens, when some are padding
  Buffer<S> out;                          ///< [E * R, D] for a backward, else [R, D]
  Buffer<S> dout, din;                    ///< [R, D]
  std::vector<typename X::State> states;  ///< [E]
};

/// The same for experts that the grouped kernels read directly.
template <class X, class S>
requires GroupedExpert<X, S>
struct DenseRows<X, S> : GroupState<X, S> {
};

namespace detail {

/// Scratch is for the plan without padding, whatever the mask: the next call may have none.
template <class S>
RowGroups<S> every_row(const Plan& plan, std::span<const S> slot_weight) {
  return {plan.offset, plan.token, slot_weight, std::ssize(plan.slot)};
}

/// The real tokens as rows side by side: x itself, or a copy without the padding.
template <class X, class S>
MatrixView<const S> real_rows(MatrixView<const S> x, const Plan& plan, DenseRows<X, S>& state) {
  const Index real = plan.load(0);
  if (real == x.rows()) return x;
  state.in.reserve(x.size());
  const MatrixView<S> in = state.in.resize(real, x.cols());
  for (Index r = 0; r < real; ++r) {
    std::copy_n(x.row(plan.token[static_cast<std::size_t>(r)]), x.cols(), in.row(r));
  }
  return in;
}

}  // namespace detail

/// y[t] = sum over e ascending of weight * expert_e(x[t]); zero for padding. `keep`: a backward will
/// follow.
template <class X, class S>
void dense_forward(const std::vector<X>& experts, const Plan& plan, std::span<const S> slot_weight,
                   MatrixView<const S> x, MatrixView<S> y, DenseRows<X, S>& state, bool keep,
                   ExecutorRef executor) {
  if constexpr (GroupedExpert<X, S>) {
    state.collect_weights(experts);
    ffn_forward<S>(experts.front().shape(), detail::every_row<S>(plan, slot_weight), state.weights,
                   x, y, state.scratch, keep ? &state.saved : nullptr, executor);
  } else {
    const MatrixView<const S> in = detail::real_rows<X, S>(x, plan, state);
    const Index real = in.rows(), parts = keep ? static_cast<Index>(experts.size()) : 1;
    state.out.reserve(parts * x.size());
    const MatrixView<S> all = state.out.resize(parts * real, x.cols());
    state.states.resize(experts.size());
    for (Index t = 0; t < y.rows(); ++t) std::fill_n(y.row(t), y.cols(), S(0));
    for (std::size_t e = 0; e < experts.size() && real > 0; ++e) {
      const Index first = static_cast<Index>(e) * real;
      const MatrixView<S> out = all.middle_rows(keep ? first : 0, real);
      experts[e].forward(in, out, state.states[e]);
      for (Index r = 0; r < real; ++r) {
        const auto s = static_cast<std::size_t>(first + r);
        S* sum = y.row(plan.token[s]);
        for (Index d = 0; d < y.cols(); ++d) sum[d] += slot_weight[s] * out(r, d);
      }
    }
  }
}

/// Adds to dx [T, D] and to the experts' gradients; writes dslot_weight [E * R].
template <class X, class S>
void dense_backward(std::vector<X>& experts, const Plan& plan, std::span<const S> slot_weight,
                    MatrixView<const S> x, MatrixView<const S> dy, MatrixView<S> dx,
                    std::span<S> dslot_weight, DenseRows<X, S>& state, ExecutorRef executor) {
  if constexpr (GroupedExpert<X, S>) {
    state.collect_weights(experts);
    state.collect_gradients(experts);
    ffn_backward<S>(experts.front().shape(), detail::every_row<S>(plan, slot_weight), state.weights,
                    x, state.saved, dy, dx, state.gradients, dslot_weight, state.scratch, executor);
  } else {
    const Index real = plan.load(0), cols = x.cols();
    const MatrixView<const S> in =
        real == x.rows() ? x : MatrixView<const S>(state.in.data(), real, cols);
    state.dout.reserve(x.size());
    state.din.reserve(x.size());
    const MatrixView<S> dout = state.dout.resize(real, cols), din = state.din.resize(real, cols);
    const auto dot = detail::kernels<S>().dot;
    for (std::size_t e = 0; e < experts.size() && real > 0; ++e) {
      const Index first = static_cast<Index>(e) * real;
      for (Index r = 0; r < real; ++r) {
        const auto s = static_cast<std::size_t>(first + r);
        const S* given = dy.row(plan.token[s]);
        dslot_weight[s] = dot(state.out.data() + (first + r) * cols, given, cols);
        for (Index d = 0; d < cols; ++d) dout(r, d) = slot_weight[s] * given[d];
      }
      experts[e].backward(in, dout, din, state.states[e]);
      for (Index r = 0; r < real; ++r) {
        S* sum = dx.row(plan.token[static_cast<std::size_t>(first + r)]);
        for (Index d = 0; d < cols; ++d) sum[d] += din(r, d);
      }
    }
  }
}

MOE_NAMESPACE_END
