// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A gate without backward is no gate.
// expect: the gate needs State
#include <moe/layer/moe_layer.hpp>

struct Mine {
  using State = moe::NoState;
  Mine(const moe::Dims&, moe::NoOptions) {}
  moe::Index top_k() const { return 1; }
  template <class S>
  void forward(moe::MatrixView<const S>, moe::Routing<S>&, const moe::Batch&, State&) const {}
#if MOE_SHOULD_COMPILE
  template <class S>
  void backward(const moe::Routing<S>&, moe::MatrixView<const S>, moe::MatrixView<const S>,
                moe::MatrixView<S>, State&) const {}
#endif
};

using Layer = moe::MoeLayer<float, moe::LinearRouter<float>, Mine>;
Layer layer({.model_dim = 4, .hidden_dim = 4, .num_experts = 2, .top_k = 1});
