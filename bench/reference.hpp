// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The float64 answer for a few tokens, and how far an output is from it.
#pragma once

#include <cmath>

#include "inputs.hpp"

namespace bench {

/// Experts as the reference reads them: float values, whatever the contestants store.
struct FloatExpert {
  const float* gate;
  const float* in;
  const float* out;
};

inline double activate_double(Act act, double z) {
  switch (act) {
    case Act::relu:
      return z > 0 ? z : 0;
    case Act::gelu:
      return 0.5 * z * std::erfc(-z / std::sqrt(2.0));
    case Act::silu:
      break;
  }
  return z / (1 + std::exp(-z));
}

inline double dot_double(const float* a, const float* b, Index n) {
  double sum = 0;
  for (Index i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

/// y += weight * FFN(x) for one token.
inline void add_expert(const Shape& shape, const FloatExpert& expert, double weight, const float* x,
                       std::vector<double>& y) {
  const Index d = shape.model_dim, h = shape.hidden_dim;
  std::vector<double> hidden(static_cast<std::size_t>(h));
  for (Index j = 0; j < h; ++j) {
    const double in = dot_double(x, expert.in + j * d, d);
    hidden[static_cast<std::size_t>(j)] =
        shape.gated ? activate_double(shape.act, dot_double(x, expert.gate + j * d, d)) * in
                    : activate_double(shape.act, in);
  }
  for (Index i = 0; i < d; ++i) {
    double sum = 0;
    for (Index j = 0; j < h; ++j) {
      sum += hidden[static_cast<std::size_t>(j)] * static_cast<double>(expert.out[i * h + j]);
    }
    y[static_cast<std::size_t>(i)] += weight * sum;
  }
}

/// Float64 outputs of the first, the middle and the last token of a batch.
class Reference {
 public:
  Reference(const Shape& shape, const Batch& batch, Index tokens,
            const std::vector<FloatExpert>& experts)
      : model_dim_(shape.model_dim) {
    for (const Index t : {Index{0}, tokens / 2, tokens - 1}) {
      if (!tokens_.empty() && tokens_.back() == t) continue;
      tokens_.push_back(t);
      auto& y = outputs_.emplace_back(static_cast<std::size_t>(model_dim_));
      for (Index j = 0; j < shape.top_k; ++j) {
        const auto a = static_cast<std::size_t>(t * shape.top_k + j);
        add_expert(shape, experts[static_cast<std::size_t>(batch.expert[a])],
                   static_cast<double>(batch.weight[a]), batch.x.data() + t * model_dim_, y);
      }
    }
  }

  /// Largest |y - reference| of a token over its largest |reference|; the worst token. NaN shows.
  double error(const std::vector<float>& y) const {
    double worst = 0;
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      double difference = 0, largest = 0;
      for (std::size_t d = 0; d < outputs_[i].size(); ++d) {
        const double got =
            static_cast<double>(y[static_cast<std::size_t>(tokens_[i] * model_dim_) + d]);
        const double miss = std::abs(got - outputs_[i][d]);
        if (!(miss <= difference)) difference = miss;
        largest = std::max(largest, std::abs(outputs_[i][d]));
      }
      const double relative = difference / largest;
      if (!(relative <= worst)) worst = relative;
    }
    return worst;
  }

 private:
  Index model_dim_;
  std::vector<Index> tokens_;
  std::vector<std::vector<double>> outputs_;
};

}  // namespace bench
