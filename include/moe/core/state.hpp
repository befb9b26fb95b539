// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What a part remembers from step to step besides its parameters, and how saving reaches all of it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/core/types.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// Accepts what visit_state calls.
struct AnyStateVisitor {
  template <class... Args>
  void operator()(std::string_view, Args&&...) const {}
};

}  // namespace detail

/// A vector that takes the size of what is loaded into it: one that is empty until first used.
template <class T>
struct AnySize {
  std::vector<T>& values;
};

/// Anything with state: x.visit_state(f) calls f(name, value) for each, in a fixed order. A value is
/// an lvalue, a number or a std::array or std::vector of numbers, whose size the saved one must have,
/// or an AnySize. f(name, value, check) too: check(std::span<const T>) throws std::invalid_argument
/// on numbers that the part cannot be given; it is called before anything is loaded.
template <class X>
concept HasState = requires(X& x, detail::AnyStateVisitor f) {
  x.visit_state(f);
};

namespace detail {

/// f(prefix + name, value, ...) for the state of a part, if it has any.
template <class Part, class F>
void visit_part_state(std::string_view prefix, Part& part, F& f) {
  if constexpr (HasState<Part>) {
    part.visit_state([&](std::string_view name, auto&&... value) {
      f(std::string(prefix).append(name), std::forward<decltype(value)>(value)...);
    });
  }
}

/// The same for each of a list, as "<prefix><index>.<name>".
template <class Part, class F>
void visit_parts_state(std::string_view prefix, std::vector<Part>& parts, F& f) {
  if constexpr (HasState<Part>) {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      visit_part_state(std::string(prefix) + std::to_string(i) + ".", parts[i], f);
    }
  }
}

}  // namespace detail
MOE_NAMESPACE_END
