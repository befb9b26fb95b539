// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Text with numbers in it: printf into a string, and the few forms a report needs.
#pragma once

#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <string>
#include <string_view>

namespace text {

/// std::printf into a string.
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
inline std::string
format(const char* pattern, ...) {
  va_list arguments, again;
  va_start(arguments, pattern);
  va_copy(again, arguments);
  const int size = std::vsnprintf(nullptr, 0, pattern, arguments);
  va_end(arguments);
  std::string out(static_cast<std::size_t>(size < 0 ? 0 : size), '\0');
  std::vsnprintf(out.data(), out.size() + 1, pattern, again);
  va_end(again);
  return out;
}

/// The shortest digits that read back as the same number: equal text, equal bits.
inline std::string exact(double value) {
  char digits[64];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  return std::string(digits, end);
}

/// 1234567 -> "1 234 567".
inline std::string grouped(long long value) {
  std::string digits = std::to_string(value);
  for (auto i = static_cast<long long>(digits.size()) - 3; i > (value < 0 ? 1 : 0); i -= 3) {
    digits.insert(static_cast<std::size_t>(i), 1, ' ');
  }
  return digits;
}

/// 75.2 -> "1 min 15 s".
inline std::string duration(double seconds) {
  const auto whole = static_cast<long long>(seconds + 0.5);
  if (whole < 60) return format("%lld s", whole);
  return format("%lld min %lld s", whole / 60, whole % 60);
}

}  // namespace text
