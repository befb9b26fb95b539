// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// MoE++'s constant expert: rows [n, D] -> a learned mixture of the row and one learned row [D].
#pragma once

#include <cmath>
#include <numeric>
#include <vector>

#include "moe/core/batch.hpp"
#include "moe/core/buffer.hpp"
#include "moe/core/error.hpp"
#include "moe/expert/in_place.hpp"

MOE_NAMESPACE_BEGIN

/// y = a x + (1 - a) v, (a, 1 - a) = softmax(W x), W [2, D], v [D]: replaces a part of the token by
/// a constant. Jin et al. 2024 (MoE++, arXiv 2410.07348). Two dot products per token.
template <class S>
class ConstantExpert {
 public:
  /// What the parameters' gradients are made of, a value per slot.
  struct State {
    Buffer<S> up, down;   ///< gradient of the first logit, and its opposite: that of the second
    Buffer<S> constant;   ///< weight * (1 - a)
    std::vector<S> ones;  ///< of an expert alone
    std::vector<std::int32_t> rows;
  };

  ConstantExpert() = default;

  /// v is normal, W uniform in +-1/sqrt(D), as in the authors' code. Throws std::invalid_argument
  /// unless D is at least 1.
  ConstantExpert(const Dims& dims, NoOptions, Random& random) {
    detail::check_positive("moe::ConstantExpert", "model_dim", dims.model_dim);
    mix = Parameter<S>(2, dims.model_dim);
    mix.init_uniform(random, dims.model_dim);
    constant = Parameter<S>(1, dims.model_dim);
    for (Index i = 0; i < dims.model_dim; ++i) {
      constant.value(0, i) = static_cast<S>(random.normal());
    }
  }

  /// Throws std::invalid_argument unless W is [2, D] and v [1, D]: both are public, to be loaded.
  void check_model_dim(std::string_view function, Index model_dim) const {
    detail::check_shape<const S>(function, "mix", mix.value, 2, model_dim);
    detail::check_shape<const S>(function, "constant", constant.value, 1, model_dim);
  }

  void forward(MatrixView<const S> in, MatrixView<S> out, State& state) const {
    for (Index i = 0; i < out.rows(); ++i) std::fill_n(out.row(i), out.cols(), S(0));
    add_forward(all_rows(in.rows(), state), in, out);
  }
  void backward(MatrixView<const S> in, MatrixView<const S> dout, MatrixView<S> din, State& state) {
    const ExpertSlots<S> slots = all_rows(in.rows(), state);
    std::vector<S> dweight(slots.token.size());
    for (Index i = 0; i < din.rows(); ++i) std::fill_n(din.row(i), din.cols(), S(0));
    prepare(in.rows(), in.rows(), state);
    add_backward(slots, in, dout, din, dweight, state);
    add_gradients(slots, in, dout, state);
  }

  void add_forward(const ExpertSlots<S>& slots, MatrixView<const S> x, MatrixView<S> y) const {
    for (Index i = 0; i < slots.count(); ++i) {
      const Index t = slots.row(i);
      const Share a(*this, x.row(t));
      detail::add_scaled(x.row(t), slots.weight_of(i) * a.token, y.row(t), x.cols());
      detail::add_scaled(constant.value.data(), slots.weight_of(i) * a.constant, y.row(t),
                         x.cols());
    }
  }

  void prepare(Index n, Index most, State& state) const {
    for (auto* buffer : {&state.up, &state.down, &state.constant}) {
      buffer->reserve(most);
      buffer->resize(n);
    }
  }

  /// With g = dy[t] and w the slot's weight: dw = a <x, g> + b <v, g>, b = 1 - a;
  /// dlogit = w a b (<x, g> - <v, g>); dx += w a g + dlogit (W0 - W1).
  void add_backward(const ExpertSlots<S>& slots, MatrixView<const S> x, MatrixView<const S> dy,
                    MatrixView<S> dx, std::span<S> dweight, State& state) const {
    const auto dot = detail::kernels<S>().dot;
    const Index d = x.cols();
    for (Index i = 0; i < slots.count(); ++i) {
      const Index t = slots.row(i), s = slots.first + i;
      const S weight = slots.weight_of(i);
      const Share a(*this, x.row(t));
      const S of_token = dot(x.row(t), dy.row(t), d);
      const S of_constant = dot(constant.value.data(), dy.row(t), d);
      const S dlogit = weight * a.token * a.constant * (of_token - of_constant);
      dweight[static_cast<std::size_t>(i)] = a.token * of_token + a.constant * of_constant;
      state.up[s] = dlogit;
      state.down[s] = -dlogit;
      state.constant[s] = weight * a.constant;
      detail::add_scaled(dy.row(t), weight * a.token, dx.row(t), d);
      detail::add_scaled(mix.value.data(), dlogit, dx.row(t), d);
      detail::add_scaled(mix.value.data() + d, -dlogit, dx.row(t), d);
    }
  }

  void add_gradients(const ExpertSlots<S>& slots, MatrixView<const S> x, MatrixView<const S> dy,
                     State& state) {
    const auto add = [&](MatrixView<const S> rows, const Buffer<S>& weight, S* gradient) {
      detail::kernels<S>().column_sum({rows.data(), rows.stride(), slots.token.data(),
                                       weight.data(), slots.count(), rows.cols(), gradient});
    };
    if (mix.trainable) {
      mix.ensure_grad();
      add(x, state.up, mix.grad.data());
      add(x, state.down, mix.grad.data() + x.cols());
    }
    if (constant.trainable) {
      constant.ensure_grad();
      add(dy, state.constant, constant.grad.data());
    }
  }

  template <class F>
  void visit_parameters(F&& f) {
    f("mix", mix);
    f("constant", constant);
  }

  Parameter<S> mix;       ///< W [2, D]
  Parameter<S> constant;  ///< v [1, D]

 private:
  /// softmax(W x): of two logits, the sigmoid of their difference.
  struct Share {
    S token, constant;
    Share(const ConstantExpert& expert, const S* x) {
      const auto dot = detail::kernels<S>().dot;
      const Index d = expert.mix.value.cols();
      const S* w = expert.mix.value.data();
      const S difference = dot(w, x, d) - dot(w + d, x, d);
      token = 1 / (1 + std::exp(-difference));
      constant = 1 / (1 + std::exp(difference));
    }
  };

  static ExpertSlots<S> all_rows(Index n, State& state) {
    state.ones.assign(static_cast<std::size_t>(n), S(1));
    state.rows.resize(static_cast<std::size_t>(n));
    std::iota(state.rows.begin(), state.rows.end(), 0);
    return {state.rows, state.ones, 0};
  }
};

MOE_NAMESPACE_END
