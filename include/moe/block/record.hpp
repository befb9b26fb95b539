// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What the parts of a block share: the checks of a call, what a tape keeps of it, seeds of parts.
#pragma once

#include <algorithm>

#include "moe/core/random.hpp"
#include "moe/core/state.hpp"
#include "moe/layer/parts.hpp"
#include "moe/layer/routed_tape.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// to = from, zero in rows of padding, whatever stands there.
template <class S>
void copy_without_padding(MatrixView<const S> from, const Batch& batch, MatrixView<S> to) {
  for (Index t = 0; t < from.rows(); ++t) {
    if (batch.is_padding(t)) {
      std::fill_n(to.row(t), to.cols(), S(0));
    } else {
      std::copy_n(from.row(t), to.cols(), to.row(t));
    }
  }
}

template <class S>
void clear_padding(const Batch& batch, MatrixView<S> m) {
  for (Index t = 0; !batch.mask.empty() && t < m.rows(); ++t) {
    if (batch.is_padding(t)) std::fill_n(m.row(t), m.cols(), S(0));
  }
}

/// to += from.
template <class S>
void add_rows(MatrixView<const S> from, MatrixView<S> to, const ExecutorRef& executor) {
  run_threads(executor, useful_threads(executor, static_cast<double>(from.size())),
              [&](Index i, Index n) {
                const Range r = part_of(from.rows(), i, n);
                for (Index t = r.begin; t < r.end; ++t) {
                  const S* a = from.row(t);
                  S* b = to.row(t);
                  for (Index d = 0; d < from.cols(); ++d) b[d] += a[d];
                }
              });
}

/// What a tape keeps of the call that filled it.
template <class S>
struct CallRecord {
  Index tokens = 0;           ///< T
  Batch batch;                ///< as given, its mask kept below, other spans dropped
  Buffer<std::uint8_t> mask;  ///< [T] or empty
  Buffer<S> x;                ///< [T, D], padding rows zero
  FilledBy layer_id;          ///< the layer that filled the tape, 0 when empty

  /// Returns the copy of x.
  MatrixView<const S> keep(MatrixView<const S> given, const Batch& from) {
    layer_id = 0;
    tokens = given.rows();
    batch = from;
    batch.training = true;
    batch.token_ids = {};
    batch.token_places = {};
    batch.sequence_lengths = {};
    std::copy(from.mask.begin(), from.mask.end(), mask.resize(std::ssize(from.mask)).begin());
    batch.mask = mask.span();
    const MatrixView<S> kept = x.resize(tokens, given.cols());
    copy_without_padding(given, batch, kept);
    return kept;
  }
  MatrixView<const S> kept_x(Index width) const { return {x.data(), tokens, width}; }

  void check_shapes(std::string_view function, Index model_dim, MatrixView<const S> dy,
                    MatrixView<S> dx) const {
    check_backward_shapes(function, dy, dx, tokens, model_dim);
  }
};

/// The seed of part `n` of a module that was given `seed`: of its weights, or, given a batch's, of its
/// draws.
inline std::uint64_t seed_of_part(std::uint64_t seed, std::uint64_t n) {
  const auto word = philox(seed, /*stream=*/0x626c6f636b, n);
  return std::uint64_t{word[0]} << 32 | word[1];
}

}  // namespace detail
MOE_NAMESPACE_END
