// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// All tokens of a batch as the rows of one shared expert, each with the weight that its gate gives:
// x [T, D] -> groups of one expert with up to T slots.
#pragma once

#include <cmath>

#include "moe/core/batch.hpp"
#include "moe/core/parameter.hpp"
#include "moe/expert/group.hpp"

MOE_NAMESPACE_BEGIN

/// Memory of one call of a shared expert.
template <class S>
class SharedRows {
 public:
  /// Every token that is no padding, with weight sigmoid(<gate, x>), or 1 when `gate` is empty.
  void fill(MatrixView<const S> x, const Parameter<S>& gate, const Batch& batch) {
    fill(x, gate.empty() ? nullptr : gate.value.data(), batch);
  }
  void fill(MatrixView<const S> x, const S* gate, const Batch& batch) {
    tokens_ = x.rows();
    token_.resize(tokens_);
    weight_.resize(tokens_);
    dweight_.resize(tokens_);
    Index n = 0;
    for (Index t = 0; t < tokens_; ++t) {
      if (batch.is_padding(t)) continue;
      token_[n] = static_cast<std::int32_t>(t);
      weight_[n++] = gate == nullptr
                         ? S(1)
                         : 1 / (1 + std::exp(-detail::kernels<S>().dot(gate, x.row(t), x.cols())));
    }
    offset_[1] = static_cast<std::int32_t>(n);
  }

  Index tokens() const { return tokens_; }

  /// Views of this memory.
  RowGroups<S> groups() const {
    return {offset_, token_.span().first(count()), weight_.span().first(count()), tokens_};
  }
  std::span<S> dweight() { return dweight_.span().first(count()); }

  /// From dweight: adds to the gate's gradient and to dx [T, D]. x: as given to fill.
  void gate_backward(MatrixView<const S> x, Parameter<S>& gate, MatrixView<S> dx) {
    if (gate.empty()) return;
    for (Index i = 0; i < offset_[1]; ++i) {
      dweight_[i] *= weight_[i] * (1 - weight_[i]);
      detail::add_scaled(gate.value.data(), dweight_[i], dx.row(token_[i]), x.cols());
    }
    if (!gate.trainable) return;
    gate.ensure_grad();
    detail::kernels<S>().column_sum({x.data(), x.stride(), token_.data(), dweight_.data(),
                                     Index{offset_[1]}, x.cols(), gate.grad.data()});
  }

 private:
  std::size_t count() const { return static_cast<std::size_t>(offset_[1]); }

  Index tokens_ = 0;
  std::int32_t offset_[2] = {0, 0};
  Buffer<std::int32_t> token_;  ///< [T]
  Buffer<S> weight_, dweight_;  ///< [T]
};

MOE_NAMESPACE_END
