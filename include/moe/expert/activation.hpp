// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Names of the nonlinearities an FFN expert can be built with.
#pragma once

#include "moe/kernel/problem.hpp"

MOE_NAMESPACE_BEGIN

struct Identity {
  static constexpr Activation kActivation = Activation::identity;
};
struct Relu {
  static constexpr Activation kActivation = Activation::relu;
};
/// max(z, 0)^2, of Primer and Nemotron.
struct ReluSquared {
  static constexpr Activation kActivation = Activation::relu_squared;
};
/// Exact GELU, z * Phi(z).
struct Gelu {
  static constexpr Activation kActivation = Activation::gelu;
};
/// GELU by its tanh approximation, as GPT-2 and T5 v1.1 use it.
struct GeluTanh {
  static constexpr Activation kActivation = Activation::gelu_tanh;
};
struct Silu {
  static constexpr Activation kActivation = Activation::silu;
};
/// SiLU of a clamped gate times a clamped and shifted up projection, GatedFfn only: the SwiGLU of
/// gpt-oss and DeepSeek-V4. Its numbers are an option of the expert, see ClampedSwiglu.
struct ClampedSilu {
  static constexpr Activation kActivation = Activation::clamped_swiglu;
};

template <class A>
concept ActivationName = requires {
  { A::kActivation } -> std::convertible_to<Activation>;
};

MOE_NAMESPACE_END
