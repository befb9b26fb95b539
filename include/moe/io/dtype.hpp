// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The element types of safetensors files, and their conversion to the numbers of C++.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

#include "moe/core/error.hpp"

MOE_NAMESPACE_BEGIN

static_assert(std::endian::native == std::endian::little,
              "moe/io: safetensors files are little-endian, and so must the machine be");

/// Names as in the files, in lower case. f8_e4m3 is the one without infinities ("fn"), f8_e8m0 a bare
/// power of two (block scales).
enum class Dtype : std::uint8_t {
  f64,
  f32,
  f16,
  bf16,
  f8_e4m3,
  f8_e5m2,
  f8_e8m0,
  i64,
  i32,
  i16,
  i8,
  u64,
  u32,
  u16,
  u8,
  boolean
};

namespace detail {

struct DtypeRow {
  std::string_view name;
  std::size_t size;
};
inline constexpr std::array<DtypeRow, 16> kDtypes = {{{"F64", 8},
                                                      {"F32", 4},
                                                      {"F16", 2},
                                                      {"BF16", 2},
                                                      {"F8_E4M3", 1},
                                                      {"F8_E5M2", 1},
                                                      {"F8_E8M0", 1},
                                                      {"I64", 8},
                                                      {"I32", 4},
                                                      {"I16", 2},
                                                      {"I8", 1},
                                                      {"U64", 8},
                                                      {"U32", 4},
                                                      {"U16", 2},
                                                      {"U8", 1},
                                                      {"BOOL", 1}}};

/// A binary float of `kExponent` + `kMantissa` bits below its sign, widened to float exactly.
/// Subnormals become normal numbers; the highest exponent is infinity and NaN.
template <int kExponent, int kMantissa>
float widen(std::uint32_t bits) {
  constexpr int kBias = (1 << (kExponent - 1)) - 1;
  const std::uint32_t sign = (bits >> (kExponent + kMantissa) & 1) << 31;
  const std::uint32_t exponent = bits >> kMantissa & ((1u << kExponent) - 1);
  const std::uint32_t mantissa = bits & ((1u << kMantissa) - 1);
  if (exponent == 0) {
    const float tiny = std::ldexp(static_cast<float>(mantissa), 1 - kBias - kMantissa);
    return sign != 0 ? -tiny : tiny;
  }
  const bool special = exponent == (1u << kExponent) - 1;
  const std::uint32_t wide = special ? 255 : exponent + 127 - kBias;
  return std::bit_cast<float>(sign | wide << 23 | mantissa << (23 - kMantissa));
}

}  // namespace detail

inline std::string_view dtype_name(Dtype dtype) {
  return detail::kDtypes[static_cast<std::size_t>(dtype)].name;
}
/// Bytes of one element.
inline std::size_t dtype_size(Dtype dtype) {
  return detail::kDtypes[static_cast<std::size_t>(dtype)].size;
}
/// The dtype of a name as it stands in files; nothing when there is none.
inline std::optional<Dtype> dtype_named(std::string_view name) {
  for (std::size_t i = 0; i < detail::kDtypes.size(); ++i) {
    if (detail::kDtypes[i].name == name) return static_cast<Dtype>(i);
  }
  return std::nullopt;
}

inline float f16_to_float(std::uint16_t bits) { return detail::widen<5, 10>(bits); }
inline float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}
inline float f8_e5m2_to_float(std::uint8_t bits) { return detail::widen<5, 2>(bits); }
/// No infinities: the highest exponent holds numbers up to 448, and NaN only with all bits set.
inline float f8_e4m3_to_float(std::uint8_t bits) {
  if ((bits & 0x7F) == 0x7F) return std::numeric_limits<float>::quiet_NaN();
  if ((bits & 0x78) != 0x78) return detail::widen<4, 3>(bits);
  const float value = 256 + 32 * static_cast<float>(bits & 7);
  return (bits & 0x80) != 0 ? -value : value;
}
/// 2^(bits - 127); 255 is NaN.
inline float f8_e8m0_to_float(std::uint8_t bits) {
  return bits == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, bits - 127);
}

/// The dtype that holds values of T as they are.
template <class T>
constexpr Dtype dtype_of() {
  static_assert(std::is_arithmetic_v<T>, "moe/io: tensors hold numbers");
  if constexpr (std::is_same_v<T, bool>) {
    return Dtype::boolean;
  } else if constexpr (std::is_floating_point_v<T>) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "moe/io: tensors hold float or double");
    return sizeof(T) == 8 ? Dtype::f64 : Dtype::f32;
  } else {
    constexpr Dtype kSigned = sizeof(T) == 8   ? Dtype::i64
                              : sizeof(T) == 4 ? Dtype::i32
                              : sizeof(T) == 2 ? Dtype::i16
                                               : Dtype::i8;
    constexpr int kToUnsigned = static_cast<int>(Dtype::u64) - static_cast<int>(Dtype::i64);
    return std::is_signed_v<T> ? kSigned
                               : static_cast<Dtype>(static_cast<int>(kSigned) + kToUnsigned);
  }
}

MOE_NAMESPACE_END
