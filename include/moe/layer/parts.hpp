// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What layers share about the parts they are built of: making, checking and visiting them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "moe/core/error.hpp"
#include "moe/expert/runs.hpp"
#include "moe/layer/identity.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// A router with random weights, from stream 0 of the seed.
template <class RouterType>
RouterType make_router(const Dims& dims, const options_of<RouterType>& options,
                       std::uint64_t seed) {
  Random random(seed, 0);
  return RouterType(dims, options, random);
}

/// `count` experts with random weights, expert e from stream e + 1 of the seed: stream 0 is the
/// router's. Options that are a list of experts (ExpertMix) say of which kind each is; throws
/// std::invalid_argument unless there are `count` of them.
template <class ExpertType>
std::vector<ExpertType> make_experts(const Dims& dims, const options_of<ExpertType>& options,
                                     Index count, std::uint64_t seed) {
  if constexpr (requires { options.make_all(dims, seed); }) {
    check_size("moe::ExpertMix", "the list", options.count(), "experts", "num_experts", count);
    return options.make_all(dims, seed);
  } else {
    std::vector<ExpertType> experts;
    for (Index e = 0; e < count; ++e) {
      Random random(seed, static_cast<std::uint64_t>(e) + 1);
      experts.emplace_back(dims, options, random);
    }
    return experts;
  }
}

/// Is an expert, known as `name` or by its number, as wide as the layer, as far as it can say?
template <class S, class Name, class ExpertType>
void check_expert(std::string_view function, const Name& name, const ExpertType& expert,
                  std::string_view owner, Index model_dim) {
  if constexpr (GroupedExpert<ExpertType, S>) {
    const FfnShape shape = expert.shape();
    if (shape.model_dim != model_dim) {
      fail(function, std::is_arithmetic_v<Name> ? "expert " : "", name, " has ", shape.model_dim,
           " columns, ", owner, " is ", model_dim);
    }
    expert.check_shapes(function, shape);
  } else if constexpr (requires { expert.check_model_dim(function, model_dim); }) {
    expert.check_model_dim(function, model_dim);
  }
}

/// Experts of a type that the grouped kernels read directly must all be alike and as wide as the
/// layer. Experts of several kinds (AnyOf) must each be as wide as the layer; what an expert of
/// another type needs is its own business.
template <class S, class ExpertType>
void check_experts(std::string_view function, const std::vector<ExpertType>& experts,
                   std::string_view owner, Index model_dim) {
  if constexpr (GroupedExpert<ExpertType, S>) {
    if (experts.empty()) return;
    const FfnShape first = experts.front().shape();
    check_size(function, "expert 0", first.model_dim, "columns", owner, model_dim);
    for (std::size_t e = 0; e < experts.size(); ++e) {
      const FfnShape shape = experts[e].shape();
      if (shape.model_dim != first.model_dim || shape.hidden_dim != first.hidden_dim) {
        fail(function, "expert ", e, " is [", shape.hidden_dim, ", ", shape.model_dim,
             "], expected [", first.hidden_dim, ", ", first.model_dim, "] as expert 0");
      }
      experts[e].check_shapes(function, first);
      if (shape.clamped != first.clamped) {
        fail(function, "expert ", e, " has other numbers of its clamped SwiGLU than expert 0");
      }
    }
  } else {
    for (std::size_t e = 0; e < experts.size(); ++e) {
      visit_kind(experts[e], [&](const auto& expert) {
        check_expert<S>(function, e, expert, owner, model_dim);
      });
    }
  }
}

/// f(prefix + name, parameter) for the parameters of a part, if it has any.
template <class S, class Part, class F>
void visit_part(std::string_view prefix, Part& part, F& f) {
  if constexpr (HasParameters<Part, S>) {
    std::string full;
    part.visit_parameters([&](std::string_view name, Parameter<S>& p) {
      full.assign(prefix).append(name);
      f(std::string_view(full), p);
    });
  }
}

/// The same for each of a list, as "<prefix><index>.<name>".
template <class S, class Part, class F>
void visit_parts(std::string_view prefix, std::vector<Part>& parts, F& f) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    visit_part<S>(std::string(prefix) + std::to_string(i) + ".", parts[i], f);
  }
}

}  // namespace detail
MOE_NAMESPACE_END
