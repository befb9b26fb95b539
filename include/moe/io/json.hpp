// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// JSON of files nobody vouches for: config.json and shard indices.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "moe/io/mapped_file.hpp"

MOE_NAMESPACE_BEGIN

using Json = nlohmann::json;

namespace detail {

inline constexpr int kDeepestJson = 64;

/// A text may not hold NUL: the parser would take it for the end.
inline void check_no_nul(const std::filesystem::path& path, std::string_view text) {
  if (text.find('\0') != text.npos) fail_file(path, "the JSON holds a NUL byte");
}

/// What the parser says, without the prefix with its name and error number.
inline std::string parser_message(const std::exception& error) {
  const std::string_view text = error.what();
  const std::size_t end = text.find("] ");
  return std::string(text.starts_with('[') && end != text.npos ? text.substr(end + 2) : text);
}

}  // namespace detail

/// `text` as JSON. Stricter than the parser alone: throws FileError naming `path` on duplicate keys
/// (the parser would silently keep the last), nesting deeper than 64, and any syntax error.
inline Json parse_json(std::string_view text, const std::filesystem::path& path) {
  detail::check_no_nul(path, text);
  std::vector<std::set<std::string>> keys;  // of each open object, arrays left out
  const auto check = [&](int depth, Json::parse_event_t event, const Json& value) {
    using Event = Json::parse_event_t;
    if (depth > detail::kDeepestJson) {
      detail::fail_file(path, "the JSON is nested deeper than ", detail::kDeepestJson);
    }
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(value.get<std::string>()).second) {
      detail::fail_file(path, "the JSON names ",
                        detail::in_quotes(value.get_ref<const std::string&>()),
                        " twice in one object");
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::exception& error) {
    detail::fail_file(path, "bad JSON: ", detail::parser_message(error));
  }
}

/// The file's JSON, as parse_json. Throws FileError also when it cannot be read or has over 256 MB.
inline Json read_json(const std::filesystem::path& path) {
  const MappedFile file(path);
  if (file.bytes().size() > std::size_t{256} << 20) {
    detail::fail_file(path, "has ", file.bytes().size(), " bytes, too many for JSON");
  }
  return parse_json({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()},
                    path);
}

MOE_NAMESPACE_END
