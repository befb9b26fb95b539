// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Our layers of a shape, with the weights that every contestant gets, and our side of the contest.
#pragma once

#include <bit>
#include <cmath>
#include <memory>
#include <string_view>

#include "inputs.hpp"
#include "moe/moe.hpp"
#include "peaks.hpp"
#include "reference.hpp"

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
  /// Our layer behind the contestants' interface; null where it cannot run these weights.
  virtual std::unique_ptr<Contestant> make_layer() const = 0;
};

/// Values that a bfloat16 holds exactly, so that all weight types compute the same function.
inline void round_to_bf16(moe::Matrix<float>& m) {
  for (Index i = 0; i < m.size(); ++i) {
    std::uint32_t bits = std::bit_cast<std::uint32_t>(m.data()[i]);
    bits = (bits + 0x7FFFu + (bits >> 16 & 1u)) & 0xFFFF0000u;
    m.data()[i] = std::bit_cast<float>(bits);
  }
}

template <class Expert>
using LayerOf = moe::MoeLayer<float, moe::LinearRouter<float>, moe::TopKGate, Expert>;

/// `zipf`: expert e is wanted as if its frequency were about 1 / (e + 1)^zipf; 0 is uniform.
inline moe::LinearRouter<float> random_router(const Shape& shape, double zipf) {
  const Index d = shape.model_dim, e_count = shape.num_experts;
  moe::LinearRouter<float> router;
  router.weight = moe::Parameter<float>(e_count, d);
  fill_uniform(7, std::sqrt(3.0f / static_cast<float>(d)), router.weight.value.data(), e_count * d);
  if (zipf != 0) {
    router.bias = moe::Parameter<float>(1, e_count);
    for (Index e = 0; e < e_count; ++e) {
      router.bias.value(0, e) = static_cast<float>(-zipf * std::log(static_cast<double>(e + 1)));
    }
  }
  return router;
}

/// Weights of variance 1 / fan in, filled fast enough for gigabytes.
template <class Expert>
LayerOf<Expert> random_layer(const Shape& shape, Dtype dtype, double zipf = 0) {
  const Index d = shape.model_dim, h = shape.hidden_dim;
  std::uint32_t seed = 1;
  const auto fill = [&](moe::Parameter<float>& p, Index rows, Index cols) {
    p.value.resize(rows, cols);
    fill_uniform(seed++ * 0x632BE5ABu, std::sqrt(3.0f / static_cast<float>(cols)), p.value.data(),
                 rows * cols);
    if (dtype == Dtype::bf16) round_to_bf16(p.value);
  };
  std::vector<Expert> experts(static_cast<std::size_t>(shape.num_experts));
  for (Expert& expert : experts) {
    if (shape.gated) fill(expert.w_gate, h, d);
    fill(expert.w_in, h, d);
    fill(expert.w_out, d, h);
  }
  const moe::TopKGate gate({d, h, shape.num_experts, shape.top_k}, {});
  return LayerOf<Expert>(random_router(shape, zipf), gate, std::move(experts));
}

/// f.operator()<Expert>() for the expert type of a shape.
template <class F>
auto with_expert(const Shape& shape, const F& f) {
  using moe::Ffn, moe::GatedFfn;
  if (shape.gated) return f.template operator()<GatedFfn<float, moe::Silu>>();
  if (shape.act == Act::relu) return f.template operator()<Ffn<float, moe::Relu>>();
  return f.template operator()<Ffn<float, moe::Gelu>>();
}

template <class Expert>
class Layers : public LayerSet {
 public:
  using Layer = LayerOf<Expert>;

  Layers(const Shape& shape, Dtype dtype, Index copies, double zipf)
      : shape_(shape), dtype_(dtype) {
    layers_.reserve(dtype == Dtype::f32 ? static_cast<std::size_t>(copies) : 1);
    layers_.push_back(random_layer<Expert>(shape, dtype, zipf));
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
    auto& ws = workspace_;
    const Layer& layer = layers_.front();
    ws.executor = pool(threads);
    const moe::MatrixView<const float> x(batch.x.data(), tokens, shape_.model_dim);
    const moe::MatrixView<float> logits = ws.logits.resize(tokens, shape_.num_experts);
    layer.router().forward(x, logits, {}, ws.router_state, ws.executor);
    ws.routing.resize(tokens, shape_.top_k, shape_.num_experts);
    layer.gate().forward(moe::MatrixView<const float>(logits), ws.routing, {}, ws.gate_state);
    moe::make_plan(ws.routing, layer.capacity(), {}, ws.plan);
    moe::gather_slot_weights<float>(ws.routing, ws.plan, ws.slot_weight.resize(ws.plan.count()));
    return ws.routing;
  }

  std::unique_ptr<Contestant> make_layer() const override {
    if (dtype_ == Dtype::bf16) return nullptr;
    return std::make_unique<Runner>(layers_, shape_);
  }

 private:
  class Runner : public Contestant {
   public:
    Runner(const std::vector<Layer>& layers, const Shape& shape)
        : layers_(layers), model_dim_(shape.model_dim) {}

    void set_threads(int count) override {
      workspace_.executor = count == 1 ? moe::ExecutorRef() : moe::ExecutorRef(pool(count));
    }

    /// Routes by itself: the routing in `call` came from the same router.
    void run(const Call& call) override {
      layers_[call.layer].forward(moe::MatrixView<const float>(call.x, call.tokens, model_dim_),
                                  moe::MatrixView<float>(call.y, call.tokens, model_dim_),
                                  workspace_);
    }

   private:
    const std::vector<Layer>& layers_;
    Index model_dim_;
    typename Layer::Workspace workspace_;
  };

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
  std::vector<Layer> layers_;                     ///< bf16: one, the values as float
  std::vector<std::vector<std::uint16_t>> bf16_;  ///< [copies][all weights]
  std::vector<std::vector<ExpertWeights>> bf16_pointers_;
  typename Layer::Workspace workspace_;
};

inline std::unique_ptr<LayerSet> make_layers(const Shape& shape, Dtype dtype, Index copies,
                                             double zipf) {
  return with_expert(shape, [&]<class Expert>() -> std::unique_ptr<LayerSet> {
    return std::make_unique<Layers<Expert>>(shape, dtype, copies, zipf);
  });
}

}  // namespace bench
