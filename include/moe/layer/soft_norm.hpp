// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The normalisations of Soft MoE: rows [n, D] of tokens or of slots before their products.
#pragma once

#include <algorithm>
#include <cmath>

#include "moe/kernel/kernels.hpp"

MOE_NAMESPACE_BEGIN

/// What tokens x and slot vectors phi go through before logits = x phi^T.
enum class SoftNormalization : std::uint8_t {
  none,  ///< nothing (Puigcerver et al. 2023, algorithm 1)
  /// Both to unit length, v / sqrt(sum v^2 + 1e-6), phi times a learned scale; slots are averages of
  /// x itself (algorithm 2 and section 2.3, and the authors' code, vmoe)
  l2,
  /// Both to root mean square 1 times a learned gain [D] each; slots are averages of the normalised
  /// tokens (soft-moe-pytorch)
  rms,
};

namespace detail {

/// Length and least length of each published normalisation.
inline constexpr double kSoftL2Epsilon = 1e-6;
inline constexpr double kSoftRmsLeast = 1e-12;

/// factor[i] of row i: 1, 1 / sqrt(sum + eps), or sqrt(D) / max(|v|, least).
template <class S>
void soft_factors(SoftNormalization kind, MatrixView<const S> in, S* factor) {
  const auto dot = kernels<S>().dot;
  for (Index i = 0; i < in.rows(); ++i) {
    if (kind == SoftNormalization::none) {
      factor[i] = 1;
      continue;
    }
    const S squares = dot(in.row(i), in.row(i), in.cols());
    if (kind == SoftNormalization::l2) {
      factor[i] = 1 / std::sqrt(squares + static_cast<S>(kSoftL2Epsilon));
    } else {
      const S norm = std::sqrt(squares), least = static_cast<S>(kSoftRmsLeast);
      factor[i] = std::sqrt(static_cast<S>(in.cols())) / (norm < least ? least : norm);
    }
  }
}

/// out = in * factor * scale * gain; `gain` [D] may be null.
template <class S>
void soft_normalize(MatrixView<const S> in, const S* factor, S scale, const S* gain,
                    MatrixView<S> out) {
  for (Index i = 0; i < in.rows(); ++i) {
    const S f = factor[i] * scale;
    for (Index d = 0; d < in.cols(); ++d) {
      out(i, d) = in(i, d) * f * (gain != nullptr ? gain[d] : S(1));
    }
  }
}

/// Where the gradients of scale and gain go; null: nowhere.
template <class S>
struct SoftNormGradient {
  S* scale = nullptr;  ///< one value
  S* gain = nullptr;   ///< [D]
};

/// din += through out = in * f * scale * gain, and the gradients of scale and gain. With v = dout *
/// scale * gain and f as above, df/din = -in f^3 / c, c = 1 (l2) or D (rms):
///   din += f v - in f^3 <v, in> / c
template <class S>
void soft_normalize_backward(SoftNormalization kind, MatrixView<const S> in, const S* factor,
                             S scale, const S* gain, MatrixView<const S> dout, MatrixView<S> din,
                             SoftNormGradient<S> gradient) {
  const Index cols = in.cols();
  const auto g = [&](Index d) { return gain != nullptr ? gain[d] : S(1); };
  const S least = std::sqrt(static_cast<S>(cols)) / static_cast<S>(kSoftRmsLeast);
  for (Index i = 0; i < in.rows(); ++i) {
    const S f = factor[i];
    S inner = 0;  // <dout * gain, in>
    for (Index d = 0; d < cols; ++d) {
      const S part = dout(i, d) * in(i, d);
      inner += part * g(d);
      if (gradient.gain != nullptr) gradient.gain[d] += part * f * scale;
    }
    if (gradient.scale != nullptr) *gradient.scale += inner * f;
    S along = 0;
    if (kind == SoftNormalization::l2) along = f * f * f * inner * scale;
    if (kind == SoftNormalization::rms && f < least) {
      along = f * f * f * inner * scale / static_cast<S>(cols);
    }
    if (din.empty()) continue;
    for (Index d = 0; d < cols; ++d) {
      din(i, d) += f * scale * g(d) * dout(i, d) - along * in(i, d);
    }
  }
}

}  // namespace detail
MOE_NAMESPACE_END
