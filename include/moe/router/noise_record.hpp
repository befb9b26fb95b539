// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What a noisy router leaves behind for the smooth load estimator, and where gradients come back.
#pragma once

#include <utility>

#include "moe/core/buffer.hpp"

MOE_NAMESPACE_BEGIN

/// Noisy logits = clean + stddev * normal noise, all [T, E]. A router whose State has a member
/// `noise` of this type shows it to the losses; a loss adds to dclean and dstddev, and the router's
/// backward takes them along.
template <class S>
struct NoiseRecord {
  MatrixView<S> clean;
  MatrixView<S> stddev;  ///< 0 without noise
  MatrixView<S> dclean;
  MatrixView<S> dstddev;

  NoiseRecord() = default;
  NoiseRecord(NoiseRecord&& other) noexcept { *this = std::move(other); }
  /// Leaves `other` empty, its views too.
  NoiseRecord& operator=(NoiseRecord&& other) noexcept {
    clean = std::exchange(other.clean, {});
    stddev = std::exchange(other.stddev, {});
    dclean = std::exchange(other.dclean, {});
    dstddev = std::exchange(other.dstddev, {});
    buffer_ = std::move(other.buffer_);
    return *this;
  }

  /// Shapes everything; the gradients start at zero.
  void resize(Index t, Index e) {
    const MatrixView<S> all = buffer_.resize(4 * t, e);
    clean = all.middle_rows(0, t);
    stddev = all.middle_rows(t, t);
    dclean = all.middle_rows(2 * t, t);
    dstddev = all.middle_rows(3 * t, t);
    std::fill_n(dclean.data(), 2 * t * e, S(0));
  }

 private:
  Buffer<S> buffer_;
};

MOE_NAMESPACE_END
