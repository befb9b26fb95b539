// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/io/dequantize.hpp"

#include <vector>

#include "support/catch.hpp"

TEST_CASE("MXFP4: every code, low half first, times its block's power of two", "[io]") {
  // 0 .. 15 in order, then all minus six and a half; the third block has no number for a scale.
  std::vector<std::byte> blocks, scales = {std::byte{127}, std::byte{124}, std::byte{255}};
  for (int i = 0; i < 16; ++i) blocks.push_back(std::byte(2 * (i % 8) | (2 * (i % 8) + 1) << 4));
  for (int i = 0; i < 16; ++i) blocks.push_back(std::byte{0xF1});
  for (int i = 0; i < 16; ++i) blocks.push_back(std::byte{0});
  std::vector<float> out(96);
  moe::dequantize_mxfp4(blocks, scales, out);
  const std::vector<float> codes = {0,  0.5f,  1,  1.5f,  2,  3,  4,  6,
                                    -0, -0.5f, -1, -1.5f, -2, -3, -4, -6};
  for (std::size_t i = 0; i < 32; ++i) CHECK(out[i] == codes[i % 16]);
  for (std::size_t i = 32; i < 64; ++i) CHECK(out[i] == (i % 2 == 0 ? 0.0625f : -0.75f));
  for (std::size_t i = 64; i < 96; ++i) CHECK(std::isnan(out[i]));

  scales.pop_back();
  CHECK_THROWS_AS(moe::dequantize_mxfp4(blocks, scales, out), std::invalid_argument);
  blocks.resize(32);
  CHECK_THROWS_AS(moe::dequantize_mxfp4(blocks, scales, out), std::invalid_argument);
}

TEST_CASE("block scales: each value by its own block's, edge blocks partial", "[io]") {
  moe::Matrix<float> scale(2, 3), values = moe::Matrix<float>::Ones(5, 8);
  scale << 1, 2, 3, 4, 5, 6;
  const moe::BlockScales blocks{scale, 3, 3};
  moe::apply_block_scales(blocks, 0, 0, values);
  for (moe::Index r = 0; r < 5; ++r) {
    for (moe::Index c = 0; c < 8; ++c) CHECK(values(r, c) == scale(r / 3, c / 3));
  }
  moe::Matrix<float> part = moe::Matrix<float>::Ones(2, 2);
  moe::apply_block_scales(blocks, 2, 5, part);
  CHECK(part(0, 0) == 2);
  CHECK(part(0, 1) == 3);
  CHECK(part(1, 0) == 5);
  CHECK(part(1, 1) == 6);
  CHECK_THROWS_AS(moe::apply_block_scales(blocks, 5, 0, part), std::invalid_argument);
  CHECK_THROWS_AS(moe::apply_block_scales(blocks, 0, 8, part), std::invalid_argument);
  CHECK_THROWS_AS(moe::apply_block_scales({scale, 0, 3}, 0, 0, part), std::invalid_argument);
}
