// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What is wrong with a file: moe::FileError, with the file's name and what was expected.
#pragma once

#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

#include "moe/core/error.hpp"

MOE_NAMESPACE_BEGIN

/// A file cannot be read or written, is damaged, or does not hold what was asked of it. what() names
/// the file and, where there is one, the tensor. A wrong argument is std::invalid_argument as
/// everywhere.
class FileError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {

/// Throws FileError("<path>: <parts joined>").
template <class... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void fail_file(const std::filesystem::path& path,
                                                      const Parts&... parts) {
  std::string message = path.string();
  message += ": ";
  ((message += to_text(parts)), ...);
  throw FileError(message);
}

/// The same for a failed system call: "<path>: cannot <what>: <reason of errno>".
[[noreturn, gnu::cold, gnu::noinline]] inline void fail_system(const std::filesystem::path& path,
                                                               std::string_view what, int error) {
  fail_file(path, "cannot ", what, ": ", std::generic_category().message(error));
}

/// A name from a file in quotes, fit for a message of one line: control characters and what is not
/// ASCII as \xNN, cut after 200 characters.
inline std::string in_quotes(std::string_view name) {
  constexpr std::size_t kLongest = 200;
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text = "'";
  for (const char c : name.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      text += c;
    } else {
      text.append("\\x").append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
    }
  }
  text += name.size() > kLongest ? "...'" : "'";
  return text;
}

}  // namespace detail
MOE_NAMESPACE_END
