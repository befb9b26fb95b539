// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// An expert whose parameters cannot be visited is no expert.
// expect: the expert needs State
#include <moe/layer/moe_layer.hpp>

struct Mine {
  using State = moe::NoState;
  Mine(const moe::Dims&, moe::NoOptions, moe::Random&) {}
  void forward(moe::MatrixView<const float>, moe::MatrixView<float>, State&) const {}
  void backward(moe::MatrixView<const float>, moe::MatrixView<const float>, moe::MatrixView<float>,
                State&) {}
#if MOE_SHOULD_COMPILE
  template <class F>
  void visit_parameters(F&&) {}
#endif
};

using Layer = moe::MoeLayer<float, moe::LinearRouter<float>, moe::TopKGate, Mine>;
Layer layer({.model_dim = 4, .hidden_dim = 4, .num_experts = 2, .top_k = 1});
