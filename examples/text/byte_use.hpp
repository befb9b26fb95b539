// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Which bytes each of several readers (experts, or groups of them) was given, and what that tells.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "byte_model.hpp"
#include "format.hpp"

namespace text {

/// Counts of the last byte of every window a reader was given.
class ByteUse {
 public:
  explicit ByteUse(Index readers) : counts_(static_cast<std::size_t>(readers)) {}

  /// The choices made for the windows `rows` of a batch, row r of `routing` being window rows[r].
  void add(const moe::Routing<float>& routing, std::span<const std::int32_t> rows,
           const ByteBatch& batch) {
    const std::size_t window = batch.window.size() / batch.target.size();
    for (Index r = 0; r < routing.tokens(); ++r) {
      const auto t = static_cast<std::size_t>(rows[static_cast<std::size_t>(r)]);
      const std::uint8_t byte = batch.window[(t + 1) * window - 1];
      for (Index j = 0; j < routing.top_k(); ++j) {
        const std::int32_t e = routing.expert(r, j);
        if (e != moe::kNoExpert) counts_[static_cast<std::size_t>(e)][byte] += 1;
      }
    }
  }

  std::size_t readers() const { return counts_.size(); }
  double total() const {
    double sum = 0;
    for (std::size_t i = 0; i < readers(); ++i) sum += total(i);
    return sum;
  }
  double total(std::size_t i) const {
    double sum = 0;
    for (const double n : counts_[i]) sum += n;
    return sum;
  }

  /// Bits that the reader tells about the byte: the mutual information, sum p log2(p / (p_reader
  /// p_byte)); 0 when all read alike.
  double information() const {
    const Row all = sum();
    const double n = total();
    double bits = 0;
    for (std::size_t i = 0; i < readers(); ++i) {
      for (std::size_t b = 0; b < all.size(); ++b) {
        if (counts_[i][b] > 0) {
          bits += counts_[i][b] / n * std::log2(counts_[i][b] * n / (total(i) * all[b]));
        }
      }
    }
    return bits;
  }

  /// Bits there are to tell: the entropy of the bytes.
  double entropy() const {
    double bits = 0;
    for (const double n : sum()) bits -= n > 0 ? n / total() * std::log2(n / total()) : 0;
    return bits;
  }

  /// The bytes that mark reader i, most telling first: those with the largest part in what it tells.
  std::string marks(std::size_t i, std::size_t most) const {
    const Row all = sum();
    std::vector<std::pair<double, std::size_t>> gain;
    for (std::size_t b = 0; b < all.size(); ++b) {
      const double lift = all[b] > 0 ? counts_[i][b] * total() / (total(i) * all[b]) : 0;
      if (lift > 1.2) gain.emplace_back(counts_[i][b] * std::log2(lift), b);
    }
    std::sort(gain.rbegin(), gain.rend());
    std::string out;
    for (std::size_t k = 0; k < std::min(most, gain.size()); ++k) out += name(gain[k].second) + " ";
    return out;
  }

 private:
  using Row = std::array<double, 256>;

  Row sum() const {
    Row all{};
    for (const Row& row : counts_) {
      for (std::size_t b = 0; b < all.size(); ++b) all[b] += row[b];
    }
    return all;
  }

  static std::string name(std::size_t byte) {
    if (byte == ' ') return "space";
    if (byte == '\n') return "newline";
    if (byte > ' ' && byte < 127) return std::string(1, static_cast<char>(byte));
    return format("\\x%02zx", byte);
  }

  std::vector<Row> counts_;
};

}  // namespace text
