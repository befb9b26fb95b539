// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers with adapters that have learned something.
#pragma once

#include "moe/train/lora.hpp"
#include "support/trained.hpp"

namespace moe_test {

template <class X>
auto plain_layer() {
  using S = std::remove_cvref_t<decltype(std::declval<X>().w_in.value(0, 0))>;
  return make_layer<LayerOf<S, X>>({.d = 6, .h = 10, .e = 4, .k = 2, .seed = 8});
}

/// Adapters on everything, B no longer zero. Scales: experts 4 / 3, router 1.5.
template <class X>
auto adapted_layer() {
  auto layer = moe::add_lora(
      plain_layer<X>(), {.experts = {.rank = 3, .alpha = 4}, .router = {.rank = 2, .alpha = 3}});
  moe::Random random(4, 4);
  layer.visit_parameters([&](std::string_view name, auto& p) {
    using S = std::remove_cvref_t<decltype(p.value(0, 0))>;
    if (!name.ends_with(".b") || name.find("lora") == std::string_view::npos) return;
    for (Index i = 0; i < p.value.size(); ++i) {
      p.value.data()[i] = static_cast<S>(0.3 * random.normal());
    }
  });
  return layer;
}

template <class L>
auto output(const L& layer, const Matrix<typename L::Scalar>& x, moe::ExecutorRef threads = {}) {
  Matrix<typename L::Scalar> y(x.rows(), x.cols());
  typename L::Workspace workspace(threads);
  layer.forward(x, y, workspace);
  return y;
}

}  // namespace moe_test
