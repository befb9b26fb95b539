// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A layer with a shared expert for inference alone, all weights packed: x [T, D] -> y [T, D].
#pragma once

#include <utility>

#include "moe/layer/packed_layer.hpp"
#include "moe/layer/shared.hpp"

MOE_NAMESPACE_BEGIN

/// What `pack` makes of a SharedLayer: the packed layer, and the shared expert packed too. As
/// PackedLayer, it holds copies of all it needs and serves many threads.
template <class LayerType>
class PackedSharedLayer {
 public:
  using Scalar = typename LayerType::Scalar;

 private:
  using S = Scalar;

 public:
  struct Workspace : LayerType::Workspace {
    using LayerType::Workspace::Workspace;
    SharedRows<S> shared_rows;
    GroupState<PackedFfn<S>, S> shared_expert;
  };

  /// See `pack`. `shared`: one expert. `gate`: [D] or empty. Throws std::invalid_argument when they
  /// do not fit one another.
  PackedSharedLayer(LayerType layer, PackedFfn<S> shared, RowVector<S> gate = {})
      : layer_(std::move(layer)), shared_(std::move(shared)), gate_(std::move(gate)) {
    constexpr auto* kWhere = "moe::PackedSharedLayer";
    detail::check_size(kWhere, "the shared part", shared_.num_experts(), "experts",
                       "the number it must be", 1);
    detail::check_size(kWhere, "the shared expert", shared_.shape().model_dim, "columns",
                       "the layer's model_dim", model_dim());
    if (gate_.size() != 0) {
      detail::check_size(kWhere, "the shared gate", gate_.size(), "values", "the layer's model_dim",
                         model_dim());
    }
  }

  Index model_dim() const { return layer_.model_dim(); }
  const LayerType& layer() const { return layer_; }

  /// Bytes of the packed expert weights, the shared expert's included.
  std::size_t bytes() const { return layer_.bytes() + shared_.bytes(); }

  /// As SharedLayer::forward, with the same exceptions.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws,
               const Batch& batch = {}) const {
    layer_.forward(x, y, ws, batch);
    ws.shared_rows.fill(x, gate_.size() != 0 ? gate_.data() : nullptr, batch);
    group_forward(shared_, ws.shared_rows.groups(), x, y, ws.shared_expert, /*keep=*/false,
                  ws.executor, /*accumulate=*/true);
  }

 private:
  LayerType layer_;
  PackedFfn<S> shared_;
  RowVector<S> gate_;
};

/// The layer and its shared expert, packed for inference; see pack(MoeLayer).
template <class LayerType, class ExpertType>
requires GroupedExpert<ExpertType, typename LayerType::Scalar>
auto pack(const SharedLayer<LayerType, ExpertType>& layer, WeightType type = WeightType::native,
          ExecutorRef executor = {}) {
  using S = typename LayerType::Scalar;
  const ExpertType& shared = layer.shared_expert();
  detail::check_expert<S>("moe::pack", "the shared expert", shared, "the layer's model_dim",
                          layer.model_dim());
  PackedFfn<S> packed_shared(shared.shape(), 1, type);
  detail::pack_ffn(shared, 0, packed_shared, executor);
  auto packed = pack(layer.layer(), type, executor);
  RowVector<S> gate;
  if (!layer.shared_gate().empty()) gate = layer.shared_gate().value.row(0);
  return PackedSharedLayer<decltype(packed)>(std::move(packed), std::move(packed_shared),
                                             std::move(gate));
}

MOE_NAMESPACE_END
