// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What layers share before their experts run: x [T, D] -> logits -> Routing -> Plan, and the checks.
#pragma once

#include <limits>

#include "moe/core/executor.hpp"
#include "moe/expert/group.hpp"
#include "moe/plan/combine.hpp"

MOE_NAMESPACE_BEGIN

/// The intermediates from x to the plan.
template <class S, class RouterType, class GateType>
struct RouteState {
  explicit RouteState(ExecutorRef threads = {}) : executor(threads) {}

  ExecutorRef executor;
  Buffer<S> logits;       ///< [T, E]
  Routing<S> routing;     ///< who is chosen
  Plan plan;              ///< who is kept
  Buffer<S> slot_weight;  ///< [N]
  typename RouterType::State router_state;
  typename GateType::State gate_state;
};

/// Router, gate, plan. Throws std::invalid_argument if the gate names an expert that does not exist.
template <class S, class RouterType, class GateType>
void route(const RouterType& router, const GateType& gate, const CapacityOptions& capacity,
           MatrixView<const S> x, const Batch& batch, RouteState<S, RouterType, GateType>& state) {
  const Index experts = router.num_experts();
  const MatrixView<S> logits = state.logits.resize(x.rows(), experts);
  router.forward(x, logits, batch, state.router_state, state.executor);

  state.routing.resize(x.rows(), gate.top_k(), experts);
  gate.forward(MatrixView<const S>(logits), state.routing, batch, state.gate_state);
  state.routing.clear_padding(batch);

  make_plan(state.routing, capacity, batch, state.plan);
  state.slot_weight.reserve(x.rows() * gate.top_k());  // another time more may be kept
  gather_slot_weights<S>(state.routing, state.plan, state.slot_weight.resize(state.plan.count()));
}

/// Where the gate's weights go: unless it says otherwise, on what the experts return.
template <class GateType>
WeightOn weight_on(const GateType& gate) {
  if constexpr (requires { gate.weight_on_input(); }) {
    if (gate.weight_on_input()) return WeightOn::input;
  }
  return WeightOn::output;
}

namespace detail {

/// Do router, gate and capacity fit a layer of so many experts? Asked by constructors and, since all
/// parts can be replaced, by every call.
template <class RouterType, class GateType>
void check_routing_parts(std::string_view function, const RouterType& router, const GateType& gate,
                         Index num_experts, const CapacityOptions& capacity) {
  check_positive(function, "the number of experts", num_experts);
  check_top_k(function, {router.model_dim(), 1, num_experts, gate.top_k()});
  check_size(function, "the router", router.num_experts(), "outputs", "the number of experts",
             num_experts);
  if constexpr (requires { router.check_shapes(function); }) router.check_shapes(function);
  if constexpr (requires { gate.num_experts(); }) {
    check_size(function, "the gate", gate.num_experts(), "experts", "the number of experts",
               num_experts);
  }
  check_capacity(function, capacity);
  if (!capacity.share.empty()) {
    check_size(function, "the capacity's share", std::ssize(capacity.share), "values",
               "the number of experts", num_experts);
  }
}

/// Lengths of sequences, when there are any, are not negative and add up to T.
inline void check_sequences(std::string_view function, const Batch& batch, Index tokens) {
  if (batch.sequence_lengths.empty()) return;
  Index sum = 0;
  for (const Index length : batch.sequence_lengths) {
    if (length < 0) fail(function, "a sequence length is ", length, ", expected at least 0");
    if (length > std::numeric_limits<Index>::max() - sum) {
      fail(function, "the sequence_lengths add up to more than there can be rows of x");
    }
    sum += length;
  }
  check_size(function, "the sum of sequence_lengths", sum, "tokens", "the number of rows of x",
             tokens);
}

/// What a batch says must be said of all of its tokens.
inline void check_batch(std::string_view function, const Batch& batch, Index tokens) {
  const auto check_span = [&](std::string_view what, std::size_t size) {
    if (size != 0) {
      check_size(function, what, static_cast<Index>(size), "values", "the number of tokens",
                 tokens);
    }
  };
  check_span("mask", batch.mask.size());
  check_span("token_ids", batch.token_ids.size());
  check_span("token_places", batch.token_places.size());
  check_sequences(function, batch, tokens);
}

/// The checks of every layer's forward, before anything is written.
template <class S>
void check_forward(std::string_view function, Index model_dim, MatrixView<const S> x,
                   MatrixView<S> y, const Batch& batch) {
  check_size(function, "x", x.cols(), "columns", "the layer's model_dim", model_dim);
  check_shape(function, "y", y, x.rows(), model_dim);
  check_no_alias(function, "x", x, "y", y);
  check_batch(function, batch, x.rows());
}

/// A tape must wait for the layer that filled it.
inline void check_filled(std::string_view function, std::uint64_t filled_by,
                         std::uint64_t layer_id) {
  if (filled_by == 0) {
    fail(function, "the tape is empty, expected one training forward before each backward");
  }
  if (filled_by != layer_id) {
    fail(function, "the tape was filled by layer #", filled_by,
         ", expected one filled by this layer, #", layer_id);
  }
}

/// The shapes of every layer's backward, before anything is changed.
template <class S>
void check_backward_shapes(std::string_view function, MatrixView<const S> dy, MatrixView<S> dx,
                           Index tokens, Index model_dim) {
  check_shape(function, "dy", dy, tokens, model_dim);
  check_shape(function, "dx", dx, tokens, model_dim);
  check_no_alias(function, "dy", dy, "dx", dx);
}

}  // namespace detail
MOE_NAMESPACE_END
