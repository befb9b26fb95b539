// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The configuration of experts: FFNs, with adapters or without, those of MoE++, mixtures of kinds, and
// layers as experts.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "moe/expert/ffn.hpp"
#include "moe/io/config/routers.hpp"

MOE_NAMESPACE_BEGIN

template <class S>
class ConstantExpert;
template <class S, class... Kinds>
class AnyOf;
template <class S, class LayerType>
class LayerExpert;
template <class F, bool IsShared>
class LoraFfn;
template <class S>
class LoraRouter;

namespace detail {

/// The file says which biases there are: they are public, and come one by one.
template <class S, class Act, bool IsGated>
struct Blueprint<FfnExpert<S, Act, IsGated>> {
  using X = FfnExpert<S, Act, IsGated>;

  static Json describe(const X& x) {
    Json about = fields_to_json(x.options());
    about["hidden_dim"] = x.shape().hidden_dim;
    return about;
  }

  static X make(Section& at) {
    const Index d = at.dims.model_dim, h = at.size("hidden_dim");
    const auto options = at.read_options<typename X::Options>();
    X x;
    if constexpr (requires { options.clamped; }) x.clamped = options.clamped;
    if constexpr (IsGated) x.w_gate = at.parameter<S>("w_gate", h, d);
    x.w_in = at.parameter<S>("w_in", h, d);
    x.w_out = at.parameter<S>("w_out", d, h);
    const auto bias = [&](std::string_view name, Parameter<S>& p, Index n) {
      if (at.has_tensor(name)) p = at.parameter<S>(name, 1, n);
    };
    if constexpr (IsGated) bias("b_gate", x.b_gate, h);
    bias("b_in", x.b_in, h);
    bias("b_out", x.b_out, d);
    return x;
  }
};

template <class S, class O>
void expect_tensors(const Section& at, Type<ConstantExpert<S>>, O&) {
  at.expect("mix", {2, at.dims.model_dim});
}

/// Which kind, by its name, then as that kind says.
template <class S, class... Kinds>
requires(HasBlueprint<Kinds>&&...) struct Blueprint<AnyOf<S, Kinds...>> {
  using X = AnyOf<S, Kinds...>;

  static Json describe(const X& x) {
    return x.visit([]<class K>(const K& kind) {
      Json about = detail::describe(kind);
      constexpr bool kSame[] = {std::is_same_v<K, Kinds>...};
      std::size_t i = 0;
      while (!kSame[i]) ++i;
      about["kind"] = names()[i];
      return about;
    });
  }

  static X make(Section& at) {
    std::string kind;
    at.read("kind", kind);
    const auto all = names();
    const auto found = std::find(all.begin(), all.end(), kind);
    if (found == all.end()) {
      std::string known;
      for (const std::string& name : all) known += (known.empty() ? "" : ", ") + name;
      fail_file(at.path(), at.where(), ".kind is ", in_quotes(kind), ", expected one of ", known);
    }
    constexpr std::array<X (*)(Section&), sizeof...(Kinds)> kMake = {&make_kind<Kinds>...};
    return kMake[static_cast<std::size_t>(found - all.begin())](at);
  }

 private:
  template <class K>
  static X make_kind(Section& at) {
    return X(Blueprint<K>::make(at));
  }

  /// Labels; one that was there before has its place behind it.
  static std::array<std::string, sizeof...(Kinds)> names() {
    std::array<std::string, sizeof...(Kinds)> all = {TypeLabel<Kinds>::text()...};
    for (std::size_t i = all.size(); i-- > 0;) {
      if (std::find(all.begin(), all.begin() + i, all[i]) != all.begin() + i) {
        all[i] += " #" + std::to_string(i);
      }
    }
    return all;
  }
};

template <class S, class LayerType>
requires HasBlueprint<LayerType>
struct Blueprint<LayerExpert<S, LayerType>> {
  using X = LayerExpert<S, LayerType>;

  static Json describe(const X& x) { return {{"layer", detail::describe(x.layer)}}; }
  static X make(Section& at) { return X(at.part<LayerType>("layer", "")); }
};

// --- adapters: what they are on, their options, and whether they are merged into it ---

template <class X, class Base>
Json describe_lora(const X& x, const Base& base) {
  return {{"base", describe(base)},
          {"lora", fields_to_json(x.options().lora)},
          {"merged", x.merged()},
          {"keeps_original", x.keeps_original()}};
}

/// `expect(options)`: of the adapters' tensors. A merged one keeps the original weights if it did.
template <class X, class Base, class F>
X make_lora(Section& at, Base base, F&& expect) {
  typename X::Options options;
  at.read("lora", options.lora);
  if (options.lora.rank > 0) expect(options.lora, base);
  Random random;
  X x(std::move(base), options.lora, random);
  bool merged = false, keeps_original = false;
  at.read("merged", merged);
  at.read("keeps_original", keeps_original);
  if (merged) x.merge(keeps_original);
  return x;
}

/// Of its own base. One that is shared (SharedLoraFfn) is no part of what is saved, so a layer of such
/// experts has no configuration.
template <class F>
requires HasBlueprint<F>
struct Blueprint<LoraFfn<F, false>> {
  using X = LoraFfn<F, false>;

  static Json describe(const X& x) { return describe_lora(x, x.base()); }

  static X make(Section& at) {
    return make_lora<X>(at, at.part<F>("base", ""), [&](const auto& options, const F& base) {
      const Index d = at.dims.model_dim, h = base.shape().hidden_dim, r = options.rank;
      const auto expect = [&](const std::string& name, bool is_on, Index outputs, Index inputs) {
        if (!is_on) return;
        at.expect("lora." + name + ".a", {r, inputs});
        at.expect("lora." + name + ".b", {outputs, r});
      };
      expect("w_gate", options.on_gate && base.shape().gated, h, d);
      expect("w_in", options.on_in, h, d);
      expect("w_out", options.on_out, d, h);
    });
  }
};

template <class S>
struct Blueprint<LoraRouter<S>> {
  using X = LoraRouter<S>;

  static Json describe(const X& x) { return describe_lora(x, x.base); }

  static X make(Section& at) {
    auto base = at.part<LinearRouter<S>>("base", "");
    return make_lora<X>(at, std::move(base), [&](const auto& options, const auto&) {
      at.expect("lora.a", {options.rank, at.dims.model_dim});
      at.expect("lora.b", {at.dims.num_experts, options.rank});
    });
  }
};

}  // namespace detail
MOE_NAMESPACE_END
