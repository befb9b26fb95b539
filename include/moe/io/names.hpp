// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Names of types and enumerators as they stand in the source, for files that people read.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "moe/expert/ffn.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

// GCC and Clang spell the template argument out in the function's name: "... [with T = moe::X; ...]"
// and "... [T = moe::X]".
template <class T>
constexpr std::string_view spelled_type() {
  return __PRETTY_FUNCTION__;
}
template <auto V>
constexpr std::string_view spelled_value() {
  return __PRETTY_FUNCTION__;
}

/// "moe::v1::Layer<float>" in "... = moe::v1::Layer<float>; ...]" -> "Layer".
constexpr std::string_view short_name(std::string_view spelled, std::string_view ends = "<;]") {
  spelled.remove_prefix(spelled.find(" = ") + 3);
  spelled = spelled.substr(0, spelled.find_first_of(ends));
  const std::size_t scope = spelled.rfind("::");
  return scope == spelled.npos ? spelled : spelled.substr(scope + 2);
}

template <class T>
struct TypeLabel {
  static std::string text() { return std::string(short_name(spelled_type<T>())); }
};

template <class... Types>
std::string label_list() {
  std::string list;
  ((list.append(list.empty() ? "" : ", ").append(TypeLabel<Types>::text())), ...);
  return list;
}

template <template <class...> class X, class... Types>
struct TypeLabel<X<Types...>> {
  static std::string text() {
    return std::string(short_name(spelled_type<X<Types...>>())) + "<" + label_list<Types...>() +
           ">";
  }
};
template <template <class, bool> class X, class Type, bool Value>
struct TypeLabel<X<Type, Value>> {
  static std::string text() {
    return std::string(short_name(spelled_type<X<Type, Value>>())) + "<" + label_list<Type>() +
           (Value ? ", true>" : ", false>");
  }
};
template <class S, class Act, bool IsGated>
struct TypeLabel<FfnExpert<S, Act, IsGated>> {
  static std::string text() {
    return std::string(IsGated ? "GatedFfn<" : "Ffn<") + label_list<S, Act>() + ">";
  }
};

/// Of enumerators numbered below 32; empty when the value is none.
template <class E, int I = 0>
constexpr std::string_view enumerator_name(E value) {
  if constexpr (I < 32) {
    if (static_cast<int>(value) != I) return enumerator_name<E, I + 1>(value);
    // A "<" is of what the enumerator is in: "<unnamed>::E::a", "X<int>::E::a".
    const std::string_view name = short_name(spelled_value<static_cast<E>(I)>(), ";]");
    return name.find(')') == name.npos ? name : "";  // no enumerator: "(moe::E)7"
  } else {
    return "";
  }
}

template <class E>
std::optional<E> enumerator_named(std::string_view name) {
  for (int i = 0; !name.empty() && i < 32; ++i) {
    if (enumerator_name(static_cast<E>(i)) == name) return static_cast<E>(i);
  }
  return std::nullopt;
}

}  // namespace detail

/// The type as the source names it, without namespaces, every argument spelled out:
/// "MoeLayer<float, LinearRouter<float>, TopKGate, GatedFfn<float, Silu>>". The same from every
/// compiler; a list with an argument that is no type or bool is left out.
template <class T>
std::string type_label() {
  return detail::TypeLabel<std::remove_cv_t<T>>::text();
}

MOE_NAMESPACE_END
