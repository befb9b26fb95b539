// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers with random weights, filled fast enough for gigabytes.
#pragma once

#include <bit>
#include <cmath>
#include <utility>

#include "inputs.hpp"
#include "moe/moe.hpp"

namespace bench {

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

/// Weights of variance 1 / fan in.
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

}  // namespace bench
