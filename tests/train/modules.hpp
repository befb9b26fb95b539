// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The smallest things an optimizer can train.
#pragma once

#include "moe/core/parameter.hpp"
#include "support/catch.hpp"
#include "support/compare.hpp"

namespace moe_test {

/// A weight and a bias whose gradients the test sets.
template <class S>
struct Module {
  moe::Parameter<S> weight, bias;

  Module(Index rows = 3, Index cols = 4) : weight(rows, cols), bias(1, cols) {
    weight.value.setOnes();
    bias.value.setOnes();
    weight.ensure_grad();
    bias.ensure_grad();
  }
  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("weight"), weight);
    f(std::string_view("bias"), bias);
  }
};

/// Another number of parameters.
template <class S>
struct Single {
  moe::Parameter<S> weight{3, 4};
  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("weight"), weight);
  }
};

}  // namespace moe_test
