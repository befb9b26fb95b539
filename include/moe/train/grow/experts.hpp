// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Experts made from experts: the mean of several, noise on one, one drawn anew in the shape of another.
#pragma once

#include <cmath>
#include <span>
#include <vector>

#include "moe/core/error.hpp"
#include "moe/core/parameter.hpp"
#include "moe/expert/ffn.hpp"
#include "moe/layer/parts.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

template <class S, class M>
std::vector<Parameter<S>*> parameters_in_order(M& module) {
  std::vector<Parameter<S>*> list;
  module.visit_parameters([&](std::string_view, Parameter<S>& p) { list.push_back(&p); });
  return list;
}

/// Trains like new: no gradient of what it was made from. Under an adapter only the adapter trains.
template <class S, class M>
void start_training(M& module) {
  for (Parameter<S>* p : parameters_in_order<S>(module)) {
    p->grad.resize(0, 0);
    p->trainable = true;
  }
  if constexpr (requires { module.freeze_base(); }) module.freeze_base();
}

/// mean += share * (other - mean) for each parameter, one shape; throws when they differ.
template <class S, class X>
void add_towards(std::string_view function, X& mean, const X& first, X& other, double share) {
  X base = first;
  const auto sums = parameters_in_order<S>(mean), from = parameters_in_order<S>(base),
             to = parameters_in_order<S>(other);
  check_size(function, "an expert", std::ssize(to), "parameters", "their number in the first",
             std::ssize(from));
  for (std::size_t i = 0; i < to.size(); ++i) {
    check_shape<const S>(function, "a parameter of an expert", to[i]->value, from[i]->value.rows(),
                         from[i]->value.cols());
    sums[i]->value += static_cast<S>(share) * (to[i]->value - from[i]->value);
  }
}

/// Throws unless `layer` would take `expert` beside those it has, by the rule of check_experts: FFNs for
/// the grouped kernels are alike, experts of several kinds as wide as the layer.
template <class Layer, class X>
void check_fits(std::string_view function, const Layer& layer, const X& expert) {
  using S = typename Layer::Scalar;
  Index width = layer.model_dim();
  std::string_view owner = "the router's model_dim";
  if constexpr (requires { layer.latent_dim(); }) {
    width = layer.latent_dim();
    owner = "the latent width";
  }
  visit_kind(expert, [&](const auto& held) {
    check_expert<S>(function, "the expert", held, owner, width);
  });
  if constexpr (GroupedExpert<X, S>) {
    const FfnShape shape = expert.shape(), first = layer.expert(0).shape();
    check_size(function, "the expert", shape.hidden_dim, "hidden values", "hidden_dim of expert 0",
               first.hidden_dim);
    if (shape.clamped != first.clamped) {
      fail(function, "the expert has other numbers of its clamped SwiGLU than expert 0");
    }
  }
}

/// What was frozen stays frozen.
template <class S, class X>
void keep_training_flags(X& from, X& to) {
  const auto old = parameters_in_order<S>(from), now = parameters_in_order<S>(to);
  for (std::size_t i = 0; i < old.size(); ++i) now[i]->trainable = old[i]->trainable;
}

/// Shares of `experts`, scaled to sum 1. Throws unless there is one above 0 for each.
inline std::vector<double> scaled_shares(std::string_view function, std::vector<double> shares,
                                         std::size_t experts) {
  check_size(function, "shares", std::ssize(shares), "values", "the number of experts merged",
             static_cast<Index>(experts));
  double sum = 0;
  for (const double share : shares) {
    if (!(share >= 0) || !std::isfinite(share)) {
      fail(function, "a share is ", share, ", expected a finite value of at least 0");
    }
    sum += share;
  }
  if (!(sum > 0)) fail(function, "all shares are 0, expected one above 0");
  for (double& share : shares) share /= sum;
  return shares;
}

}  // namespace detail

/// value += noise * (standard deviation of the value) * N(0, 1), parameter by parameter: experts that
/// start as copies drift apart only if something tells them apart.
template <class S, class X>
void add_noise(X& expert, double noise, Random& random) {
  if (!(noise >= 0) || !std::isfinite(noise)) {
    detail::fail("moe::add_noise", "noise is ", noise, ", expected a finite value of at least 0");
  }
  if (noise == 0) return;
  expert.visit_parameters([&](std::string_view, Parameter<S>& p) {
    const double mean = static_cast<double>(p.value.mean());
    double squares = 0;
    for (Index i = 0; i < p.value.size(); ++i) {
      const double off = static_cast<double>(p.value.data()[i]) - mean;
      squares += off * off;
    }
    const double size = noise * std::sqrt(squares / static_cast<double>(p.value.size()));
    for (Index i = 0; i < p.value.size(); ++i) {
      p.value.data()[i] += static_cast<S>(size * random.normal());
    }
  });
}

/// Draws all weights of an FFN anew, as its constructor does.
template <class S, class Act, bool IsGated>
void draw_anew(FfnExpert<S, Act, IsGated>& expert, Random& random) {
  const Index d = expert.shape().model_dim, h = expert.shape().hidden_dim;
  const auto draw = [&](Parameter<S>& p, Index fan_in) {
    if (!p.empty()) p.init_uniform(random, fan_in);
  };
  draw(expert.w_gate, d);
  draw(expert.w_in, d);
  draw(expert.w_out, h);
  draw(expert.b_gate, d);
  draw(expert.b_in, d);
  draw(expert.b_out, h);
}

/// The weights of `experts`, `shares` of each (sum 1), in the kind of the first:
/// w_0 + sum share_i (w_i - w_0), so the mean of equal experts is that expert, bit by bit. Throws
/// std::invalid_argument when their parameters differ in number or shape, or one says that it cannot
/// be copied now (check_growth).
template <class S, class X>
X mean_expert(std::string_view function, std::span<X* const> experts,
              std::span<const double> shares) {
  if constexpr (requires(const X& expert) { expert.check_growth(function); }) {
    for (const X* expert : experts) expert->check_growth(function);
  }
  X mean = *experts[0];
  if constexpr (requires { mean.check_mean(function); }) {
    if (experts.size() > 1) mean.check_mean(function);
  }
  for (std::size_t i = 1; i < experts.size(); ++i) {
    detail::add_towards<S>(function, mean, *experts[0], *experts[i], shares[i]);
  }
  detail::start_training<S>(mean);
  return mean;
}

MOE_NAMESPACE_END
