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
#include "moe/kernel/packed.hpp"
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
  /// The layer with packed weights, as inference uses it.
  virtual std::unique_ptr<Contestant> make_packed() const = 0;
  /// The layer on its row-major float weights, packed on the fly, as training's forward does it.
  virtual std::unique_ptr<Contestant> make_unpacked() const = 0;
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

inline moe::ExecutorRef executor(int threads) {
  return threads == 1 ? moe::ExecutorRef() : moe::ExecutorRef(pool(threads));
}

/// What a layer does before its experts: routing, plan and slot weights, all in `ws`.
template <class Layer>
void route(const Layer& layer, moe::MatrixView<const float> x, typename Layer::Workspace& ws) {
  const moe::MatrixView<float> logits = ws.logits.resize(x.rows(), layer.num_experts());
  layer.router().forward(x, logits, {}, ws.router_state, ws.executor);
  ws.routing.resize(x.rows(), layer.top_k(), layer.num_experts());
  layer.gate().forward(moe::MatrixView<const float>(logits), ws.routing, {}, ws.gate_state);
  moe::make_plan(ws.routing, layer.capacity(), {}, ws.plan);
  moe::gather_slot_weights<float>(ws.routing, ws.plan, ws.slot_weight.resize(ws.plan.count()));
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
  PackedRunner(const LayerOf<Expert>& layer, Dtype dtype, Index copies) : layer_(layer) {
    std::vector<moe::FfnPointers<const float>> experts;
    for (Index e = 0; e < layer.num_experts(); ++e) experts.push_back(layer.expert(e).pointers());
    const auto type = dtype == Dtype::f32 ? moe::WeightType::native : moe::WeightType::bfloat16;
    while (std::ssize(packed_) < copies) {
      packed_.emplace_back(layer.expert(0).shape(), experts, type);
    }
  }

  void set_threads(int count) override { workspace_.executor = executor(count); }

  void run(const Call& call) override {
    const moe::MatrixView<const float> x(call.x, call.tokens, layer_.model_dim());
    auto& ws = workspace_;
    route(layer_, x, ws);
    moe::ffn_forward<float>(
        packed_[call.layer], {ws.plan.offset, ws.plan.token, ws.slot_weight.span()}, x,
        {call.y, call.tokens, layer_.model_dim()}, ws.experts.scratch, ws.executor);
  }

 private:
  const LayerOf<Expert>& layer_;
  std::vector<moe::PackedFfn<float>> packed_;
  typename LayerOf<Expert>::Workspace workspace_;
};

template <class Expert>
class Layers : public LayerSet {
 public:
  using Layer = LayerOf<Expert>;

  Layers(const Shape& shape, Dtype dtype, Index copies, double zipf)
      : shape_(shape), dtype_(dtype), copies_(copies) {
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
    workspace_.executor = executor(threads);
    bench::route(layers_.front(), {batch.x.data(), tokens, shape_.model_dim}, workspace_);
    return workspace_.routing;
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
  typename Layer::Workspace workspace_;
};

inline std::unique_ptr<LayerSet> make_layers(const Shape& shape, Dtype dtype, Index copies,
                                             double zipf) {
  return with_expert(shape, [&]<class Expert>() -> std::unique_ptr<LayerSet> {
    return std::make_unique<Layers<Expert>>(shape, dtype, copies, zipf);
  });
}

}  // namespace bench
