// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A concatenating layer for inference alone, its expert weights packed: x [T, D] -> y [T, K D].
#pragma once

#include <utility>

#include "moe/layer/concat.hpp"
#include "moe/layer/packed_parts.hpp"

MOE_NAMESPACE_BEGIN

/// What `pack` makes of a ConcatLayer; as PackedLayer.
template <class S, class RouterType, class GateType, class PackedExperts>
class PackedConcatLayer : public PackedParts<S, RouterType, GateType, PackedExperts> {
  using Parts = PackedParts<S, RouterType, GateType, PackedExperts>;

 public:
  using Parts::model_dim, Parts::top_k;

  struct Workspace : PackedState<S, RouterType, GateType, PackedExperts> {
    using PackedState<S, RouterType, GateType, PackedExperts>::PackedState;
    SlotRows<S> rows;
  };

  /// See `pack`. Throws std::invalid_argument when the parts do not fit one another.
  PackedConcatLayer(RouterType router, GateType gate, PackedExperts experts,
                    CapacityOptions capacity)
      : Parts(std::move(router), std::move(gate), std::move(experts), std::move(capacity)) {
    constexpr auto* kWhere = "moe::PackedConcatLayer";
    this->check_parts(kWhere, "the router's model_dim", model_dim());
    detail::check_weight_on_output(kWhere, this->gate_);
  }

  Index output_dim() const { return top_k() * model_dim(); }  ///< K D

  /// As ConcatLayer::forward, with the same exceptions.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws,
               const Batch& batch = {}) const {
    detail::check_concat_forward<S>("moe::PackedConcatLayer::forward", model_dim(), top_k(), x, y,
                                    batch);
    detail::concat_forward<S>(this->router_, this->gate_, this->capacity_, this->experts_, x, y, ws,
                              batch, /*keep=*/false);
  }
};

/// The layer, packed for inference; see pack(MoeLayer).
template <class S, class RouterType, class GateType, class ExpertType>
PackedConcatLayer<S, detail::packed_router<RouterType>, GateType,
                  detail::packed_experts<ExpertType, S>>
pack(const ConcatLayer<S, RouterType, GateType, ExpertType>& layer,
     WeightType type = WeightType::native, ExecutorRef executor = {}) {
  return {detail::pack_router(layer.router(), executor), layer.gate(),
          detail::pack_experts<S>(layer.experts(), "the router's model_dim", layer.model_dim(),
                                  type, executor),
          layer.capacity()};
}

MOE_NAMESPACE_END
