// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Next-byte loss: softmax cross-entropy over 256 classes, and its gradient in place.
#pragma once

#include <cmath>

#include "parts.hpp"

namespace text {

inline constexpr Index kBytes = 256;

/// Bits that a loss in nats is.
inline double to_bits(double nats) { return nats / std::numbers::ln2; }

/// nats[t] = -log softmax(logits[t])[target[t]]. Returns their sum, added up in row order.
inline double cross_entropy(ConstView logits, std::span<const std::uint8_t> target,
                            std::span<float> nats, moe::ExecutorRef threads) {
  parallel_rows(threads, logits.rows(), [&](Index first, Index last) {
    for (Index t = first; t < last; ++t) {
      const float* row = logits.row(t);
      const float largest = *std::max_element(row, row + kBytes);
      float sum = 0;
      for (Index c = 0; c < kBytes; ++c) sum += std::exp(row[c] - largest);
      const auto i = static_cast<std::size_t>(t);
      nats[i] = largest + std::log(sum) - row[target[i]];
    }
  });
  return std::accumulate(nats.begin(), nats.begin() + logits.rows(), 0.0);
}

/// The gradient of the mean of cross_entropy over the logits: (softmax - onehot) / T. `nats` is
/// what cross_entropy wrote, from which the softmax needs no second sum.
inline void cross_entropy_backward(View logits, std::span<const std::uint8_t> target,
                                   std::span<const float> nats, moe::ExecutorRef threads) {
  const float scale = 1 / static_cast<float>(logits.rows());
  parallel_rows(threads, logits.rows(), [&](Index first, Index last) {
    for (Index t = first; t < last; ++t) {
      const auto i = static_cast<std::size_t>(t);
      float* row = logits.row(t);
      const float log_sum = nats[i] + row[target[i]];
      for (Index c = 0; c < kBytes; ++c) row[c] = scale * std::exp(row[c] - log_sum);
      row[target[i]] -= scale;
    }
  });
}

}  // namespace text
