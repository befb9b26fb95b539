// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What the kernels are asked to compute, in plain pointers: rows grouped by expert, weights,
// outputs.
#pragma once

#include <cstdint>
#include <span>

#include "moe/core/types.hpp"

MOE_NAMESPACE_BEGIN

/// Elementwise nonlinearity of an expert. For gated experts it is applied to the gate projection.
enum class Activation : std::uint8_t {
  identity,        ///< z
  relu,            ///< max(z, 0)
  gelu,            ///< z * Phi(z), Phi the normal distribution (Hendrycks & Gimpel 2016)
  gelu_tanh,       ///< its tanh approximation: z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3)))
  silu,            ///< z * sigmoid(z)
  relu_squared,    ///< max(z, 0)^2 (So et al. 2021, Primer)
  clamped_swiglu,  ///< gated experts only: acts on gate and up together, see ClampedSwiglu
};

/// The numbers of Activation::clamped_swiglu, for gate g and up u:
///   min(g, limit) * sigmoid(alpha * min(g, limit)) * (clamp(u, -limit, limit) + offset)
/// gpt-oss: {1.702, 7, 1}; DeepSeek-V4: {1, 10, 0}. Gradients pass a bound when it is just met, as in
/// PyTorch's clamp.
struct ClampedSwiglu {
  double alpha = 1.702;  ///< above 0
  double limit = 7;      ///< above 0
  double offset = 1;

  bool operator==(const ClampedSwiglu&) const = default;
};

/// Rows grouped by expert (CSR), as a Plan holds them. Rows of one expert are in ascending token
/// order, and a token appears at most once per expert.
template <class S>
struct RowGroups {
  std::span<const std::int32_t> offset;  ///< [E+1], rows of expert e are [offset[e], offset[e+1])
  std::span<const std::int32_t>
      token;                  ///< [N], the row of x and y that each slot reads and adds to
  std::span<const S> weight;  ///< [N], the gate's weight of each slot
  Index bound = 0;            ///< what N can grow to at the same T: scratch is reserved for it
  Index most_per_expert = 0;  ///< what an expert's rows can grow to; 0: the rows of x

  Index num_experts() const { return static_cast<Index>(offset.size()) - 1; }
  Index count() const { return static_cast<Index>(token.size()); }
  Index rows_per_expert(Index x_rows) const {
    return most_per_expert > 0 ? most_per_expert : x_rows;
  }
  Index most() const { return count() < bound ? bound : count(); }
};

/// Weights of one expert, row-major as in a PyTorch Linear ([out, in]).
///   plain: y = act(x w_in^T + b_in) w_out^T + b_out
///   gated: y = (act(x w_gate^T + b_gate) * (x w_in^T + b_in)) w_out^T + b_out
/// Absent parts are null.
template <class T>
struct FfnPointers {
  T* w_gate = nullptr;  ///< [H, D]
  T* w_in = nullptr;    ///< [H, D]
  T* w_out = nullptr;   ///< [D, H]
  T* b_gate = nullptr;  ///< [H]
  T* b_in = nullptr;    ///< [H]
  T* b_out = nullptr;   ///< [D]
};

/// What all experts of one grouped call share.
struct FfnShape {
  Index model_dim = 0;
  Index hidden_dim = 0;
  Activation activation = Activation::identity;
  bool gated = false;
  ClampedSwiglu clamped{};  ///< of Activation::clamped_swiglu, unused by others

  bool operator==(const FfnShape&) const = default;
};

MOE_NAMESPACE_END
