// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Where the sequences of a call begin and end among its T rows.
#pragma once

#include <algorithm>

#include "moe/core/batch.hpp"
#include "moe/core/buffer.hpp"

MOE_NAMESPACE_BEGIN

/// Batch::sequence_lengths, which must sum to T, as places.
struct Sequences {
  Buffer<Index> begin;     ///< [B + 1], first row of each sequence, then T
  Buffer<Index> position;  ///< [T], of a row within its sequence
  Index longest = 0;       ///< rows of the longest sequence

  Index count() const { return std::max<Index>(begin.size() - 1, 0); }
  Index length(Index b) const { return begin[b + 1] - begin[b]; }

  void read(const Batch& batch, Index tokens) {
    const bool one = batch.sequence_lengths.empty();
    const Index b_count = one ? 1 : std::ssize(batch.sequence_lengths);
    begin.reserve(tokens + 1);  // another time there may be more of them
    begin.resize(b_count + 1);
    position.resize(tokens);
    begin[0] = longest = 0;
    for (Index b = 0; b < b_count; ++b) {
      const Index n = one ? tokens : batch.sequence_lengths[static_cast<std::size_t>(b)];
      begin[b + 1] = begin[b] + n;
      longest = std::max(longest, n);
      for (Index i = 0; i < n; ++i) position[begin[b] + i] = i;
    }
  }
};

MOE_NAMESPACE_END
