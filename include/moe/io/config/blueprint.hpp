// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What a saved file says of a class, and how an object is made again from that.
#pragma once

#include <concepts>
#include <string>
#include <utility>
#include <vector>

#include "moe/core/random.hpp"
#include "moe/io/config/section.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// Specialised for what can say its configuration:
///   static Json describe(const X&)   an object of names and values, parts nested
///   static X make(Section&)          an object of the same types, options and sizes
/// make checks that the file holds the large tensors before it allocates as much; the values come
/// later. It throws FileError, or what the class's constructor throws.
template <class X>
struct Blueprint;

template <class X>
concept HasBlueprint = requires {
  sizeof(Blueprint<X>);
};

template <class X>
Json describe(const X& x) {
  return Blueprint<X>::describe(x);
}

template <class X>
X Section::make(const Json& object, std::string_view name, std::string_view prefix) const {
  Section inner(*file_, where_ + "." + std::string(name), prefix_ + std::string(prefix), object,
                dims, limits_);
  X x = Blueprint<X>::make(inner);
  inner.finish();
  return x;
}

// --- a list of parts: one description where all are alike, else one each ---

/// `part(i)`: the i-th of `count`.
template <class F>
Json describe_list(Index count, F&& part) {
  Json list = Json::array();
  bool alike = true;
  for (Index i = 0; i < count; ++i) {
    list.push_back(detail::describe(part(i)));
    alike = alike && list.back() == list.front();
  }
  if (alike && count > 1) list.erase(list.begin() + 1, list.end());
  return list;
}

/// The tensors' names of the i-th begin with `prefix(i)`.
template <class X, class F>
std::vector<X> make_list(Section& at, std::string_view name, Index count, F&& prefix) {
  std::vector<X> list;
  for (Index i = 0; i < count; ++i) list.push_back(at.item<X>(name, i, count, prefix(i)));
  if (count == 0) at.skip(name);
  return list;
}

// --- parts made of Dims and options: routers, gates, experts, yours too ---

template <class X>
struct Type {};

template <class X>
concept MadeWithRandom = std::constructible_from < X,
        const Dims&, const options_of<X>
&, Random& > ;
template <class X>
concept MadeOfOptions = Describable<X> &&
    (MadeWithRandom<X> || std::constructible_from<X, const Dims&, const options_of<X>&>);

/// The width of an expert that can say it.
template <class X>
concept HasShape = requires(const X& x) {
  { x.shape().hidden_dim } -> std::convertible_to<Index>;
};
template <class X>
concept HasHiddenDim = requires(const X& x) {
  { x.hidden_dim() } -> std::convertible_to<Index>;
};

/// Every size among the options, nested ones too, must be plausible.
struct PlausibleOptions {
  const Section& at;
  std::string inside = {};

  template <class T>
  void operator()(std::string_view name, T& value) const {
    const std::string full = inside + std::string(name);
    if constexpr (std::is_same_v<T, Index>) {
      at.check_size(full, value);
    } else if constexpr (HasFields<T>) {
      value.visit(PlausibleOptions{at, full + "."});
    }
  }
};

/// What is known of the tensors of a part with these options, checked before it is made. For ours see
/// routers.hpp; of yours, whose tensors are not known, the sizes are at least not made up.
template <class X, class O>
void expect_tensors(const Section& at, Type<X>, O& options) {
  if constexpr (HasFields<O>) options.visit(PlausibleOptions{at});
}

template <class X>
requires MadeOfOptions<X>
struct Blueprint<X> {
  using Options = options_of<X>;

  static Json describe(const X& x) {
    Json about = fields_to_json(options_behind(x));
    if constexpr (HasShape<X>) {
      about["hidden_dim"] = x.shape().hidden_dim;
    } else if constexpr (HasHiddenDim<X>) {
      about["hidden_dim"] = x.hidden_dim();
    }
    return about;
  }

  static Options options(Section& at) {
    Options options = at.read_options<Options>();
    // Of a gate nothing: its numbers are limits, as SinkhornGate's max_iterations, not sizes.
    if constexpr (MadeWithRandom<X>) expect_tensors(at, Type<X>(), options);
    return options;
  }

  static X make(Section& at) {
    if constexpr (HasShape<X> || HasHiddenDim<X>) at.dims.hidden_dim = at.size("hidden_dim");
    const Options o = options(at);
    if constexpr (MadeWithRandom<X>) {
      Random random;
      return X(at.dims, o, random);
    } else {
      return X(at.dims, o);
    }
  }
};

}  // namespace detail
MOE_NAMESPACE_END
