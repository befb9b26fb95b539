// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A latent layer for inference alone, projections and expert weights packed: x [T, D] -> y [T, D].
#pragma once

#include <utility>

#include "moe/layer/latent.hpp"
#include "moe/layer/packed_parts.hpp"

MOE_NAMESPACE_BEGIN

/// What `pack` makes of a LatentLayer; as PackedLayer.
template <class S, class RouterType, class GateType, class PackedExperts>
class PackedLatentLayer : public PackedParts<S, RouterType, GateType, PackedExperts> {
  using Parts = PackedParts<S, RouterType, GateType, PackedExperts>;

 public:
  using Parts::model_dim;

  struct Workspace : PackedState<S, RouterType, GateType, PackedExperts>, LatentRows<S> {
    using PackedState<S, RouterType, GateType, PackedExperts>::PackedState;
  };

  /// See `pack`; down: L outputs, up: L inputs. Throws std::invalid_argument when the parts do not fit
  /// one another.
  PackedLatentLayer(RouterType router, GateType gate, PackedLinear<S> down, PackedLinear<S> up,
                    PackedExperts experts, CapacityOptions capacity)
      : Parts(std::move(router), std::move(gate), std::move(experts), std::move(capacity)),
        down_(std::move(down)),
        up_(std::move(up)) {
    constexpr auto* kWhere = "moe::PackedLatentLayer";
    const auto check = [&](std::string_view name, Index size, std::string_view what,
                           std::string_view owner, Index expected) {
      detail::check_size(kWhere, name, size, what, owner, expected);
    };
    check("down", down_.inputs(), "columns", "the router's model_dim", model_dim());
    check("up", up_.outputs(), "rows", "the router's model_dim", model_dim());
    check("up", up_.inputs(), "columns", "the latent width", latent_dim());
    this->check_parts(kWhere, "the latent width", latent_dim());
  }

  Index latent_dim() const { return down_.outputs(); }

  /// Bytes of the packed weights, the projections' included.
  std::size_t bytes() const { return Parts::bytes() + down_.bytes() + up_.bytes(); }

  /// As LatentLayer::forward, with the same exceptions.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws,
               const Batch& batch = {}) const {
    detail::check_forward<S>("moe::PackedLatentLayer::forward", model_dim(), x, y, batch);
    detail::latent_forward<S>(this->router_, this->gate_, this->capacity_, latent_dim(), down_, up_,
                              this->experts_, x, y, ws, batch, /*keep=*/false);
  }

 private:
  PackedLinear<S> down_, up_;
};

/// The layer, packed for inference; see pack(MoeLayer). bfloat16 rounds the projections, too.
template <class S, class RouterType, class GateType, class ExpertType>
PackedLatentLayer<S, detail::packed_router<RouterType>, GateType,
                  detail::packed_experts<ExpertType, S>>
pack(const LatentLayer<S, RouterType, GateType, ExpertType>& layer,
     WeightType type = WeightType::native, ExecutorRef executor = {}) {
  constexpr auto* kWhere = "moe::pack";
  const Matrix<S>&down = layer.down().value, &up = layer.up().value;
  detail::check_shape<const S>(kWhere, "down", down, layer.latent_dim(), layer.model_dim());
  detail::check_shape<const S>(kWhere, "up", up, layer.model_dim(), layer.latent_dim());
  return {detail::pack_router(layer.router(), executor),
          layer.gate(),
          PackedLinear<S>(down, type, executor),
          PackedLinear<S>(up, type, executor),
          detail::pack_experts<S>(layer.experts(), "the latent width", layer.latent_dim(), type,
                                  executor),
          layer.capacity()};
}

MOE_NAMESPACE_END
