// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What happens when the caller is wrong: std::invalid_argument with function, value and
// expectation.
#pragma once

#include <concepts>
#include <stdexcept>
#include <string>
#include <string_view>

#include "moe/core/types.hpp"

/// Internal consistency only; compiled in when MOE_DEBUG is defined. Never for a caller's mistake.
#ifdef MOE_DEBUG
#include <cassert>
#define MOE_ASSERT(condition) assert(condition)
#else
#define MOE_ASSERT(condition) static_cast<void>(0)
#endif

MOE_NAMESPACE_BEGIN
namespace detail {

inline std::string to_text(std::string_view text) { return std::string(text); }
template <class N>
requires std::is_arithmetic_v<N> std::string to_text(N value) {
  if constexpr (std::is_same_v<N, bool>)
    return value ? "true" : "false";
  else
    return std::to_string(value);
}

/// Throws std::invalid_argument("<function>: <parts joined>"). Kept out of line and cold: the
/// checks that call it stand at public entries and cost one comparison.
template <class... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void fail(std::string_view function, const Parts&... parts) {
  std::string message(function);
  message += ": ";
  ((message += to_text(parts)), ...);
  throw std::invalid_argument(message);
}

/// `what` has `actual` columns (or rows ...), `owner` needs `expected`.
inline void check_size(std::string_view function, std::string_view what, Index actual,
                       std::string_view unit, std::string_view owner, Index expected) {
  if (actual != expected) {
    fail(function, what, " has ", actual, " ", unit, ", ", owner, " is ", expected);
  }
}

/// Shape of a matrix argument, both numbers named.
template <class T>
void check_shape(std::string_view function, std::string_view what, const MatrixView<T>& m,
                 Index rows, Index cols) {
  if (m.rows() != rows || m.cols() != cols) {
    fail(function, what, " is [", m.rows(), ", ", m.cols(), "], expected [", rows, ", ", cols, "]");
  }
}

inline void check_positive(std::string_view function, std::string_view what, Index value) {
  if (value <= 0) fail(function, what, " is ", value, ", expected at least 1");
}

/// Index i of `owner`'s list of `count` things called `what`, as its function of that name is asked.
inline std::size_t checked_index(std::string_view owner, std::string_view what, Index i,
                                 Index count) {
  if (i < 0 || i >= count) {
    const std::string function = std::string(owner) + "::" + std::string(what);
    if (count == 0) fail(function, what, " ", i, " is asked for, but there are none");
    fail(function, what, " ", i, " is asked for, expected 0 to ", count - 1);
  }
  return static_cast<std::size_t>(i);
}

/// True when two views share a value. Column blocks of one matrix interleave in memory without
/// sharing.
template <class A, class B>
bool overlap(const MatrixView<A>& a, const MatrixView<B>& b) {
  if (a.empty() || b.empty()) return false;
  const auto first = [](const auto& m) { return reinterpret_cast<std::uintptr_t>(m.data()); };
  const auto last = [](const auto& m) {
    return reinterpret_cast<std::uintptr_t>(m.row(m.rows() - 1) + m.cols());
  };
  if (first(a) >= last(b) || first(b) >= last(a)) return false;
  const auto pitch = static_cast<std::uintptr_t>(a.stride()) * sizeof(A);
  if (a.stride() != b.stride() || sizeof(A) != sizeof(B) || pitch == 0) return true;
  // Distance from a column of a to the next column of b, within one row pitch.
  const std::uintptr_t shift = first(b) >= first(a)
                                   ? (first(b) - first(a)) % pitch
                                   : (pitch - (first(a) - first(b)) % pitch) % pitch;
  return shift < static_cast<std::uintptr_t>(a.cols()) * sizeof(A) ||
         shift + static_cast<std::uintptr_t>(b.cols()) * sizeof(B) > pitch;
}

template <class A, class B>
void check_no_alias(std::string_view function, std::string_view input, const MatrixView<A>& a,
                    std::string_view output, const MatrixView<B>& b) {
  if (overlap(a, b)) {
    fail(function, output, " shares memory with ", input, ", expected separate matrices");
  }
}

}  // namespace detail
MOE_NAMESPACE_END
