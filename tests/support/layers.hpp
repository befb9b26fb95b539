// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Random layers and inputs, and the same layer as the naive oracle sees it.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <vector>

#include "moe/layer/moe_layer.hpp"
#include "support/compare.hpp"
#include "support/naive_moe.hpp"

namespace moe_test {

template <class S, class ExpertType>
using LayerOf = moe::MoeLayer<S, moe::LinearRouter<S>, moe::TopKGate, ExpertType>;

/// Everything a random case is made of, printed when it fails.
struct Case {
  Index t = 5, d = 4, h = 6, e = 4, k = 2;
  bool router_bias = true, expert_bias = true, renormalize = true;
  double temperature = 1;
  std::optional<double> capacity = std::nullopt;
  bool masked = false;
  bool flooded = false;  ///< one expert's router bias is so large that every token wants it
  std::uint64_t seed = 1;
};

inline std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << "T " << c.t << " D " << c.d << " H " << c.h << " E " << c.e << " K " << c.k
             << " router bias " << c.router_bias << " expert bias " << c.expert_bias
             << " renormalize " << c.renormalize << " temperature " << c.temperature << " capacity "
             << c.capacity.value_or(0) << " masked " << c.masked << " flooded " << c.flooded
             << " seed " << c.seed;
}

/// Case number `n` of a test: sizes that are multiples of nothing, E in 1..130.
inline Case random_case(std::uint64_t n) {
  moe::Random random(n, 77);
  const auto pick = [&](Index low, Index high) {
    return low + static_cast<Index>(random.below(static_cast<std::uint64_t>(high - low + 1)));
  };
  const auto often = [&](double share) { return random.uniform() < share; };
  constexpr Index kExperts[] = {1, 2, 3, 4, 8, 16, 64, 65, 130};
  Case c;
  c.seed = n;
  c.t = often(0.1) ? pick(0, 1) : pick(2, 40);
  c.d = often(0.2) ? 1 + pick(0, 2) : pick(4, 40);
  c.h = often(0.2) ? 1 + pick(0, 2) : pick(4, 48);
  c.e = often(0.6) ? kExperts[pick(0, 8)] : pick(1, 130);
  c.k = often(0.15) ? c.e : pick(1, std::min<Index>(c.e, 6));
  c.router_bias = often(0.5);
  c.expert_bias = often(0.5);
  c.renormalize = often(0.6);
  c.temperature = often(0.3) ? random.uniform(0.5, 3) : 1;
  if (often(0.4)) c.capacity = random.uniform(0.2, 1.6);
  c.masked = often(0.3);
  c.flooded = c.router_bias && often(0.3);
  return c;
}

template <class Layer>
Layer make_layer(const Case& c) {
  typename Layer::Config config{
      .model_dim = c.d, .hidden_dim = c.h, .num_experts = c.e, .top_k = c.k};
  config.router.bias = c.router_bias;
  config.gate = {.renormalize = c.renormalize, .temperature = c.temperature};
  config.expert.bias = c.expert_bias;
  config.capacity.factor = c.capacity;
  Layer layer(config, c.seed);
  if (c.flooded) layer.router().bias.value(0, c.e / 2) += 20;
  return layer;
}

template <class S>
Matrix<S> random_matrix(Index rows, Index cols, std::uint64_t seed) {
  moe::Random random(seed, 99);
  Matrix<S> m(rows, cols);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = static_cast<S>(random.normal());
  return m;
}

/// 0 = padding; about a third of the tokens, none when not masked.
inline std::vector<std::uint8_t> random_mask(const Case& c) {
  std::vector<std::uint8_t> mask;
  moe::Random random(c.seed, 55);
  for (Index t = 0; c.masked && t < c.t; ++t) mask.push_back(random.uniform() < 0.35 ? 0 : 1);
  return mask;
}

template <class S>
naive::Table to_table(MatrixView<const S> m) {
  naive::Table table;
  for (Index i = 0; i < m.rows(); ++i) table.emplace_back(m.row(i), m.row(i) + m.cols());
  return table;
}
template <class S>
naive::Table to_table(const Matrix<S>& m) {
  return to_table<S>(MatrixView<const S>(m));
}
template <class S>
naive::Row to_row(const Matrix<S>& m) {
  return naive::Row(m.data(), m.data() + m.size());
}
inline Matrix<double> to_matrix(const naive::Table& table, Index cols) {
  Matrix<double> m(static_cast<Index>(table.size()), cols);
  for (Index i = 0; i < m.rows(); ++i) {
    for (Index j = 0; j < cols; ++j) {
      m(i, j) = table[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)];
    }
  }
  return m;
}

inline naive::Activation to_naive(moe::Activation activation) {
  switch (activation) {
    case moe::Activation::relu:
      return naive::Activation::relu;
    case moe::Activation::gelu:
      return naive::Activation::gelu;
    case moe::Activation::gelu_tanh:
      return naive::Activation::gelu_tanh;
    case moe::Activation::silu:
      return naive::Activation::silu;
    case moe::Activation::relu_squared:
      return naive::Activation::relu_squared;
    case moe::Activation::clamped_swiglu:
      return naive::Activation::clamped_swiglu;
    default:
      return naive::Activation::identity;
  }
}

template <class ExpertType>
naive::Expert to_naive_expert(const ExpertType& x) {
  return {x.shape().gated,         to_naive(x.shape().activation), to_table(x.w_gate.value),
          to_table(x.w_in.value),  to_table(x.w_out.value),        to_row(x.b_gate.value),
          to_row(x.b_in.value),    to_row(x.b_out.value),          x.shape().clamped.alpha,
          x.shape().clamped.limit, x.shape().clamped.offset};
}

template <class Layer>
naive::Layer to_naive_layer(const Layer& layer) {
  naive::Layer out;
  out.router_weight = to_table(layer.router().weight.value);
  out.router_bias = to_row(layer.router().bias.value);
  out.temperature = layer.gate().options().temperature;
  out.renormalize = layer.gate().options().renormalize;
  out.top_k = static_cast<std::size_t>(layer.top_k());
  out.capacity_factor = layer.capacity().factor;
  for (Index e = 0; e < layer.num_experts(); ++e) {
    out.experts.push_back(to_naive_expert(layer.expert(e)));
  }
  return out;
}

/// Random tokens, each drawn again until no choice of experts (and no ReLU) hangs by less than
/// `margin`: rounding, or a finite difference, must not tip it.
template <class Layer>
auto decided_input(const Layer& layer, const Case& c, double margin) {
  using S = typename Layer::Scalar;
  naive::Layer one = to_naive_layer(layer);
  one.capacity_factor.reset();
  Matrix<S> x(c.t, c.d);
  for (Index t = 0; t < c.t; ++t) {
    for (std::uint64_t draw = 0; draw < 1000; ++draw) {
      x.row(t) =
          random_matrix<S>(1, c.d, c.seed * 1000003 + static_cast<std::uint64_t>(t) * 1009 + draw);
      const naive::Result r = naive::forward(one, {naive::Row(x.row(t).begin(), x.row(t).end())});
      if (r.choice_margin > margin && r.kink_margin > margin) break;
    }
  }
  return x;
}

}  // namespace moe_test
