// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Does what a file says of a part agree with the part it is to be loaded into?
#pragma once

#include <algorithm>
#include <set>
#include <string>

#include "moe/io/config/fields.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// Every option that both know must agree, but for those named in `state`: they are restored. A list
/// of one part stands for any number of parts like it, see describe_list. Throws FileError.
inline void compare_descriptions(const std::filesystem::path& path, const std::string& where,
                                 const Json& found, const Json& expected,
                                 const std::set<std::string>& state) {
  if (found.is_object() && expected.is_object()) {
    if (found.contains("type") && expected.contains("type")) {  // first: it says the most
      compare_descriptions(path, where + ".type", found["type"], expected["type"], state);
    }
    for (const auto& [key, value] : expected.items()) {
      if (state.contains(key) || !found.contains(key)) continue;
      compare_descriptions(path, where + "." + key, found[key], value, state);
    }
  } else if (found.is_array() && expected.is_array()) {
    const auto is_one_for_all = [](const Json& list) {
      return list.size() == 1 && list.front().is_object();
    };
    const std::size_t n = found.size(), m = expected.size();
    const bool one = is_one_for_all(found) && m > 0, other = is_one_for_all(expected) && n > 0;
    if (n != m && !one && !other) fail_file(path, where, " has ", n, " elements, expected ", m);
    for (std::size_t i = 0; i < std::max(n, m); ++i) {
      compare_descriptions(path, where + "." + std::to_string(i), found[n == 1 ? 0 : i],
                           expected[m == 1 ? 0 : i], state);
    }
  } else if (found != expected) {
    fail_file(path, where, " is ", FieldReader::shown(found), ", expected ",
              FieldReader::shown(expected));
  }
}

}  // namespace detail
MOE_NAMESPACE_END
