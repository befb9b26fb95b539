// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Stochastic gradient descent with momentum and weight decay.
#pragma once

#include "moe/train/slots.hpp"

MOE_NAMESPACE_BEGIN

/// v = momentum * v + (g + weight_decay * w); w -= lr * v. Works on anything with visit_parameters;
/// frozen parameters are left alone.
template <class S>
class Sgd {
 public:
  struct Options {
    double lr = 1e-2;
    double momentum = 0;
    double weight_decay = 0;

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("lr", lr);
      f("momentum", momentum);
      f("weight_decay", weight_decay);
    }
  };

  explicit Sgd(const Options& options = {}) : options_(options) {}

  const Options& options() const { return options_; }

  /// One step with the learning rate of the options, or with `lr` from a schedule. Throws
  /// std::invalid_argument when the parameters are not those of the first step.
  template <class M>
  void step(M& module) {
    step(module, options_.lr);
  }
  template <class M>
  void step(M& module, double lr) {
    state_.check(module, "moe::Sgd::step");
    ++state_.steps;
    const auto rate = static_cast<S>(lr), momentum = static_cast<S>(options_.momentum),
               decay = static_cast<S>(options_.weight_decay);
    std::size_t i = 0;
    module.visit_parameters([&](std::string_view, Parameter<S>& p) {
      Matrix<S>& v = state_.parameters[i++].first;
      if (!p.trainable || p.grad.size() == 0) return;
      if (options_.momentum == 0) {
        p.value.array() -= rate * (p.grad.array() + decay * p.value.array());
        return;
      }
      if (v.size() == 0) v.setZero(p.value.rows(), p.value.cols());
      v.array() = momentum * v.array() + (p.grad.array() + decay * p.value.array());
      p.value.array() -= rate * v.array();
    });
  }

  /// To be saved, loaded, and taken along when a layer grows.
  OptimizerState<S>& state() { return state_; }
  const OptimizerState<S>& state() const { return state_; }

 private:
  Options options_;
  OptimizerState<S> state_;
};

MOE_NAMESPACE_END
