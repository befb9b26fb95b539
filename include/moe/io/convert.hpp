// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Elements of any dtype -> values of C++, in the caller's memory.
#pragma once

#include <concepts>
#include <span>
#include <utility>

#include "moe/io/dtype.hpp"

MOE_NAMESPACE_BEGIN

/// Can elements of `from` become T? Numbers of every kind become float and double (rounded to
/// nearest where T is narrower); integers become integers as long as each fits. Never floats to
/// integers, and BOOL to nothing.
template <class T>
constexpr bool converts(Dtype from) {
  if (from == Dtype::boolean || std::is_same_v<T, bool>) return false;
  return std::is_floating_point_v<T> || from >= Dtype::i64;
}

namespace detail {

/// f(value) for each element, as memory holds it: no alignment asked.
template <class Stored, class F>
bool for_stored(std::span<const std::byte> bytes, F&& f) {
  for (std::size_t i = 0; i + sizeof(Stored) <= bytes.size(); i += sizeof(Stored)) {
    Stored value;
    std::memcpy(&value, bytes.data() + i, sizeof(Stored));
    if (!f(value)) return false;
  }
  return true;
}

/// Integers, narrowed only when they fit.
template <class Stored, class T>
bool convert_integers(std::span<const std::byte> bytes, T* out) {
  return for_stored<Stored>(bytes, [&](Stored value) {
    if constexpr (std::is_integral_v<T>) {
      if (!std::in_range<T>(value)) return false;
    }
    *out++ = static_cast<T>(value);
    return true;
  });
}

template <class Stored, class T, class Widen>
bool convert_floats(std::span<const std::byte> bytes, T* out, Widen&& widen) {
  return for_stored<Stored>(bytes, [&](Stored value) {
    *out++ = static_cast<T>(widen(value));
    return true;
  });
}

/// One byte each: from a table, as ldexp per element is slow.
template <class T, class Widen>
bool convert_bytes(std::span<const std::byte> bytes, T* out, Widen&& widen) {
  std::array<float, 256> table;
  for (std::size_t i = 0; i < 256; ++i) table[i] = widen(static_cast<std::uint8_t>(i));
  return convert_floats<std::uint8_t>(bytes, out, [&](std::uint8_t b) { return table[b]; });
}

/// Floats of every width to float or double.
template <std::floating_point T>
bool convert_from_floats(Dtype from, std::span<const std::byte> bytes, T* out) {
  const auto same = [](auto value) { return value; };
  switch (from) {
    case Dtype::f64:
      return convert_floats<double>(bytes, out, same);
    case Dtype::f32:
      return convert_floats<float>(bytes, out, same);
    case Dtype::f16:
      return convert_floats<std::uint16_t>(bytes, out, f16_to_float);
    case Dtype::bf16:
      return convert_floats<std::uint16_t>(bytes, out, bf16_to_float);
    case Dtype::f8_e4m3:
      return convert_bytes(bytes, out, f8_e4m3_to_float);
    case Dtype::f8_e5m2:
      return convert_bytes(bytes, out, f8_e5m2_to_float);
    default:
      return convert_bytes(bytes, out, f8_e8m0_to_float);
  }
}

/// `bytes` are whole elements of `from`, `out` has room for as many. False, with part of `out`
/// written, when an integer does not fit. Precondition: converts<T>(from).
template <class T>
bool convert(Dtype from, std::span<const std::byte> bytes, T* out) {
  if (from == dtype_of<T>()) {
    if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
    return true;
  }
  if constexpr (std::is_floating_point_v<T>) {
    if (from < Dtype::i64) return convert_from_floats(from, bytes, out);
  }
  switch (from) {
    case Dtype::i64:
      return convert_integers<std::int64_t>(bytes, out);
    case Dtype::i32:
      return convert_integers<std::int32_t>(bytes, out);
    case Dtype::i16:
      return convert_integers<std::int16_t>(bytes, out);
    case Dtype::i8:
      return convert_integers<std::int8_t>(bytes, out);
    case Dtype::u64:
      return convert_integers<std::uint64_t>(bytes, out);
    case Dtype::u32:
      return convert_integers<std::uint32_t>(bytes, out);
    case Dtype::u16:
      return convert_integers<std::uint16_t>(bytes, out);
    default:
      return convert_integers<std::uint8_t>(bytes, out);
  }
}

}  // namespace detail
MOE_NAMESPACE_END
