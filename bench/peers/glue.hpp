// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What stands around a peer's matrix products: group, gather, activate, scatter; vectorised and,
// with OpenMP, on the threads the peer has.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cstring>
#include <type_traits>
#include <unsupported/Eigen/SpecialFunctions>

#include "peers/contestant.hpp"

namespace bench {
// Unnamed, so that peers compiled with different flags do not share these.
namespace {

/// Rows of each expert, in CSR.
struct Groups {
  std::vector<Index> offset;  ///< [E+1]
  std::vector<Index> token;   ///< [T K]
  std::vector<float> weight;  ///< [T K]

  Groups(const Call& call, Index experts, Index top_k) {
    offset.assign(static_cast<std::size_t>(experts) + 2, 0);
    const auto n = static_cast<std::size_t>(call.tokens * top_k);
    token.resize(n);
    weight.resize(n);
    const auto expert = [&](std::size_t a) { return static_cast<std::size_t>(call.expert[a]); };
    for (std::size_t a = 0; a < n; ++a) ++offset[expert(a) + 2];
    for (std::size_t e = 2; e < offset.size(); ++e) offset[e] += offset[e - 1];
    for (std::size_t a = 0; a < n; ++a) {
      const auto slot = static_cast<std::size_t>(offset[expert(a) + 1]++);
      token[slot] = static_cast<Index>(a) / top_k;
      weight[slot] = call.weight[a];
    }
    offset.pop_back();
  }
};

inline float from_bf16(std::uint16_t half) {
  const std::uint32_t bits = std::uint32_t{half} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// Round to nearest even; finite values only.
inline std::uint16_t to_bf16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

inline void convert(const float* in, Index n, float* out) { std::copy_n(in, n, out); }
inline void convert(const float* in, Index n, std::uint16_t* out) {
  for (Index i = 0; i < n; ++i) out[i] = to_bf16(in[i]);
}

/// hidden = act(gate) * in, or act(in) when there is no gate. May overwrite its input.
template <class T>
void activate_row(Act act, const float* gate, float* in, Index n, T* hidden) {
  using Row = Eigen::Map<Eigen::ArrayXf>;
  using ConstRow = Eigen::Map<const Eigen::ArrayXf>;
  const auto finish = [&](const auto& activated) {
    if (gate != nullptr) {
      Row(in, n) *= activated;
    } else {
      Row(in, n) = activated;
    }
  };
  const ConstRow z(gate != nullptr ? gate : in, n);
  if (act == Act::relu) finish(z.max(0.0f));
  if (act == Act::silu) finish(z / (1.0f + (-z).exp()));
  if (act == Act::gelu) finish(z * 0.5f * (1.0f + (z * 0.70710678f).erf()));
  if (static_cast<void*>(in) != hidden) convert(in, n, hidden);
}

/// f(i) for each of n rows of `length` values, on several threads when that is worth waking them.
template <class F>
void parallel_rows(Index n, Index length, [[maybe_unused]] int threads, const F& f) {
#ifdef _OPENMP
  const bool worth = threads > 1 && n > 1 && n * length >= 32768;
#pragma omp parallel for num_threads(threads) schedule(static) if (worth)
#endif
  for (Index i = 0; i < n; ++i) f(i);
}

/// rows[i] = x[token[i]].
template <class T>
void gather(const Call& call, const Index* token, Index n, Index d, T* rows, int threads) {
  parallel_rows(n, d, threads, [&](Index i) { convert(call.x + token[i] * d, d, rows + i * d); });
}

/// y[token[i]] += weight[i] * rows[i].
inline void scatter_add(const float* rows, const Index* token, const float* weight, Index n,
                        Index d, float* y, int threads) {
  parallel_rows(n, d, threads, [&](Index i) {
    Eigen::Map<Eigen::ArrayXf>(y + token[i] * d, d) +=
        weight[i] * Eigen::Map<const Eigen::ArrayXf>(rows + i * d, d);
  });
}

/// The loop most peers are: per expert gather, product, activation, product, scatter.
/// `product(a, n, k, weights, m, c)` computes c [n, m] = a [n, k] weights [m, k]^T.
template <class T>
class ExpertLoop {
 public:
  template <class Product>
  void run(const Problem& p, const Call& call, int threads, const Product& product) {
    const Groups groups(call, p.num_experts, p.top_k);
    std::fill_n(call.y, call.tokens * p.model_dim, 0.0f);
    for (std::size_t e = 0; e < static_cast<std::size_t>(p.num_experts); ++e) {
      const Index n = groups.offset[e + 1] - groups.offset[e];
      if (n == 0) continue;
      const Index* token = groups.token.data() + groups.offset[e];
      resize(n, p);
      gather(call, token, n, p.model_dim, rows_.data(), threads);
      const T* hidden = first_products(p, call, e, n, threads, product);
      product(hidden, n, p.hidden_dim, p.layers[call.layer][e].out, p.model_dim, out_.data());
      scatter_add(out_.data(), token, groups.weight.data() + groups.offset[e], n, p.model_dim,
                  call.y, threads);
    }
  }

 private:
  void resize(Index n, const Problem& p) {
    const auto grow = [](auto& v, Index size) {
      if (static_cast<Index>(v.size()) < size) v.resize(static_cast<std::size_t>(size));
    };
    grow(rows_, n * p.model_dim);
    grow(out_, n * p.model_dim);
    grow(in_, n * p.hidden_dim);
    if (p.gated) grow(gate_, n * p.hidden_dim);
    if (!std::is_same_v<T, float>) grow(hidden_, n * p.hidden_dim);
  }

  template <class Product>
  const T* first_products(const Problem& p, const Call& call, std::size_t e, Index n, int threads,
                          const Product& product) {
    const Index d = p.model_dim, h = p.hidden_dim;
    const ExpertWeights& w = p.layers[call.layer][e];
    if (p.gated) product(rows_.data(), n, d, w.gate, h, gate_.data());
    product(rows_.data(), n, d, w.in, h, in_.data());
    T* hidden;
    if constexpr (std::is_same_v<T, float>) {
      hidden = in_.data();
    } else {
      hidden = hidden_.data();
    }
    parallel_rows(n, h, threads, [&](Index i) {
      const float* gate = p.gated ? gate_.data() + i * h : nullptr;
      activate_row(p.act, gate, in_.data() + i * h, h, hidden + i * h);
    });
    return hidden;
  }

  std::vector<T> rows_, hidden_;
  std::vector<float> gate_, in_, out_;
};

}  // namespace
}  // namespace bench
