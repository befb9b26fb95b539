// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A layer for inference alone, its expert weights packed for the kernels: x [T, D] -> y [T, D].
#pragma once

#include <utility>

#include "moe/layer/moe_layer.hpp"
#include "moe/layer/packed_parts.hpp"

MOE_NAMESPACE_BEGIN

/// What `pack` makes of a layer: the same function, without the weights' transposition in every call,
/// and with bfloat16 weights at half the memory. It holds copies of all it needs; the layer it came
/// from may be destroyed. With native weights the results have the same bits as the layer's. Const, and
/// serves many threads, each with its own workspace.
template <class S = float, class RouterType = PackedLinearRouter<S>, class GateType = TopKGate,
          class PackedExperts = PackedFfn<S>>
class PackedLayer : public PackedParts<S, RouterType, GateType, PackedExperts> {
  using Parts = PackedParts<S, RouterType, GateType, PackedExperts>;

 public:
  using Parts::model_dim;

  /// Every intermediate of a forward; see MoeLayer::Workspace.
  struct Workspace : PackedState<S, RouterType, GateType, PackedExperts> {
    using PackedState<S, RouterType, GateType, PackedExperts>::PackedState;
  };

  /// See `pack`. Throws std::invalid_argument when the parts do not fit one another.
  PackedLayer(RouterType router, GateType gate, PackedExperts experts, CapacityOptions capacity)
      : Parts(std::move(router), std::move(gate), std::move(experts), std::move(capacity)) {
    this->check_parts("moe::PackedLayer", "the router's model_dim", model_dim());
  }

  /// As MoeLayer::forward, with the same exceptions.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws,
               const Batch& batch = {}) const {
    detail::check_forward<S>("moe::PackedLayer::forward", model_dim(), x, y, batch);
    route<S>(router_, gate_, capacity_, x, batch, ws);
    experts_forward<S>(experts_, ws.plan, ws.slot_weight.span(), weight_on(gate_), x, y, ws.experts,
                       ws.executor);
  }

 private:
  using Parts::router_, Parts::gate_, Parts::experts_, Parts::capacity_;
};

/// The layer, packed for inference. `type`: native keeps S; bfloat16 (float layers only) rounds the
/// weights to nearest even, and rounds activations where the CPU multiplies bfloat16 pairs. Takes
/// about as long as reading and writing the weights once; threads help. Of experts of several kinds,
/// FFNs are packed and other kinds copied; adapters (LoraFfn, LoraRouter) are merged. A linear
/// router is packed, too, and keeps its type of weights.
template <class S, class RouterType, class GateType, class ExpertType>
PackedLayer<S, detail::packed_router<RouterType>, GateType, detail::packed_experts<ExpertType, S>>
pack(const MoeLayer<S, RouterType, GateType, ExpertType>& layer,
     WeightType type = WeightType::native, ExecutorRef executor = {}) {
  return {detail::pack_router(layer.router(), executor), layer.gate(),
          detail::pack_experts<S>(layer.experts(), "the router's model_dim", layer.model_dim(),
                                  type, executor),
          layer.capacity()};
}

MOE_NAMESPACE_END
