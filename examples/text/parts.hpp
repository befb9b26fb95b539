// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The small layers around the block: Embedding and Linear, each with its backward.
#pragma once

#include <moe/moe.hpp>
#include <span>
#include <string>

namespace text {

using moe::Index;
using View = moe::MatrixView<float>;
using ConstView = moe::MatrixView<const float>;
using Parameter = moe::Parameter<float>;

/// Calls f(first, last) once per thread, on the rows it owns. Whatever f computes for a row from
/// that row alone is the same on any number of threads.
template <class F>
void parallel_rows(moe::ExecutorRef threads, Index rows, F&& f) {
  const Index n = threads.size();
  threads.run([&](Index i) { f(rows * i / n, rows * (i + 1) / n); });
}

inline void set_zero(View m) {
  for (Index t = 0; t < m.rows(); ++t) std::fill_n(m.row(t), m.cols(), 0.0f);
}

/// Windows of bytes [T, W] -> their vectors side by side [T, W * width].
class Embedding {
 public:
  Embedding(Index width, moe::Random& random) : table(256, width) {
    for (Index i = 0; i < table.value.size(); ++i) {
      table.value.data()[i] = static_cast<float>(0.5 * random.normal());
    }
  }

  Index width() const { return table.value.cols(); }

  void forward(std::span<const std::uint8_t> bytes, View y) const {
    float* out = y.data();
    for (const std::uint8_t byte : bytes) {
      out = std::copy_n(table.value.data() + byte * width(), width(), out);
    }
  }

  /// Serial: many rows may add to the vector of one byte, and the order of a sum is its value.
  void backward(std::span<const std::uint8_t> bytes, ConstView dy) {
    table.ensure_grad();
    const float* in = dy.data();
    for (const std::uint8_t byte : bytes) {
      float* sum = table.grad.data() + byte * width();
      for (Index i = 0; i < width(); ++i) sum[i] += in[i];
      in += width();
    }
  }

  Parameter table;  ///< [256, width]
};

/// y [T, N] = x [T, M] w^T + b.
class Linear {
 public:
  Linear(Index outputs, Index inputs, moe::Random& random)
      : weight(outputs, inputs), bias(1, outputs) {
    weight.init_uniform(random, inputs);
  }

  void forward(ConstView x, View y, moe::ExecutorRef threads) {
    moe::linear_forward<float>(x, weight.value, bias.value.data(), y, scratch_, threads);
  }

  /// Writes dx [T, M], adds to the gradients.
  void backward(ConstView x, ConstView dy, View dx, moe::ExecutorRef threads) {
    weight.ensure_grad();
    bias.ensure_grad();
    set_zero(dx);
    moe::linear_backward<float>(x, weight.value, dy, dx, weight.grad, bias.grad.data(), scratch_,
                                threads);
  }

  template <class F>
  void visit_parameters(const std::string& name, F&& f) {
    f(std::string_view(name + ".weight"), weight);
    f(std::string_view(name + ".bias"), bias);
  }

  Parameter weight;  ///< [N, M]
  Parameter bias;    ///< [1, N]

 private:
  moe::LinearScratch<float> scratch_;
};

}  // namespace text
