// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The textbook norm, rotation and attention in double precision, loop by loop and without any code
// of moe.
#pragma once

#include "support/naive_moe.hpp"

namespace naive {

/// gain * (x - mean) / sqrt(mean((x - mean)^2) + epsilon) + bias, the mean 0 unless centred.
inline Row norm(const Row& x, const Row& gain, const Row& bias, bool centred, double epsilon) {
  const auto n = static_cast<double>(x.size());
  double mean = 0, squares = 0;
  for (double v : x) mean += centred ? v / n : 0;
  for (double v : x) squares += (v - mean) * (v - mean) / n;
  Row y;
  for (std::size_t i = 0; i < x.size(); ++i) {
    y.push_back(gain[i] * (x[i] - mean) / std::sqrt(squares + epsilon) +
                (bias.empty() ? 0 : bias[i]));
  }
  return y;
}

/// Pair i of the first `dims` values turns by position * base^(-2i / dims).
inline Row rotate(Row head, std::size_t position, std::size_t dims, double base, bool interleaved) {
  for (std::size_t i = 0; i < dims / 2; ++i) {
    const double angle = static_cast<double>(position) /
                         std::pow(base, 2 * static_cast<double>(i) / static_cast<double>(dims));
    double& a = head[interleaved ? 2 * i : i];
    double& b = head[interleaved ? 2 * i + 1 : i + dims / 2];
    const double x = a, y = b;
    a = x * std::cos(angle) - y * std::sin(angle);
    b = x * std::sin(angle) + y * std::cos(angle);
  }
  return head;
}

struct Attention {
  std::size_t heads = 1, kv_heads = 1, width = 1;
  bool causal = true, rotary = false, interleaved = false;
  std::size_t rotary_dims = 0;
  double base = 10000;
  Table w_q{}, w_k{}, w_v{}, w_o{};
  Row b_q{}, b_k{}, b_v{}, b_o{};

  Row head_of(const Row& all, std::size_t head) const {
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(head * width);
    return Row(first, first + static_cast<std::ptrdiff_t>(width));
  }

  /// One sequence; `real[t]` false: padding.
  Table operator()(const Table& x, const std::vector<bool>& real) const {
    Table y;
    for (std::size_t t = 0; t < x.size(); ++t) {
      Row mixed;
      for (std::size_t h = 0; h < heads && real[t]; ++h) {
        Row q = head_of(affine(w_q, b_q, x[t]), h);
        if (rotary) q = rotate(q, t, rotary_dims, base, interleaved);
        Row score;
        Table value;
        for (std::size_t s = 0; s < (causal ? t + 1 : x.size()); ++s) {
          if (!real[s]) continue;
          const std::size_t kv = h / (heads / kv_heads);
          Row k = head_of(affine(w_k, b_k, x[s]), kv);
          if (rotary) k = rotate(k, s, rotary_dims, base, interleaved);
          score.push_back(std::inner_product(q.begin(), q.end(), k.begin(), 0.0) /
                          std::sqrt(static_cast<double>(width)));
          value.push_back(head_of(affine(w_v, b_v, x[s]), kv));
        }
        const Row p = softmax(score, 1);
        for (std::size_t i = 0; i < width; ++i) {
          double sum = 0;
          for (std::size_t s = 0; s < p.size(); ++s) sum += p[s] * value[s][i];
          mixed.push_back(sum);
        }
      }
      y.push_back(real[t] ? affine(w_o, b_o, mixed) : Row(w_o.size(), 0.0));
    }
    return y;
  }
};

}  // namespace naive
