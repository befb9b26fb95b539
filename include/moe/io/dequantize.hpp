// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Weights stored in fewer bits -> float: float8 with a scale per block (DeepSeek-V3, MiniMax-M2), and
// MXFP4 (gpt-oss).
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "moe/core/error.hpp"

MOE_NAMESPACE_BEGIN

/// A scale for each block of so many rows and columns of a matrix; the blocks at its lower and right
/// edge may be partial.
struct BlockScales {
  MatrixView<const float> scale;  ///< [ceil(rows / block_rows), ceil(cols / block_cols)]
  Index block_rows = 128;
  Index block_cols = 128;
};

/// values [n, m] *= the scales of their blocks; row 0 is row `first_row` of the whole matrix, column 0
/// its column `first_col`. Throws std::invalid_argument when a block has no scale.
inline void apply_block_scales(const BlockScales& blocks, Index first_row, Index first_col,
                               MatrixView<float> values) {
  constexpr auto* kWhere = "moe::apply_block_scales";
  detail::check_positive(kWhere, "block_rows", blocks.block_rows);
  detail::check_positive(kWhere, "block_cols", blocks.block_cols);
  if (values.empty()) return;
  const Index last_row = (first_row + values.rows() - 1) / blocks.block_rows;
  const Index last_col = (first_col + values.cols() - 1) / blocks.block_cols;
  if (first_row < 0 || first_col < 0 || last_row >= blocks.scale.rows() ||
      last_col >= blocks.scale.cols()) {
    detail::fail(kWhere, "there are [", blocks.scale.rows(), ", ", blocks.scale.cols(),
                 "] scales, the values reach block [", last_row, ", ", last_col, "]");
  }
  for (Index r = 0; r < values.rows(); ++r) {
    const float* scale = blocks.scale.row((first_row + r) / blocks.block_rows);
    float* row = values.row(r);
    for (Index c = 0; c < values.cols(); ++c) row[c] *= scale[(first_col + c) / blocks.block_cols];
  }
}

/// How many MXFP4 values share a scale.
inline constexpr Index kMxfp4Block = 32;

/// out [32 b] from b blocks of 16 bytes and b scales: two float4 (e2m1) to a byte, the low half
/// first, times 2^(scale - 127) of their block; scale 255 is NaN (OCP Microscaling Formats 1.0).
/// Throws std::invalid_argument unless the sizes fit.
inline void dequantize_mxfp4(std::span<const std::byte> blocks, std::span<const std::byte> scales,
                             std::span<float> out) {
  constexpr auto* kWhere = "moe::dequantize_mxfp4";
  constexpr std::array<float, 16> kE2m1 = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                           -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
  constexpr std::size_t kBytes = kMxfp4Block / 2;
  const auto count = std::ssize(scales);
  detail::check_size(kWhere, "blocks", std::ssize(blocks), "bytes", "16 per scale",
                     count * (kMxfp4Block / 2));
  detail::check_size(kWhere, "out", std::ssize(out), "values", "32 per scale", count * kMxfp4Block);
  for (std::size_t b = 0; b < scales.size(); ++b) {
    const int exponent = static_cast<int>(scales[b]);
    const float scale = exponent == 255 ? std::numeric_limits<float>::quiet_NaN()
                                        : std::ldexp(1.0f, exponent - 127);
    for (std::size_t i = 0; i < kBytes; ++i) {
      const auto pair = static_cast<unsigned>(blocks[b * kBytes + i]);
      out[2 * (b * kBytes + i)] = kE2m1[pair & 15] * scale;
      out[2 * (b * kBytes + i) + 1] = kE2m1[pair >> 4] * scale;
    }
  }
}

MOE_NAMESPACE_END
