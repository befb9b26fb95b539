// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// FFN experts: Ffn (two matrices) and GatedFfn (three: SwiGLU, GeGLU, ReGLU).
#pragma once

#include <limits>
#include <numeric>
#include <vector>

#include "moe/core/error.hpp"
#include "moe/expert/activation.hpp"
#include "moe/expert/expert.hpp"
#include "moe/kernel/ffn.hpp"

MOE_NAMESPACE_BEGIN

/// What an FFN expert can be built with.
template <ActivationName Act>
struct FfnOptions {
  bool bias = false;

  /// Every field by name: see moe/io/layer_config.hpp.
  template <class F>
  void visit(F&& f) {
    f("bias", bias);
  }
};
template <>
struct FfnOptions<ClampedSilu> {
  bool bias = false;
  ClampedSwiglu clamped{};

  template <class F>
  void visit(F&& f) {
    f("bias", bias);
    f("alpha", clamped.alpha);
    f("limit", clamped.limit);
    f("offset", clamped.offset);
  }
};

/// y = act(x w_in^T + b_in) w_out^T + b_out, or with `IsGated` (Shazeer 2020, "GLU variants improve
/// transformer") y = (act(x w_gate^T + b_gate) * (x w_in^T + b_in)) w_out^T + b_out. Weights as in
/// a PyTorch Linear: w_gate, w_in [H, D], w_out [D, H].
template <class S, ActivationName Act, bool IsGated>
class FfnExpert {
  static constexpr bool kClamped = Act::kActivation == Activation::clamped_swiglu;
  static_assert(IsGated || !kClamped,
                "moe::Ffn: ClampedSilu needs a gate and an up projection; use moe::GatedFfn");

 public:
  using Options = FfnOptions<Act>;

  /// Memory of a call on this expert alone. Inside a layer the grouped call keeps its own.
  struct State {
    FfnScratch<S> scratch;
    FfnSaved<S> saved;
    std::vector<std::int32_t> offset, token;
    std::vector<S> weight, dweight;
    Index kept_rows = -1;  ///< rows of the forward that waits for its backward; -1 without one

    /// One expert, every row, weight 1.
    RowGroups<S> all_rows(Index n) {
      if (n > std::numeric_limits<std::int32_t>::max()) {
        detail::fail("moe::FfnExpert", "in has ", n, " rows, expected less than 2^31");
      }
      const auto size = static_cast<std::size_t>(n);
      offset.assign({0, static_cast<std::int32_t>(n)});
      token.resize(size);
      std::iota(token.begin(), token.end(), 0);
      weight.assign(size, S(1));
      dweight.resize(size);
      return {offset, token, weight};
    }
  };

  FfnExpert() = default;

  /// Uniform weights in +-1/sqrt(fan in). Throws std::invalid_argument unless D and H are at
  /// least 1, and the numbers of ClampedSilu above 0.
  FfnExpert(const Dims& dims, const Options& options, Random& random) {
    detail::check_positive("moe::FfnExpert", "model_dim", dims.model_dim);
    detail::check_positive("moe::FfnExpert", "hidden_dim", dims.hidden_dim);
    if constexpr (kClamped) {
      clamped = options.clamped;
      check_clamped("moe::FfnExpert");
    }
    const auto make = [&](Parameter<S>& p, Index rows, Index cols, Index fan_in) {
      p = Parameter<S>(rows, cols);
      p.init_uniform(random, fan_in);
    };
    const Index d = dims.model_dim, h = dims.hidden_dim;
    if (IsGated) make(w_gate, h, d, d);
    make(w_in, h, d, d);
    make(w_out, d, h, h);
    if (!options.bias) return;
    if (IsGated) make(b_gate, 1, h, d);
    make(b_in, 1, h, d);
    make(b_out, 1, d, h);
  }

  Options options() const {
    Options options;
    options.bias = !b_out.empty();
    if constexpr (kClamped) options.clamped = clamped;
    return options;
  }

  FfnShape shape() const {
    return {w_in.value.cols(), w_in.value.rows(), Act::kActivation, IsGated, clamped};
  }

  /// Throws std::invalid_argument unless every weight is there and has the shape of an expert of
  /// `expected`: weights are public, to be loaded, and the kernels take their word.
  void check_shapes(std::string_view function, const FfnShape& expected) const {
    if constexpr (kClamped) check_clamped(function);
    const Index d = expected.model_dim, h = expected.hidden_dim;
    const auto check = [&](std::string_view name, const Parameter<S>& p, Index rows, Index cols) {
      detail::check_shape<const S>(function, name, p.value, rows, cols);
    };
    check("w_in", w_in, h, d);
    check("w_out", w_out, d, h);
    check("w_gate", w_gate, IsGated ? h : 0, IsGated ? d : 0);
    if (!b_gate.empty()) check("b_gate", b_gate, 1, h);
    if (!b_in.empty()) check("b_in", b_in, 1, h);
    if (!b_out.empty()) check("b_out", b_out, 1, d);
  }

  FfnPointers<const S> pointers() const {
    const auto data = [](const Parameter<S>& p) { return p.empty() ? nullptr : p.value.data(); };
    return {data(w_gate), data(w_in), data(w_out), data(b_gate), data(b_in), data(b_out)};
  }

  /// Gradients of what trains, allocated on first use; null for frozen or absent parts.
  FfnPointers<S> gradient_pointers() {
    const auto data = [](Parameter<S>& p) -> S* {
      if (p.empty() || !p.trainable) return nullptr;
      p.ensure_grad();
      return p.grad.data();
    };
    return {data(w_gate), data(w_in), data(w_out), data(b_gate), data(b_in), data(b_out)};
  }

  /// out [n, D] from in [n, D], this expert alone: a dense FFN. Keeps the pre-activations in
  /// `state`.
  void forward(MatrixView<const S> in, MatrixView<S> out, State& state,
               ExecutorRef executor = {}) const {
    detail::check_size("moe::FfnExpert::forward", "in", in.cols(), "columns", "model_dim",
                       shape().model_dim);
    detail::check_shape("moe::FfnExpert::forward", "out", out, in.rows(), in.cols());
    detail::check_no_alias("moe::FfnExpert::forward", "in", in, "out", out);
    check_shapes("moe::FfnExpert::forward", shape());
    const FfnPointers<const S> weights = pointers();
    state.kept_rows = -1;  // should it throw on the way, nothing fits a backward
    ffn_forward<S>(shape(), state.all_rows(in.rows()), {&weights, 1}, in, out, state.scratch,
                   &state.saved, executor);
    state.kept_rows = in.rows();
  }

  /// Throws std::invalid_argument unless a backward with this state could go ahead: what layers around
  /// the expert ask before they change anything.
  void check_backward(const State& state) const {
    if (state.kept_rows < 0) {
      detail::fail(kBackward, "the state is empty, expected one forward before each backward");
    }
    check_shapes(kBackward, shape());
    if (state.saved.shape != shape()) {
      detail::fail(kBackward, "the expert is of another shape than in the forward");
    }
  }

  /// Writes din [n, D] and adds to the gradients. Follows one forward with the same `in` and
  /// `state`, which it consumes. Throws std::invalid_argument without that forward, or on a shape
  /// that does not fit; nothing is then changed.
  void backward(MatrixView<const S> in, MatrixView<const S> dout, MatrixView<S> din, State& state,
                ExecutorRef executor = {}) {
    check_backward(state);
    detail::check_shape(kBackward, "in", in, state.kept_rows, shape().model_dim);
    detail::check_shape(kBackward, "dout", dout, state.kept_rows, shape().model_dim);
    detail::check_shape(kBackward, "din", din, state.kept_rows, shape().model_dim);
    detail::check_no_alias(kBackward, "in", in, "din", din);
    detail::check_no_alias(kBackward, "dout", dout, "din", din);
    state.kept_rows = -1;
    const FfnPointers<const S> weights = pointers();
    const FfnPointers<S> gradients = gradient_pointers();
    for (Index i = 0; i < din.rows(); ++i) std::fill_n(din.row(i), din.cols(), S(0));
    ffn_backward<S>(shape(), state.all_rows(in.rows()), {&weights, 1}, in, state.saved, dout, din,
                    {&gradients, 1}, state.dweight, state.scratch, executor);
  }

  template <class F>
  void visit_parameters(F&& f) {
    const auto visit = [&](std::string_view name, Parameter<S>& p) {
      if (!p.empty()) f(name, p);
    };
    visit("w_gate", w_gate);
    visit("w_in", w_in);
    visit("w_out", w_out);
    visit("b_gate", b_gate);
    visit("b_in", b_in);
    visit("b_out", b_out);
  }

  Parameter<S> w_gate;      ///< [H, D], empty when not gated
  Parameter<S> w_in;        ///< [H, D], the "up" projection of a gated FFN
  Parameter<S> w_out;       ///< [D, H]
  Parameter<S> b_gate;      ///< [1, H] or empty
  Parameter<S> b_in;        ///< [1, H] or empty
  Parameter<S> b_out;       ///< [1, D] or empty
  ClampedSwiglu clamped{};  ///< of ClampedSilu, unused by others

 private:
  static constexpr auto* kBackward = "moe::FfnExpert::backward";

  void check_clamped(std::string_view function) const {
    const auto check = [&](std::string_view name, double value) {
      if (!(value > 0)) {
        detail::fail(function, "the clamped SwiGLU's ", name, " is ", value, ", expected above 0");
      }
    };
    check("alpha", clamped.alpha);
    check("limit", clamped.limit);
  }
};

/// Linear - activation - Linear, e.g. Ffn<float, Relu> (Switch) or Ffn<float, Gelu>.
template <class S, ActivationName Act = Gelu>
using Ffn = FfnExpert<S, Act, false>;

/// Gated FFN: SwiGLU with Silu, GeGLU with Gelu, ReGLU with Relu, gpt-oss's with ClampedSilu.
template <class S, ActivationName Act = Silu>
using GatedFfn = FfnExpert<S, Act, true>;

MOE_NAMESPACE_END
