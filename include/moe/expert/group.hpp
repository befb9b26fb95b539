// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// All experts of a layer on one plan: x [T, D] -> y [T, D]. Built-in FFNs in one grouped product,
// experts of several kinds run by run.
#pragma once

#include <numeric>
#include <vector>

#include "moe/expert/run_experts.hpp"
#include "moe/plan/combine.hpp"
#include "moe/plan/dispatch.hpp"

MOE_NAMESPACE_BEGIN

/// Where the gate's weight of a slot is multiplied in: on what the expert returns (almost all
/// models) or on what it is given (Llama 4). Experts are not linear, so the two differ.
enum class WeightOn : std::uint8_t { output, input };

/// Rows side by side in slot order, for weights on the input.
template <class S>
struct SlotRows {
  Buffer<S> in, out;              ///< [N, D]
  Buffer<S> din, dout;            ///< [N, D]
  Buffer<S> ones;                 ///< [N]
  Buffer<std::int32_t> identity;  ///< [N]: slot s reads and writes row s

  void resize_unit_weights(Index n, Index most) {
    ones.reserve(most);
    identity.reserve(most);
    ones.resize(n);
    ones.fill(S(1));
    const auto span = identity.resize(n);
    std::iota(span.begin(), span.end(), 0);
  }
};

/// Memory of the experts' part of one call, for an expert type of any kind.
template <class X, class S>
struct GroupState {
  SlotRows<S> rows;  ///< only used with WeightOn::input
  RunsState<X, S> runs;
};

/// The same for experts that the grouped kernels read directly.
template <class X, class S>
requires GroupedExpert<X, S>
struct GroupState<X, S> {
  SlotRows<S> rows;                           ///< only used with WeightOn::input
  std::vector<FfnPointers<const S>> weights;  ///< [E]
  std::vector<FfnPointers<S>> gradients;      ///< [E]
  FfnScratch<S> scratch;
  FfnSaved<S> saved;

  void collect_weights(const std::vector<X>& experts) {
    weights.clear();
    for (const X& expert : experts) weights.push_back(expert.pointers());
  }
  void collect_gradients(std::vector<X>& experts) {
    gradients.clear();
    for (X& expert : experts) gradients.push_back(expert.gradient_pointers());
  }
};

/// Packed experts need no list of pointers and keep nothing for a backward.
template <class S>
struct GroupState<PackedFfn<S>, S> {
  SlotRows<S> rows;  ///< only used with WeightOn::input
  FfnScratch<S> scratch;
};

namespace detail {

/// What N can grow to at the same T, when fewer are dropped or masked: scratch is reserved for that.
/// A gate with K = E usually lets each token choose freely and few are chosen; room for all T * E
/// would cost E / few times the memory, so there scratch follows N.
inline Index most_slots(const Plan& plan) {
  const bool free_choice = plan.top_k == plan.num_experts() && plan.num_experts() > 8;
  return free_choice ? 0 : std::ssize(plan.slot);
}

/// The slots as rows of their own: slot s reads and writes row s, weight 1.
template <class S>
RowGroups<S> groups_of_slots(const Plan& plan, const SlotRows<S>& rows) {
  return {plan.offset, rows.identity.span(), rows.ones.span(), most_slots(plan), plan.tokens};
}

/// rows.in[s] = x[token of s] times the weight of the slot.
template <class S>
MatrixView<const S> dispatch_weighted(MatrixView<const S> x, const Plan& plan,
                                      std::span<const S> slot_weight, SlotRows<S>& rows,
                                      ExecutorRef executor) {
  const Index most = most_slots(plan);
  rows.in.reserve(most * x.cols());
  rows.out.reserve(most * x.cols());
  const MatrixView<S> in = rows.in.resize(plan.count(), x.cols());
  rows.resize_unit_weights(plan.count(), most);
  spread_rows<S>(x, plan.slot, slot_weight, in, executor);
  return in;
}

}  // namespace detail

/// y[t] = or += sum over the slots of t, experts ascending, of weight * expert(x[t]). `keep`: a
/// backward will follow.
template <class X, class S>
void group_forward(const std::vector<X>& experts, const RowGroups<S>& rows, MatrixView<const S> x,
                   MatrixView<S> y, GroupState<X, S>& state, bool keep, ExecutorRef executor,
                   bool accumulate = false) {
  if constexpr (GroupedExpert<X, S>) {
    state.collect_weights(experts);
    ffn_forward<S>(experts.front().shape(), rows, state.weights, x, y, state.scratch,
                   keep ? &state.saved : nullptr, executor, accumulate);
  } else {
    detail::runs_forward(experts, rows, x, y, accumulate, state.runs, keep, executor);
  }
}

/// Its gradient: adds to dx [T, D] and to the experts' gradients; writes dweight [N].
template <class X, class S>
void group_backward(std::vector<X>& experts, const RowGroups<S>& rows, MatrixView<const S> x,
                    MatrixView<const S> dy, MatrixView<S> dx, std::span<S> dweight,
                    GroupState<X, S>& state, ExecutorRef executor) {
  if constexpr (GroupedExpert<X, S>) {
    state.collect_weights(experts);
    state.collect_gradients(experts);
    ffn_backward<S>(experts.front().shape(), rows, state.weights, x, state.saved, dy, dx,
                    state.gradients, dweight, state.scratch, executor);
  } else {
    detail::runs_backward(experts, rows, x, dy, dx, dweight, state.runs, executor);
  }
}

/// Throws std::invalid_argument unless the experts have the kinds and shapes of those whose forward
/// filled `state`: what it saved fits no others. For layers to ask before they write.
template <class X, class S>
void check_group(std::string_view function, const std::vector<X>& experts,
                 const GroupState<X, S>& state) {
  bool same;
  if constexpr (GroupedExpert<X, S>) {
    same = state.weights.size() == experts.size() && state.saved.shape == experts.front().shape();
  } else {
    same = detail::are_runs_of<S>(experts, state.runs.runs);
  }
  if (!same) {
    detail::fail(function, "the experts are of other kinds or shapes than in the forward");
  }
  if constexpr (!GroupedExpert<X, S>) detail::check_own_states(function, experts, state.runs);
}

/// Throws what the backward of an expert called by itself would, where it can say so beforehand: of a
/// layer inside that was replaced, say. `offset` [E + 1]: only experts that had rows.
template <class X, class S>
void check_experts_backward(std::string_view function, const std::vector<X>& experts,
                            std::span<const std::int32_t> offset, const GroupState<X, S>& state) {
  if constexpr (requires { state.runs.states; }) {
    for (std::size_t e = 0; e < experts.size(); ++e) {
      if (offset[e + 1] == offset[e]) continue;
      detail::visit_kind(experts[e], [&]<class K>(const K& expert) {
        constexpr bool kSays = requires(const typename K::State& own) {
          expert.check_backward(own);
        };
        if constexpr (kSays && !GroupedExpert<K, S>) {
          const auto* own = detail::find_state<K>(state.runs.states[e]);
          if (own == nullptr) {
            detail::fail(function, "expert ", e, " is of another kind than in the forward");
          }
          expert.check_backward(*own);
        }
      });
    }
  }
}

/// The same with packed experts, for inference.
template <class S>
void group_forward(const PackedFfn<S>& experts, const RowGroups<S>& rows, MatrixView<const S> x,
                   MatrixView<S> y, GroupState<PackedFfn<S>, S>& state, bool, ExecutorRef executor,
                   bool accumulate = false) {
  ffn_forward<S>(experts, rows, x, y, state.scratch, executor, accumulate);
}

namespace detail {

template <class S>
RowGroups<S> groups_of_plan(const Plan& plan, std::span<const S> slot_weight) {
  return {plan.offset, plan.token, slot_weight, most_slots(plan)};
}

/// The experts' forward on a plan, in whichever way they are held.
template <class S, class Experts, class State>
void plan_forward(const Experts& experts, const Plan& plan, std::span<const S> slot_weight,
                  WeightOn weight_on, MatrixView<const S> x, MatrixView<S> y, State& state,
                  bool keep, ExecutorRef executor) {
  if (weight_on == WeightOn::output) {
    group_forward(experts, groups_of_plan(plan, slot_weight), x, y, state, keep, executor);
    return;
  }
  SlotRows<S>& rows = state.rows;
  const MatrixView<const S> in = dispatch_weighted<S>(x, plan, slot_weight, rows, executor);
  const MatrixView<S> out = rows.out.resize(plan.count(), x.cols());
  group_forward(experts, groups_of_slots(plan, rows), in, out, state, keep, executor);
  combine<S>(out, plan, rows.ones.span(), y, executor);
}

}  // namespace detail

/// y[t] = sum over the experts of t, ascending, of weight * expert(x[t]), or of expert(weight *
/// x[t]). `keep`: a backward will follow.
template <class X, class S>
void experts_forward(const std::vector<X>& experts, const Plan& plan,
                     std::span<const S> slot_weight, WeightOn weight_on, MatrixView<const S> x,
                     MatrixView<S> y, GroupState<X, S>& state, bool keep, ExecutorRef executor) {
  detail::plan_forward(experts, plan, slot_weight, weight_on, x, y, state, keep, executor);
}

/// The same with packed experts, for inference.
template <class S, class Packed>
void experts_forward(const Packed& experts, const Plan& plan, std::span<const S> slot_weight,
                     WeightOn weight_on, MatrixView<const S> x, MatrixView<S> y,
                     GroupState<Packed, S>& state, ExecutorRef executor) {
  detail::plan_forward(experts, plan, slot_weight, weight_on, x, y, state, false, executor);
}

/// Adds to dx [T, D] and to the experts' gradients; writes dslot_weight [N]. The experts are those of
/// the forward, see check_group.
template <class X, class S>
void experts_backward(std::vector<X>& experts, const Plan& plan, std::span<const S> slot_weight,
                      WeightOn weight_on, MatrixView<const S> x, MatrixView<const S> dy,
                      MatrixView<S> dx, std::span<S> dslot_weight, GroupState<X, S>& state,
                      ExecutorRef executor) {
  if (weight_on == WeightOn::output) {
    group_backward(experts, detail::groups_of_plan(plan, slot_weight), x, dy, dx, dslot_weight,
                   state, executor);
    return;
  }
  SlotRows<S>& rows = state.rows;
  const MatrixView<const S> in(rows.in.data(), plan.count(), x.cols());
  rows.dout.reserve(detail::most_slots(plan) * x.cols());
  rows.din.reserve(detail::most_slots(plan) * x.cols());
  const MatrixView<S> dout = rows.dout.resize(plan.count(), x.cols());
  const MatrixView<S> din = rows.din.resize(plan.count(), x.cols());
  dispatch<S>(dy, plan, dout, executor);  // the gradient of a sum without weights
  detail::clear_rows(din);
  group_backward(experts, detail::groups_of_slots(plan, rows), in, MatrixView<const S>(dout), din,
                 dslot_weight, state, executor);
  detail::unscale_rows<S>(x, plan.token, slot_weight, din, dslot_weight, executor);
  dispatch_backward<S>(din, plan, dx, executor);
}

MOE_NAMESPACE_END
