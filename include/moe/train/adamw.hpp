// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// AdamW: Adam with decoupled weight decay.
#pragma once

#include <cmath>

#include "moe/train/slots.hpp"

MOE_NAMESPACE_BEGIN

/// m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
/// w -= lr * ((m / (1 - b1^n)) / (sqrt(v / (1 - b2^n)) + eps) + weight_decay * w)
/// (Loshchilov & Hutter 2019, as in PyTorch), n the steps this parameter has had. Row vectors
/// (biases) are not decayed. Works on anything with visit_parameters; frozen parameters are left
/// alone, and hold no state unless they trained before (OptimizerState::forget_frozen).
template <class S>
class AdamW {
 public:
  struct Options {
    double lr = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 1e-2;

    /// Every field by name: see moe/io/layer_config.hpp.
    template <class F>
    void visit(F&& f) {
      f("lr", lr);
      f("beta1", beta1);
      f("beta2", beta2);
      f("eps", eps);
      f("weight_decay", weight_decay);
    }
  };

  explicit AdamW(const Options& options = {}) : options_(options) {}

  const Options& options() const { return options_; }

  /// Calls of step.
  Index steps() const { return state_.steps; }

  /// To be saved, loaded, and taken along when a layer grows.
  OptimizerState<S>& state() { return state_; }
  const OptimizerState<S>& state() const { return state_; }

  /// One step with the learning rate of the options, or with `lr` from a schedule. Throws
  /// std::invalid_argument when the parameters are not those of the first step.
  template <class M>
  void step(M& module) {
    step(module, options_.lr);
  }
  template <class M>
  void step(M& module, double lr) {
    state_.check(module, "moe::AdamW::step", /*with_second=*/true);
    ++state_.steps;
    std::size_t i = 0;
    module.visit_parameters([&](std::string_view, Parameter<S>& p) {
      ParameterState<S>& slot = state_.parameters[i++];
      if (!p.trainable || p.grad.size() == 0) return;
      update(p, slot.first, slot.second, ++slot.steps, lr);
    });
  }

 private:
  /// The n-th step of one parameter. A parameter that starts late (unfrozen, or an expert that got
  /// its first token) has a count of its own: the correction is for its own short memory.
  void update(Parameter<S>& p, Matrix<S>& m, Matrix<S>& v, Index n, double lr) {
    if (m.size() == 0) {
      m.setZero(p.value.rows(), p.value.cols());
      v.setZero(p.value.rows(), p.value.cols());
    }
    const double correction1 = 1 - std::pow(options_.beta1, static_cast<double>(n));
    const double correction2 = 1 - std::pow(options_.beta2, static_cast<double>(n));
    const auto b1 = static_cast<S>(options_.beta1), b2 = static_cast<S>(options_.beta2);
    // In double first: in float 1 - 0.999 is off by 5e-5.
    const auto a1 = static_cast<S>(1 - options_.beta1), a2 = static_cast<S>(1 - options_.beta2);
    const auto rate = static_cast<S>(lr / correction1);
    const auto root = static_cast<S>(1 / std::sqrt(correction2));
    const auto eps = static_cast<S>(options_.eps);
    const bool decays = p.value.rows() > 1;
    const auto keep = static_cast<S>(decays ? 1 - lr * options_.weight_decay : 1.0);
    const auto g = p.grad.array();
    m.array() = b1 * m.array() + a1 * g;
    v.array() = b2 * v.array() + a2 * g * g;
    p.value.array() = keep * p.value.array() - rate * m.array() / (root * v.array().sqrt() + eps);
  }

  Options options_;
  OptimizerState<S> state_;
};

MOE_NAMESPACE_END
