// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Grouped expert FFNs: rows of x [T, D], grouped by expert, through their FFNs, weighted into y [T,
// D].
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "moe/core/buffer.hpp"
#include "moe/core/executor.hpp"
#include "moe/kernel/ffn_forward.hpp"
#include "moe/kernel/problem.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

template <class S>
S activate(Activation a, S z) {
  switch (a) {
    case Activation::relu:
      return z < 0 ? S(0) : z;
    case Activation::gelu:
      return z * S(0.5) * std::erfc(-z * std::numbers::sqrt2_v<S> / 2);
    case Activation::gelu_tanh: {
      const S u = S(0.7978845608028654) * (z + S(0.044715) * z * z * z);
      return S(0.5) * z * (1 + std::tanh(u));
    }
    case Activation::silu:
      return z / (1 + std::exp(-z));
    case Activation::identity:
      break;
  }
  return z;
}

template <class S>
S activate_derivative(Activation a, S z) {
  switch (a) {
    case Activation::relu:
      return z > 0 ? S(1) : S(0);
    case Activation::gelu:
      return S(0.5) * std::erfc(-z * std::numbers::sqrt2_v<S> / 2) +
             z * S(0.3989422804014327) * std::exp(-z * z / 2);
    case Activation::gelu_tanh: {
      const S u = S(0.7978845608028654) * (z + S(0.044715) * z * z * z);
      const S t = std::tanh(u);
      return S(0.5) * (1 + t) +
             S(0.5) * z * (1 - t * t) * S(0.7978845608028654) * (1 + 3 * S(0.044715) * z * z);
    }
    case Activation::silu: {
      const S s = 1 / (1 + std::exp(-z));
      return s * (1 + z * (1 - s));
    }
    case Activation::identity:
      break;
  }
  return 1;
}

}  // namespace detail

/// y[t] = sum over the slots of t, experts ascending, of weight * FFN_e(x[t]); rows of y without a
/// slot become zero. Shapes: x, y [T, D]; `experts` [E]. With `saved`, keeps the pre-activations.
template <class S>
void ffn_forward(const FfnShape& shape, const RowGroups<S>& rows,
                 std::span<const FfnPointers<const S>> experts, MatrixView<const S> x,
                 MatrixView<S> y, FfnScratch<S>& scratch, FfnSaved<S>* saved,
                 ExecutorRef executor) {
  detail::FfnForward<S>(shape, rows, experts, x, y, scratch, saved).run(executor);
}

/// Gradients of ffn_forward. Adds to dx [T, D] and to every non-null gradient of `grads` [E];
/// writes dweight [N], the gradient of each slot's gate weight. `saved` is consumed.
template <class S>
void ffn_backward(const FfnShape& shape, const RowGroups<S>& rows,
                  std::span<const FfnPointers<const S>> experts, MatrixView<const S> x,
                  FfnSaved<S>& saved, MatrixView<const S> dy, MatrixView<S> dx,
                  std::span<const FfnPointers<S>> grads, std::span<S> dweight,
                  FfnScratch<S>& scratch, ExecutorRef) {
  const Index d = shape.model_dim, h = shape.hidden_dim;
  scratch.hidden.resize(h);
  for (Index e = 0; e < rows.num_experts(); ++e) {
    const auto& w = experts[static_cast<std::size_t>(e)];
    const auto& g = grads[static_cast<std::size_t>(e)];
    for (Index s = rows.offset[static_cast<std::size_t>(e)];
         s < rows.offset[static_cast<std::size_t>(e) + 1]; ++s) {
      const Index t = rows.token[static_cast<std::size_t>(s)];
      const S weight = rows.weight[static_cast<std::size_t>(s)];
      const S* out = dy.row(t);
      S dw = 0;
      if (w.b_out != nullptr)
        for (Index i = 0; i < d; ++i) dw += out[i] * w.b_out[i];
      if (g.b_out != nullptr)
        for (Index i = 0; i < d; ++i) g.b_out[i] += weight * out[i];
      for (Index j = 0; j < h; ++j) {
        S da = 0;
        for (Index i = 0; i < d; ++i) da += out[i] * w.w_out[i * h + j];
        const S z = saved.in[s * h + j];
        const S gate = shape.gated ? saved.gate[s * h + j] : z;
        const S act = detail::activate(shape.activation, gate);
        const S a = shape.gated ? act * z : act;
        dw += da * a;
        da *= weight;
        const S slope = detail::activate_derivative(shape.activation, gate);
        const S dgate = shape.gated ? da * z * slope : S(0);
        const S din = shape.gated ? da * act : da * slope;
        for (Index i = 0; i < d; ++i) {
          if (g.w_out != nullptr) g.w_out[i * h + j] += out[i] * weight * a;
          if (g.w_in != nullptr) g.w_in[j * d + i] += din * x(t, i);
          dx(t, i) += din * w.w_in[j * d + i];
          if (shape.gated) {
            if (g.w_gate != nullptr) g.w_gate[j * d + i] += dgate * x(t, i);
            dx(t, i) += dgate * w.w_gate[j * d + i];
          }
        }
        if (g.b_in != nullptr) g.b_in[j] += din;
        if (g.b_gate != nullptr) g.b_gate[j] += dgate;
      }
      dweight[static_cast<std::size_t>(s)] = dw;
    }
  }
}

MOE_NAMESPACE_END
