// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A loss is called with what a loss may look at.
// expect: a loss is called as loss(LossInput, LossGradient&)
#include <moe/layer/moe_layer.hpp>

struct Mine {
#if MOE_SHOULD_COMPILE
  template <class S>
  double operator()(const moe::LossInput<S>&, moe::LossGradient<S>&) const {
    return 0;
  }
#else
  double operator()(double) const { return 0; }
#endif
};

float add(moe::MoeLayer<float>::Tape& tape) { return tape.add_loss(Mine{}); }
