// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every router there is, for the tests of what all of them promise.
#pragma once

#include "moe/moe.hpp"
#include "moe/router/cosine.hpp"
#include "moe/router/hash.hpp"
#include "moe/router/input_jitter.hpp"
#include "moe/router/learned_noise.hpp"
#include "moe/router/logit_cap.hpp"
#include "moe/router/logit_noise.hpp"
#include "moe/router/mlp.hpp"
#include "router/router_checks.hpp"

namespace moe_test {

template <class S>
using Linear = moe::LinearRouter<S>;

/// Routers by number, so that a test can have each in float and in double.
template <int kNumber, class S>
struct Numbered;
template <class S>
struct Numbered<0, S> {
  using Router = Linear<S>;
};
template <class S>
struct Numbered<1, S> {
  using Router = moe::LearnedNoise<Linear<S>>;
};
template <class S>
struct Numbered<2, S> {
  using Router = moe::LogitNoise<Linear<S>>;
};
template <class S>
struct Numbered<3, S> {
  using Router = moe::InputJitter<Linear<S>>;
};
template <class S>
struct Numbered<4, S> {
  using Router = moe::LogitCap<Linear<S>>;
};
template <class S>
struct Numbered<5, S> {
  using Router = moe::CosineRouter<S>;
};
template <class S>
struct Numbered<6, S> {
  using Router = moe::MlpRouter<S>;
};
template <class S>
struct Numbered<7, S> {
  using Router = moe::HashRouter<Linear<S>>;
};
template <class S>
struct Numbered<8, S> {
  using Router = moe::HashRouter<moe::UniformRouter<S>>;
};
template <class S>
struct Numbered<9, S> {
  using Router = moe::InputJitter<moe::LearnedNoise<moe::LogitCap<moe::CosineRouter<S>>>>;
};

template <int kNumber>
struct Kind {
  static constexpr bool kHash = kNumber == 7 || kNumber == 8;
  template <class S>
  using Router = typename Numbered<kNumber, S>::Router;

  template <class S>
  static typename Router<S>::Options options() {
    typename Router<S>::Options all{};
    if constexpr (kHash) all.vocabulary = 11;
    return all;
  }
};

inline std::vector<std::int64_t> ids(Index t_count) {
  std::vector<std::int64_t> all;
  for (Index t = 0; t < t_count; ++t) all.push_back((7 * t + 3) % 11);
  return all;
}

}  // namespace moe_test

#define EVERY_ROUTER \
  Kind<0>, Kind<1>, Kind<2>, Kind<3>, Kind<4>, Kind<5>, Kind<6>, Kind<7>, Kind<8>, Kind<9>
