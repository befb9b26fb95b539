// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What a caller may say about the rows of x besides their values.
#pragma once

#include <cstdint>
#include <span>

#include "moe/core/types.hpp"

MOE_NAMESPACE_BEGIN

/// Facts about the T rows of one call. Everything is optional; spans are not copied and must live
/// through the call.
struct Batch {
  std::span<const std::uint8_t> mask = {};       ///< [T], 0 = padding: not routed, output row zero
  std::span<const std::int64_t> token_ids = {};  ///< [T], for routers that look at ids
  std::uint64_t seed = 0;                        ///< of every random choice in this call
  std::uint64_t step = 0;  ///< training step; separates the random choices of two steps
  std::int64_t first_token =
      0;                  ///< index of row 0 in the whole batch, when that is split over calls
  bool training = false;  ///< set by the layer: true on the call that fills a tape
  /// Tokens per sequence, in order, padding included, their sum T; empty: all T rows are one
  /// sequence. For layers that mix tokens.
  std::span<const Index> sequence_lengths = {};
  /// [T], the index of each row in the whole batch, where rows are picked out of it; empty:
  /// first_token + t.
  std::span<const std::int64_t> token_places = {};

  /// Where row t stands in the whole batch: what random choices are addressed by.
  std::int64_t place_of(Index t) const {
    return token_places.empty() ? first_token + t : token_places[static_cast<std::size_t>(t)];
  }

  bool is_padding(Index t) const { return !mask.empty() && mask[static_cast<std::size_t>(t)] == 0; }
};

/// State of a policy that keeps nothing between forward and backward.
struct NoState {};

/// Options of a policy that has none.
struct NoOptions {};

namespace detail {

template <class X, class O>
struct OptionsOf {
  using type = O;
};
template <class X, class O>
requires requires { typename X::Options; }
struct OptionsOf<X, O> {
  using type = typename X::Options;
};
/// X::Options, or NoOptions for a policy that names none.
template <class X>
using options_of = typename OptionsOf<X, NoOptions>::type;

/// The options that make a policy like `part`: part.options(), which one with options must have.
template <class X>
options_of<X> options_behind(const X& part) {
  if constexpr (requires { part.options(); }) {
    return part.options();
  } else {
    static_assert(std::is_empty_v<options_of<X>>,
                  "moe: a part with Options has options(), which returns them as they are now");
    return {};
  }
}

}  // namespace detail

MOE_NAMESPACE_END
