// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// One training step of a layer without the optimizer, its gradients collected by name.
#pragma once

#include <map>
#include <string>

#include "moe/loss/router_z.hpp"
#include "moe/loss/switch.hpp"
#include "support/layers.hpp"

namespace moe_test {

/// Everything a training step computes.
template <class S>
struct Step {
  double loss = 0;  ///< <y, dy> plus the balance losses
  Matrix<S> y, dx;
  std::map<std::string, Matrix<S>> gradient;
};

/// Value and gradient of every parameter, to see whether a call left them alone.
template <class Layer>
std::map<std::string, Matrix<typename Layer::Scalar>> parameters_of(Layer& layer) {
  std::map<std::string, Matrix<typename Layer::Scalar>> all;
  layer.visit_parameters([&](std::string_view name, auto& p) {
    all[std::string(name)] = p.value;
    all[std::string(name) + " gradient"] = p.grad;
  });
  return all;
}

template <class S>
bool same_bits(const std::map<std::string, Matrix<S>>& a,
               const std::map<std::string, Matrix<S>>& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, value] : a) {
    const auto other = b.find(name);
    if (other == b.end() || !same_bits(value, other->second)) return false;
  }
  return true;
}

template <class S>
bool same_bits(const Step<S>& a, const Step<S>& b) {
  return same_bits(a.y, b.y) && same_bits(a.dx, b.dx) && same_bits(a.gradient, b.gradient);
}

/// Coefficients of the losses added to a step; 0: not added.
struct Losses {
  double balance = 0;
  double z = 0;
};

/// Training forward and backward on `tape`, from zero gradients.
template <class Layer, class S>
Step<S> train_step(Layer& layer, const Matrix<S>& x, const Matrix<S>& dy,
                   typename Layer::Tape& tape, const moe::Batch& batch = {}, Losses losses = {}) {
  Step<S> step;
  step.y = Matrix<S>::Constant(x.rows(), x.cols(), S(77));
  step.dx = step.y;
  moe::zero_grad(layer);
  layer.forward(x, step.y, tape, batch);
  if (losses.balance != 0) {
    step.loss += static_cast<double>(tape.add_loss(moe::SwitchLoss{losses.balance}));
  }
  if (losses.z != 0) step.loss += static_cast<double>(tape.add_loss(moe::RouterZLoss{losses.z}));
  for (Index i = 0; i < dy.rows(); ++i) {
    if (batch.is_padding(i)) continue;
    step.loss += static_cast<double>(dy.row(i).dot(step.y.row(i)));
  }
  layer.backward(dy, step.dx, tape);
  layer.visit_parameters(
      [&](std::string_view name, auto& p) { step.gradient[std::string(name)] = p.grad; });
  return step;
}

template <class Layer, class S>
Step<S> train_step(Layer& layer, const Matrix<S>& x, const Matrix<S>& dy,
                   const moe::Batch& batch = {}, Losses losses = {}) {
  typename Layer::Tape tape;
  return train_step(layer, x, dy, tape, batch, losses);
}

}  // namespace moe_test
