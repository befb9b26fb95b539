// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Rotary position embedding of queries and keys, in place on [T, heads * head_dim].
#pragma once

#include <cmath>
#include <utility>

#include "moe/core/buffer.hpp"
#include "moe/core/error.hpp"
#include "moe/kernel/share.hpp"

MOE_NAMESPACE_BEGIN

/// Pair i of a head at position p turns by p * base^(-2i / dims) (Su et al. 2021, RoFormer).
struct RotaryOptions {
  double base = 10000;
  Index dims = 0;            ///< the first so many values of a head turn; 0: all. Even
  bool interleaved = false;  ///< pairs (2i, 2i + 1) as in the paper, else (i, i + dims / 2) as in
                             ///< GPT-NeoX and Llama's Hugging Face weights

  /// Every field by name: see moe/io/layer_config.hpp.
  template <class F>
  void visit(F&& f) {
    f("base", base);
    f("dims", dims);
    f("interleaved", interleaved);
  }
};

/// The angles' cosines and sines, computed once for the longest sequence seen.
template <class S>
class RotaryTable {
 public:
  /// Room for positions below `length`. Allocates only when these or the options are new.
  void prepare(const RotaryOptions& options, Index head_dim, Index length) {
    const Index dims = options.dims == 0 ? head_dim : options.dims;
    if (dims == dims_ && options.base == base_ && length <= length_) return;
    const MatrixView<S> cos = cos_.resize(length, dims / 2), sin = sin_.resize(length, dims / 2);
    for (Index p = 0; p < length; ++p) {
      for (Index i = 0; i < dims / 2; ++i) {
        const double angle =
            static_cast<double>(p) *
            std::pow(options.base, -2.0 * static_cast<double>(i) / static_cast<double>(dims));
        cos(p, i) = static_cast<S>(std::cos(angle));
        sin(p, i) = static_cast<S>(std::sin(angle));
      }
    }
    dims_ = dims;
    base_ = options.base;
    length_ = length;
  }

  /// Turns every head of every row t by the angles of position[t]; `back` turns the other way, which
  /// is also the gradient.
  void turn(const RotaryOptions& options, MatrixView<S> x, Index head_dim,
            std::span<const Index> position, bool back, const ExecutorRef& executor) const {
    const Index half = dims_ / 2, step = options.interleaved ? 2 : 1;
    const Index other = options.interleaved ? 1 : half;
    const Index threads = detail::useful_threads(executor, 2.0 * static_cast<double>(x.size()));
    detail::run_threads(executor, threads, [&](Index part, Index n) {
      const detail::Range r = detail::part_of(x.rows(), part, n);
      for (Index t = r.begin; t < r.end; ++t) {
        const Index p = position[static_cast<std::size_t>(t)];
        const S *cos = cos_.data() + p * half, *sin = sin_.data() + p * half;
        for (S* head = x.row(t); head < x.row(t) + x.cols(); head += head_dim) {
          for (Index i = 0; i < half; ++i) {
            S &a = head[i * step], &b = head[i * step + other];
            const S s = back ? -sin[i] : sin[i], before = a;
            a = before * cos[i] - b * s;
            b = b * cos[i] + before * s;
          }
        }
      }
    });
  }

 private:
  Buffer<S> cos_, sin_;  // [length, dims / 2]
  double base_ = 0;
  Index dims_ = 0;
  Index length_ = 0;
};

namespace detail {

inline void check_rotary(std::string_view function, const RotaryOptions& options, Index head_dim) {
  if (!(options.base > 0) || !std::isfinite(options.base)) {
    fail(function, "rotary.base is ", options.base, ", expected a finite value above 0");
  }
  const Index dims = options.dims == 0 ? head_dim : options.dims;
  if (dims % 2 != 0 || dims < 0 || dims > head_dim) {
    fail(function, "rotary turns ", dims, " values of a head, expected an even number up to ",
         "head_dim = ", head_dim);
  }
}

}  // namespace detail
MOE_NAMESPACE_END
