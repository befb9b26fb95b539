// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// An expert that is one of several kinds, decided while the program runs: rows [n, D] -> rows [n, D].
#pragma once

#include <functional>
#include <utility>
#include <variant>
#include <vector>

#include "moe/core/batch.hpp"
#include "moe/core/error.hpp"
#include "moe/core/state.hpp"
#include "moe/expert/expert.hpp"

MOE_NAMESPACE_BEGIN

template <class X>
class ExpertMix;

/// Holds an expert of one of `Kinds`, so that a layer can mix them: FFNs of several widths and
/// activations, identity, zero and constant experts, types of your own.
///
///   using Any = moe::AnyOf<float, moe::GatedFfn<float>, moe::IdentityExpert<float>>;
///   std::vector<Any> experts(6, Any(moe::GatedFfn<float>(dims, {}, random)));
///   experts.push_back(moe::IdentityExpert<float>());
///
/// or by ExpertMix below. In a layer, neighbours that are FFNs of one shape go through one grouped
/// product, with adapters (LoraFfn) or without, whatever stands around them; identity, zero and
/// constant experts cost none; experts of other types are called one by one. A token's experts are
/// summed in ascending order all the same, so keep experts of one kind together.
template <class S, class... Kinds>
class AnyOf {
  static_assert((Expert<Kinds, S> && ...),
                "moe::AnyOf: every kind needs State, forward(in, out, state) const, backward(in, "
                "dout, din, state) and visit_parameters(f); see moe/expert/expert.hpp");

 public:
  using Variant = std::variant<Kinds...>;
  using Options = ExpertMix<AnyOf>;
  template <class K>
  static constexpr bool kHas = (std::same_as<K, Kinds> || ...);

  /// Memory of a call for whichever kind is held.
  class State {
   public:
    /// The state of an expert of kind K; another kind's is thrown away.
    template <class K>
    typename K::State& of() {
      constexpr std::size_t kIndex = index_of<K>();
      if (memory_.index() != kIndex) memory_.template emplace<kIndex>();
      return std::get<kIndex>(memory_);
    }
    /// The same, or null when it is another kind's.
    template <class K>
    const typename K::State* find() const {
      return std::get_if<index_of<K>()>(&memory_);
    }

   private:
    std::variant<typename Kinds::State...> memory_;
  };

  /// The first kind, as its default constructor makes it.
  AnyOf() = default;

  template <class K>
  requires(kHas<std::remove_cvref_t<K>>) AnyOf(K&& expert)  // NOLINT(google-explicit-constructor)
      : expert_(std::forward<K>(expert)) {}

  template <class K>
  bool holds() const {
    return std::holds_alternative<K>(expert_);
  }

  /// The expert, of kind K. Throws std::invalid_argument when it is of another kind.
  template <class K>
  K& get() {
    check_kind<K>();
    return std::get<K>(expert_);
  }
  template <class K>
  const K& get() const {
    check_kind<K>();
    return std::get<K>(expert_);
  }

  /// f(expert), as the type it is of.
  template <class F>
  decltype(auto) visit(F&& f) {
    return std::visit(std::forward<F>(f), expert_);
  }
  template <class F>
  decltype(auto) visit(F&& f) const {
    return std::visit(std::forward<F>(f), expert_);
  }

  void forward(MatrixView<const S> in, MatrixView<S> out, State& state) const {
    visit([&]<class K>(const K& expert) { expert.forward(in, out, state.template of<K>()); });
  }
  void backward(MatrixView<const S> in, MatrixView<const S> dout, MatrixView<S> din, State& state) {
    visit([&]<class K>(K& expert) { expert.backward(in, dout, din, state.template of<K>()); });
  }
  /// Throws what backward would, where the expert can say so beforehand, and when the forward that
  /// filled `state` was of another kind.
  void check_backward(const State& state) const {
    visit([&]<class K>(const K& expert) {
      const typename K::State* own = state.template find<K>();
      if (own == nullptr) {
        detail::fail("moe::AnyOf::backward", "the expert is of another kind than in the forward");
      }
      if constexpr (requires { expert.check_backward(*own); }) expert.check_backward(*own);
    });
  }
  template <class F>
  void visit_parameters(F&& f) {
    visit([&](auto& expert) { expert.visit_parameters(f); });
  }
  template <class F>
  void visit_state(F&& f) {
    visit([&](auto& expert) { detail::visit_part_state("", expert, f); });
  }

 private:
  template <class K>
  static constexpr std::size_t index_of() {
    const bool same[] = {std::same_as<K, Kinds>...};
    std::size_t i = 0;
    while (!same[i]) ++i;
    return i;
  }
  template <class K>
  void check_kind() const {
    static_assert(kHas<K>, "moe::AnyOf::get: the type is none of the kinds");
    if (!holds<K>()) {
      detail::fail("moe::AnyOf::get", "the expert is of kind ", expert_.index(), ", expected ",
                   index_of<K>(), " in the list of kinds");
    }
  }

  Variant expert_;
};

/// Which experts a layer of AnyOf has, in their order. As a layer's Config::expert:
///   config.expert.add<moe::GatedFfn<float>>(6).add<moe::IdentityExpert<float>>(2);
/// or as the list itself, for a layer made of parts: mix.make_all(dims, seed).
template <class X>
class ExpertMix {
 public:
  /// `count` experts of kind K with random weights; hidden_dim 0: the layer's. Throws
  /// std::invalid_argument on a count or width below 0.
  template <class K>
  ExpertMix& add(Index count, detail::options_of<K> options = {}, Index hidden_dim = 0) {
    if (count < 0) detail::fail(kName, "count is ", count, ", expected at least 0");
    if (hidden_dim < 0) detail::fail(kName, "hidden_dim is ", hidden_dim, ", expected at least 0");
    parts_.push_back({count, [=](Dims dims, Random& random) -> X {
                        if (hidden_dim > 0) dims.hidden_dim = hidden_dim;
                        return K(dims, options, random);
                      }});
    return *this;
  }

  Index count() const {
    Index sum = 0;
    for (const Part& part : parts_) sum += part.count;
    return sum;
  }

  /// Expert e. Throws std::invalid_argument unless 0 <= e < count().
  X make(Index e, const Dims& dims, Random& random) const {
    Index first = 0;
    for (const Part& part : parts_) {
      if (e >= first && e < first + part.count) return part.make(dims, random);
      first += part.count;
    }
    detail::fail(kName, "expert ", e, " is asked for, expected 0 to ", first - 1);
  }

  /// All of them, each from a stream of its own of the seed.
  std::vector<X> make_all(const Dims& dims, std::uint64_t seed = 0) const {
    std::vector<X> experts;
    for (Index e = 0; e < count(); ++e) {
      Random random(seed, static_cast<std::uint64_t>(e) + 1);
      experts.push_back(make(e, dims, random));
    }
    return experts;
  }

 private:
  static constexpr const char* kName = "moe::ExpertMix";
  struct Part {
    Index count;
    std::function<X(Dims, Random&)> make;
  };
  std::vector<Part> parts_;
};

MOE_NAMESPACE_END
