// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Command line: whole numbers and texts by name, everything else is a path.
#pragma once

#include <locale>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "format.hpp"
#include "read_text.hpp"

namespace text {

/// One option: its name with dashes, what it takes, and where the value goes. A bool takes nothing
/// and is set to the opposite of its default.
struct Option {
  std::string_view name;
  std::string_view help;
  std::variant<long long*, double*, std::string*, bool*> value;
  double low = 0;  ///< smallest and largest number allowed
  double high = 0;
};

namespace detail {

template <class N>
void read_number(const Option& option, std::string_view given, N& value) {
  // A stream also knows floating point where from_chars does not yet.
  std::istringstream in{std::string(given)};
  in.imbue(std::locale::classic());
  N parsed{};
  const bool reads = !given.empty() && (in >> std::noskipws >> parsed) && in.peek() == EOF;
  const auto number = static_cast<double>(parsed);
  if (!reads || !(number >= option.low && number <= option.high)) {
    throw UsageError(format("%s is '%s', expected a %snumber from %g to %g",
                            std::string(option.name).c_str(), std::string(given).c_str(),
                            std::is_integral_v<N> ? "whole " : "", option.low, option.high));
  }
  value = parsed;
}

inline const Option& find_option(std::span<const Option> options, std::string_view name) {
  for (const Option& option : options) {
    if (option.name == name) return option;
  }
  throw UsageError("there is no option " + std::string(name) + "; --help lists what there is");
}

inline void store(const Option& option, std::string_view given) {
  if (auto* const* whole = std::get_if<long long*>(&option.value)) {
    read_number(option, given, **whole);
  } else if (auto* const* real = std::get_if<double*>(&option.value)) {
    read_number(option, given, **real);
  } else if (auto* const* words = std::get_if<std::string*>(&option.value)) {
    if (given.empty()) throw UsageError(std::string(option.name) + " expects a value");
    **words = given;
  }
}

}  // namespace detail

/// Sets what the arguments name ("--steps 20" or "--steps=20") and returns the paths among them;
/// after "--" all are paths. Throws UsageError with the sentence for the user.
inline std::vector<std::string> parse_arguments(std::span<const Option> options, int count,
                                                char** arguments) {
  std::vector<std::string> paths;
  bool only_paths = false;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = arguments[i];
    if (only_paths || !word.starts_with('-') || word == "-") {
      paths.emplace_back(word);
      continue;
    }
    if (word == "--") {
      only_paths = true;
      continue;
    }
    const std::size_t equals = word.find('=');
    const Option& option = detail::find_option(options, word.substr(0, equals));
    if (bool* const* flag = std::get_if<bool*>(&option.value)) {
      if (equals != word.npos) throw UsageError(std::string(option.name) + " takes no value");
      **flag = !**flag;
    } else if (equals != word.npos) {
      detail::store(option, word.substr(equals + 1));
    } else if (i + 1 < count) {
      detail::store(option, arguments[++i]);
    } else {
      throw UsageError(std::string(option.name) + " expects a value after it");
    }
  }
  return paths;
}

/// One line per option, with its default.
inline std::string describe(std::span<const Option> options) {
  std::string out;
  for (const Option& option : options) {
    std::string name(option.name), standard;
    if (auto* const* whole = std::get_if<long long*>(&option.value)) {
      name += " N";
      if (static_cast<double>(**whole) >= option.low)
        standard = std::to_string(**whole);  // else there is none
    } else if (auto* const* real = std::get_if<double*>(&option.value)) {
      name += " X";
      standard = exact(**real);
    } else if (auto* const* words = std::get_if<std::string*>(&option.value)) {
      name += " TEXT";
      standard = **words;
    }
    out += format("  %-16s %s", name.c_str(), std::string(option.help).c_str());
    out += standard.empty() ? "\n" : " (" + standard + ")\n";
  }
  return out;
}

}  // namespace text
