// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The real rows of each sequence of a batch: x [T, D] <-> rows without padding [R, D].
#pragma once

#include <algorithm>
#include <vector>

#include "moe/core/batch.hpp"
#include "moe/core/buffer.hpp"
#include "moe/kernel/rows.hpp"

MOE_NAMESPACE_BEGIN

/// The rows of x that are not padding, and the sequences that have any.
struct SequenceRows {
  std::vector<std::int32_t> token;  ///< [R], row of x
  std::vector<Index> first;         ///< [B + 1], rows of sequence b are [first[b], first[b + 1])
  bool whole = true;                ///< there is no padding: row r is row r of x

  Index rows() const { return std::ssize(token); }
  Index count() const { return std::ssize(first) - 1; }
  Index begin(Index b) const { return first[static_cast<std::size_t>(b)]; }
  Index length(Index b) const { return begin(b + 1) - begin(b); }
  Index longest() const {
    Index most = 0;
    for (Index b = 0; b < count(); ++b) most = std::max(most, length(b));
    return most;
  }

  /// batch.sequence_lengths, or one sequence of all `tokens` rows.
  void find(Index tokens, const Batch& batch) {
    token.reserve(static_cast<std::size_t>(tokens));
    first.reserve(batch.sequence_lengths.size() + 2);
    token.clear();
    first.assign(1, 0);
    const auto add = [&](Index begin, Index end) {
      for (Index t = begin; t < end; ++t) {
        if (!batch.is_padding(t)) token.push_back(static_cast<std::int32_t>(t));
      }
      if (rows() > first.back()) first.push_back(rows());
    };
    Index end = 0;
    for (const Index length : batch.sequence_lengths) add(end, end + length), end += length;
    if (batch.sequence_lengths.empty()) add(0, tokens);
    whole = rows() == tokens;
  }

  /// The rows of m [T, D] that are not padding: m itself, or, when some are or with `copy`, gathered
  /// in `buffer`.
  template <class S>
  MatrixView<const S> pick(MatrixView<const S> m, Buffer<S>& buffer, bool copy = false) const {
    if (whole && !copy) return m;
    buffer.reserve(m.size());
    const MatrixView<S> out = buffer.resize(rows(), m.cols());
    dispatch_rows<S>(m, token, out);
    return out;
  }

  /// The way back: rows [R, D] to their places in m [T, D], zero elsewhere.
  template <class S>
  void put_back(MatrixView<const S> from, MatrixView<S> m) const {
    for (Index t = 0; t < m.rows(); ++t) std::fill_n(m.row(t), m.cols(), S(0));
    for (Index r = 0; r < from.rows(); ++r) {
      std::copy_n(from.row(r), from.cols(), m.row(token[static_cast<std::size_t>(r)]));
    }
  }
};

MOE_NAMESPACE_END
