// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The layers of a shape, in the copies and weight types that the contestants need.
#pragma once

#include <memory>

#include "reference.hpp"
#include "runners.hpp"

namespace bench {

/// One shape and weight type: `copies` layers with the same weights in different memory, so that a
/// cold row can go round more memory than the caches hold.
class LayerSet {
 public:
  virtual ~LayerSet() = default;
  virtual Problem problem() const = 0;
  virtual std::vector<FloatExpert> float_experts() const = 0;
  /// Router, gate and plan alone.
  virtual const moe::Routing<float>& route(const Batch& batch, Index tokens, int threads) = 0;
  /// The layer with packed weights, as inference uses it.
  virtual std::unique_ptr<Contestant> make_packed() const = 0;
  /// The layer on its row-major float weights, packed on the fly, as training's forward does it.
  virtual std::unique_ptr<Contestant> make_unpacked() const = 0;
};

template <class Expert>
class Layers : public LayerSet {
 public:
  using Layer = LayerOf<Expert>;

  Layers(const Shape& shape, Dtype dtype, Index copies, double zipf)
      : shape_(shape), dtype_(dtype), copies_(copies) {
    layers_.reserve(dtype == Dtype::f32 ? static_cast<std::size_t>(copies) : 1);
    layers_.push_back(random_layer<Expert>(shape, dtype, zipf));
    router_ = layers_.front().router();
    if (dtype == Dtype::f32) {
      while (std::ssize(layers_) < copies) layers_.push_back(layers_.front());
    } else {
      store_bf16(copies);
    }
  }

  Problem problem() const override {
    Problem p{shape_.model_dim,
              shape_.hidden_dim,
              shape_.num_experts,
              shape_.top_k,
              shape_.act,
              shape_.gated,
              dtype_,
              {}};
    if (dtype_ == Dtype::bf16) {
      p.layers = bf16_pointers_;
      return p;
    }
    for (const Layer& layer : layers_) {
      auto& experts = p.layers.emplace_back();
      for (Index e = 0; e < shape_.num_experts; ++e) {
        const auto w = layer.expert(e).pointers();
        experts.push_back({w.w_gate, w.w_in, w.w_out});
      }
    }
    return p;
  }

  std::vector<FloatExpert> float_experts() const override {
    std::vector<FloatExpert> experts;
    for (Index e = 0; e < shape_.num_experts; ++e) {
      const auto w = layers_.front().expert(e).pointers();
      experts.push_back({w.w_gate, w.w_in, w.w_out});
    }
    return experts;
  }

  const moe::Routing<float>& route(const Batch& batch, Index tokens, int threads) override {
    routing_.executor = executor(threads);
    moe::route<float>(router_, layers_.front().gate(), {},
                      {batch.x.data(), tokens, shape_.model_dim}, {}, routing_);
    return routing_.routing;
  }

  std::unique_ptr<Contestant> make_packed() const override {
    return std::make_unique<PackedRunner<Expert>>(layers_.front(), dtype_, copies_);
  }
  std::unique_ptr<Contestant> make_unpacked() const override {
    return std::make_unique<LayerRunner<Expert>>(layers_);
  }

 private:
  void store_bf16(Index copies) {
    const Index matrix = shape_.model_dim * shape_.hidden_dim;
    const auto size = static_cast<std::size_t>(shape_.num_experts * shape_.expert_values());
    for (Index copy = 0; copy < copies; ++copy) {
      std::uint16_t* next = bf16_.emplace_back(size).data();
      auto& pointers = bf16_pointers_.emplace_back();
      const auto store = [&](const float* values) -> const void* {
        if (values == nullptr) return nullptr;
        for (Index i = 0; i < matrix; ++i) {
          next[i] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(values[i]) >> 16);
        }
        return std::exchange(next, next + matrix);
      };
      for (const FloatExpert& w : float_experts()) {
        pointers.push_back({store(w.gate), store(w.in), store(w.out)});
      }
    }
  }

  Shape shape_;
  Dtype dtype_;
  Index copies_;
  std::vector<Layer> layers_;                     ///< bf16: one, the values as float
  std::vector<std::vector<std::uint16_t>> bf16_;  ///< [copies][all weights]
  std::vector<std::vector<ExpertWeights>> bf16_pointers_;
  moe::PackedLinearRouter<float> router_;
  moe::RouteState<float, moe::PackedLinearRouter<float>, moe::TopKGate> routing_;
};

inline std::unique_ptr<LayerSet> make_layers(const Shape& shape, Dtype dtype, Index copies,
                                             double zipf) {
  return with_expert(shape, [&]<class Expert>() -> std::unique_ptr<LayerSet> {
    return std::make_unique<Layers<Expert>>(shape, dtype, copies, zipf);
  });
}

}  // namespace bench
