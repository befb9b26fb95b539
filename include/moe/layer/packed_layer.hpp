// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A layer for inference alone, its expert weights packed for the kernels: x [T, D] -> y [T, D].
#pragma once

#include <utility>

#include "moe/expert/packed_runs.hpp"
#include "moe/layer/moe_layer.hpp"

MOE_NAMESPACE_BEGIN

/// What `pack` makes of a layer whose experts are built-in FFNs, or of several kinds: the same function, without the weights'
/// transposition in every call, and with bfloat16 weights at half the memory. It holds copies of all
/// it needs; the layer it came from may be destroyed. With native weights the results have the same
/// bits as the layer's. Const, and serves many threads, each with its own workspace.
template <class S = float, class RouterType = LinearRouter<S>, class GateType = TopKGate,
          class PackedExperts = PackedFfn<S>>
class PackedLayer {
 public:
  using Scalar = S;

  /// Every intermediate of a forward; see MoeLayer::Workspace.
  struct Workspace : RouteState<S, RouterType, GateType> {
    using RouteState<S, RouterType, GateType>::RouteState;
    GroupState<PackedExperts, S> experts;
  };

  /// See `pack`. Throws std::invalid_argument when the parts do not fit one another.
  PackedLayer(RouterType router, GateType gate, PackedExperts experts, CapacityOptions capacity)
      : router_(std::move(router)),
        gate_(std::move(gate)),
        experts_(std::move(experts)),
        capacity_(std::move(capacity)) {
    constexpr auto* kWhere = "moe::PackedLayer";
    detail::check_routing_parts(kWhere, router_, gate_, experts_.num_experts(), capacity_);
    if constexpr (requires { experts_.shape(); }) {
      detail::check_size(kWhere, "the experts' input", experts_.shape().model_dim, "columns",
                         "the router's model_dim", router_.model_dim());
    }
  }

  Index model_dim() const { return router_.model_dim(); }
  Index num_experts() const { return router_.num_experts(); }
  Index top_k() const { return gate_.top_k(); }
  const RouterType& router() const { return router_; }
  const GateType& gate() const { return gate_; }

  /// Bytes of the packed expert weights.
  std::size_t bytes() const { return experts_.bytes(); }

  /// As MoeLayer::forward, with the same exceptions.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws,
               const Batch& batch = {}) const {
    detail::check_forward<S>("moe::PackedLayer::forward", model_dim(), x, y, batch);
    route<S>(router_, gate_, capacity_, x, batch, ws);
    experts_forward<S>(experts_, ws.plan, ws.slot_weight.span(), weight_on(gate_), x, y, ws.experts,
                       ws.executor);
  }

 private:
  RouterType router_;
  GateType gate_;
  PackedExperts experts_;
  CapacityOptions capacity_;
};

/// The layer, packed for inference. `type`: native keeps S; bfloat16 (float layers only) rounds the
/// weights to nearest even, and rounds activations where the CPU multiplies bfloat16 pairs. Takes
/// about as long as reading and writing the weights once; threads help.
template <class S, class RouterType, class GateType, class ExpertType>
requires GroupedExpert<ExpertType, S> PackedLayer<S, RouterType, GateType> pack(
    const MoeLayer<S, RouterType, GateType, ExpertType>& layer,
    WeightType type = WeightType::native, ExecutorRef executor = {}) {
  std::vector<FfnPointers<const S>> weights;
  for (Index e = 0; e < layer.num_experts(); ++e) {
    layer.expert(e).check_shapes("moe::pack", layer.expert(0).shape());
  }
  for (Index e = 0; e < layer.num_experts(); ++e) weights.push_back(layer.expert(e).pointers());
  return {layer.router(), layer.gate(),
          PackedFfn<S>(layer.expert(0).shape(), weights, type, executor), layer.capacity()};
}

/// The same for a layer of experts of several kinds: runs of FFNs are packed, other kinds copied.
template <class S, class RouterType, class GateType, class ExpertType>
requires(!GroupedExpert<ExpertType, S>)
    PackedLayer<S, RouterType, GateType, PackedRuns<ExpertType, S>> pack(
        const MoeLayer<S, RouterType, GateType, ExpertType>& layer,
        WeightType type = WeightType::native, ExecutorRef executor = {}) {
  std::vector<const ExpertType*> experts;
  for (Index e = 0; e < layer.num_experts(); ++e) {
    detail::visit_kind(layer.expert(e), [&](const auto& expert) {
      detail::check_expert<S>("moe::pack", e, expert, "the router's model_dim", layer.model_dim());
    });
    experts.push_back(&layer.expert(e));
  }
  return {layer.router(), layer.gate(), PackedRuns<ExpertType, S>(experts, type, executor),
          layer.capacity()};
}

MOE_NAMESPACE_END
