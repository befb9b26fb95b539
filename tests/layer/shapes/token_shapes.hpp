// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A layer of every shape whose tokens do not see one another: all but the soft one.
#pragma once

#include "layer/dense_cases.hpp"
#include "layer/hierarchical_cases.hpp"
#include "moe/layer/concat.hpp"
#include "moe/layer/latent.hpp"

namespace moe_test {

template <class S, class X = moe::GatedFfn<S>>
using Latent = moe::LatentLayer<S, moe::LinearRouter<S>, moe::TopKGate, X>;
template <class S, class X = moe::GatedFfn<S>>
using Concat = moe::ConcatLayer<S, moe::LinearRouter<S>, moe::TopKGate, X>;

struct ShapeSizes {
  Index d = 9, h = 8, e = 4, k = 2, latent = 5;
  moe::CapacityOptions capacity = {};
};

template <class L>
L make_latent(const ShapeSizes& s) {
  typename L::Config config{.model_dim = s.d,
                            .latent_dim = s.latent,
                            .hidden_dim = s.h,
                            .num_experts = s.e,
                            .top_k = s.k};
  config.capacity = s.capacity;
  return L(config, 7);
}
template <class L>
L make_concat(const ShapeSizes& s) {
  typename L::Config config{.model_dim = s.d, .hidden_dim = s.h, .num_experts = s.e, .top_k = s.k};
  config.capacity = s.capacity;
  return L(config, 7);
}

/// f(layer, losses) for a layer of each shape, some with experts that the grouped kernels do not read.
/// Latent and concatenating layers have the capacity, the others none.
template <class S, class F>
void for_token_shapes(const ShapeSizes& s, F&& f) {
  const auto call = [&](const char* name, auto layer, const auto& losses) {
    INFO(name);
    f(layer, losses);
  };
  call("dense", make_dense<Dense<S>>(s.d, s.h, s.e), kLosses);
  call("dense, own experts", make_dense<Scaling<S>>(s.d, s.h, s.e), kLosses);
  call("two levels", make_levels<TwoLevels<S>>({s.d, s.h, s.e, s.k, 2, 1}), kLevelLosses);
  call("latent", make_latent<Latent<S>>(s), kLosses);
  call("latent, own experts", make_latent<Latent<S, ScaleExpert<S>>>(s), kLosses);
  call("side by side", make_concat<Concat<S>>(s), kLosses);
  call("side by side, own experts", make_concat<Concat<S, ScaleExpert<S>>>(s), kLosses);
}

}  // namespace moe_test
