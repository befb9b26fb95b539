// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A dense layer for inference alone, its expert weights packed: x [T, D] -> y [T, D].
#pragma once

#include <utility>

#include "moe/layer/dense_layer.hpp"
#include "moe/layer/packed_parts.hpp"

MOE_NAMESPACE_BEGIN

/// What `pack` makes of a DenseLayer; as PackedLayer.
template <class S, class RouterType, class PackedExperts>
class PackedDenseLayer : public PackedParts<S, RouterType, DenseGate, PackedExperts> {
  using Parts = PackedParts<S, RouterType, DenseGate, PackedExperts>;

 public:
  using Parts::model_dim;

  struct Workspace : PackedState<S, RouterType, DenseGate, PackedExperts> {
    using PackedState<S, RouterType, DenseGate, PackedExperts>::PackedState;
  };

  /// See `pack`. Throws std::invalid_argument when the parts do not fit one another.
  PackedDenseLayer(RouterType router, DenseGate gate, PackedExperts experts)
      : Parts(std::move(router), std::move(gate), std::move(experts), {}) {
    this->check_parts("moe::PackedDenseLayer", "the router's model_dim", model_dim());
  }

  /// As DenseLayer::forward, with the same exceptions.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws,
               const Batch& batch = {}) const {
    detail::check_forward<S>("moe::PackedDenseLayer::forward", model_dim(), x, y, batch);
    detail::dense_forward<S>(this->router_, this->gate_, this->experts_, x, y, ws, batch,
                             /*keep=*/false);
  }
};

/// The layer, packed for inference; see pack(MoeLayer).
template <class S, class RouterType, class ExpertType>
PackedDenseLayer<S, detail::packed_router<RouterType>, detail::packed_experts<ExpertType, S>> pack(
    const DenseLayer<S, RouterType, ExpertType>& layer, WeightType type = WeightType::native,
    ExecutorRef executor = {}) {
  return {detail::pack_router(layer.router(), executor), layer.gate(),
          detail::pack_experts<S>(layer.experts(), "the router's model_dim", layer.model_dim(),
                                  type, executor)};
}

MOE_NAMESPACE_END
