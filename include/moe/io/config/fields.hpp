// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Options as JSON and back: a member visit(f) calls f(name, field) for each field.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "moe/core/batch.hpp"
#include "moe/io/json.hpp"
#include "moe/io/names.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

struct AnyFieldVisitor {
  template <class T>
  void operator()(std::string_view, T&) const {}
};
template <class O>
concept HasFields = requires(O& o, AnyFieldVisitor f) {
  o.visit(f);
};

template <class T>
Json field_to_json(const T& value);

/// Fields in an object, empty for options without any.
template <class O>
Json fields_to_json(O options) {
  static_assert(HasFields<O> || std::is_empty_v<O>,
                "moe: options that are saved need a member visit(f) that calls f(name, field) for "
                "each of their fields");
  Json object = Json::object();
  if constexpr (HasFields<O>) {
    options.visit([&](std::string_view name, const auto& value) {
      object[std::string(name)] = field_to_json(value);
    });
  }
  return object;
}

template <class T>
Json field_to_json(const T& value) {
  if constexpr (requires { value.has_value(); }) {
    return value.has_value() ? field_to_json(*value) : Json(nullptr);
  } else if constexpr (std::is_enum_v<T>) {
    return enumerator_name(value);
  } else if constexpr (std::is_floating_point_v<T>) {
    // JSON has no such numbers
    if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
    return value;
  } else if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
    return value;
  } else if constexpr (requires { value.size(); }) {
    Json list = Json::array();
    for (const typename T::value_type& item : value) list.push_back(field_to_json(item));
    return list;
  } else {
    return fields_to_json(value);
  }
}

/// Reads fields where they are there; `where` names the object in messages.
class FieldReader {
 public:
  FieldReader(const std::filesystem::path& path, std::string where, const Json& object)
      : path_(path), where_(std::move(where)), object_(object) {
    if (!object.is_object())
      fail_file(path_, where_, " is ", shown(object), ", expected an object");
  }

  /// A field that an older library did not know keeps its default.
  template <class T>
  void operator()(std::string_view name, T& value) {
    known_.emplace_back(name);
    const auto found = object_.find(name);
    if (found != object_.end()) read(known_.back(), *found, value);
  }

  /// For what is read elsewhere. Throws FileError when it is not there.
  const Json& take(std::string_view name) {
    known_.emplace_back(name);
    const auto found = object_.find(name);
    if (found == object_.end()) fail_file(path_, where_, " has no ", in_quotes(name));
    return *found;
  }

  /// Throws when the object has more than was read.
  void finish() const {
    for (const auto& [name, value] : object_.items()) {
      if (std::find(known_.begin(), known_.end(), name) == known_.end()) {
        fail_file(path_, where_, " has ", in_quotes(name), ", which this version does not know");
      }
    }
  }

  static std::string shown(const Json& value) {
    const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    return text.size() > 60 ? text.substr(0, 60) + "..." : text;
  }

 private:
  template <class T>
  void read(const std::string& name, const Json& json, T& value) {
    if constexpr (requires { value.has_value(); }) {
      if (json.is_null()) return value.reset();
      read(name, json, value.emplace());
    } else if constexpr (std::is_same_v<T, bool>) {
      if (!json.is_boolean()) wrong(name, json, "true or false");
      value = json.get<bool>();
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!json.is_string()) wrong(name, json, "a text");
      value = json.get<std::string>();
    } else if constexpr (std::is_enum_v<T>) {
      const auto found =
          json.is_string() ? enumerator_named<T>(json.get_ref<const std::string&>()) : std::nullopt;
      if (!found) wrong(name, json, "a name of " + type_label<T>());
      value = *found;
    } else if constexpr (std::is_integral_v<T>) {
      read_integer(name, json, value);
    } else if constexpr (std::is_floating_point_v<T>) {
      read_float(name, json, value);
    } else if constexpr (requires { value.size(); }) {
      if (!json.is_array()) wrong(name, json, "an array");
      value.clear();
      for (const Json& item : json) {
        typename T::value_type next{};
        read(name, item, next);
        value.push_back(std::move(next));
      }
    } else {
      FieldReader inner(path_, where_ + "." + name, json);
      if constexpr (HasFields<T>) value.visit(inner);
      inner.finish();
    }
  }

  template <class T>
  void read_integer(const std::string& name, const Json& json, T& value) {
    const bool fits = json.is_number_unsigned()
                          ? std::in_range<T>(json.get<std::uint64_t>())
                          : json.is_number_integer() && std::in_range<T>(json.get<std::int64_t>());
    if (!fits) wrong(name, json, "an integer in range");
    value = json.get<T>();
  }
  template <class T>
  void read_float(const std::string& name, const Json& json, T& value) {
    constexpr auto kInfinity = std::numeric_limits<T>::infinity();
    if (json.is_number()) {
      value = static_cast<T>(json.get<double>());
    } else if (json == "inf" || json == "-inf") {
      value = json == "inf" ? kInfinity : -kInfinity;
    } else if (json == "nan") {
      value = std::numeric_limits<T>::quiet_NaN();
    } else {
      wrong(name, json, "a number");
    }
  }

  [[noreturn]] void wrong(const std::string& name, const Json& json,
                          const std::string& expected) const {
    fail_file(path_, where_, ".", name, " is ", shown(json), ", expected ", expected);
  }

  const std::filesystem::path& path_;
  std::string where_;
  const Json& object_;
  std::vector<std::string> known_;
};

/// A part whose options can be asked for and listed.
template <class X>
concept Describable = std::is_empty_v<options_of<X>> ||
    (HasFields<options_of<X>>&& requires(const X& x) { x.options(); });

}  // namespace detail
MOE_NAMESPACE_END
