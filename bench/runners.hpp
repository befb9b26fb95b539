// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Our side of the contest: the layer with packed weights, and on its row-major ones.
#pragma once

#include "moe/layer/packed_layer.hpp"
#include "peaks.hpp"
#include "random_layer.hpp"

namespace bench {

inline moe::ExecutorRef executor(int threads) {
  return threads == 1 ? moe::ExecutorRef() : moe::ExecutorRef(pool(threads));
}

/// Our layers behind the contestants' interface. They route by themselves: the routing in a call
/// came from the same router.
template <class Expert>
class LayerRunner : public Contestant {
 public:
  explicit LayerRunner(const std::vector<LayerOf<Expert>>& layers) : layers_(layers) {}

  void set_threads(int count) override { workspace_.executor = executor(count); }

  void run(const Call& call) override {
    const auto& layer = layers_[call.layer];
    layer.forward(moe::MatrixView<const float>(call.x, call.tokens, layer.model_dim()),
                  moe::MatrixView<float>(call.y, call.tokens, layer.model_dim()), workspace_);
  }

 private:
  const std::vector<LayerOf<Expert>>& layers_;
  typename LayerOf<Expert>::Workspace workspace_;
};

template <class Expert>
class PackedRunner : public Contestant {
 public:
  PackedRunner(const LayerOf<Expert>& layer, Dtype dtype, Index copies) {
    const auto type = dtype == Dtype::f32 ? moe::WeightType::native : moe::WeightType::bfloat16;
    while (std::ssize(layers_) < copies) layers_.push_back(moe::pack(layer, type));
  }

  void set_threads(int count) override { workspace_.executor = executor(count); }

  void run(const Call& call) override {
    const auto& layer = layers_[call.layer];
    layer.forward(moe::MatrixView<const float>(call.x, call.tokens, layer.model_dim()),
                  moe::MatrixView<float>(call.y, call.tokens, layer.model_dim()), workspace_);
  }

 private:
  using Layer = decltype(moe::pack(std::declval<const LayerOf<Expert>&>()));
  std::vector<Layer> layers_;
  typename Layer::Workspace workspace_;
};

}  // namespace bench
