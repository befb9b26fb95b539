// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Norms of rows, x [T, D] -> y [T, D]: RmsNorm and LayerNorm.
#pragma once

#include <cmath>

#include "moe/core/buffer.hpp"
#include "moe/core/error.hpp"
#include "moe/core/parameter.hpp"
#include "moe/kernel/share.hpp"
#include "moe/router/parameters.hpp"

MOE_NAMESPACE_BEGIN

/// What a norm is. `State` is memory of one call, kept in the workspace or tape.
///   forward:  writes y; a row of y depends on its row of x alone
///   backward: adds to dx and to the parameters' gradients, given the forward's x and state
template <class N, class S>
concept Norm = requires(const N& norm, N& trained, MatrixView<const S> in, MatrixView<S> out,
                        typename N::State& state, ExecutorRef executor) {
  { norm.width() } -> std::convertible_to<Index>;
  norm.check_shapes(std::string_view());
  norm.forward(in, out, state, executor);
  trained.backward(in, in, out, state, executor);
}
&&HasParameters<N, S>;

namespace detail {

/// Sum of f(i) over i < n in eight chains: in a single one each addition would wait for the last.
template <class S, class F>
S sum_of(Index n, F&& f) {
  S part[8] = {};
  Index i = 0;
  for (; i + 8 <= n; i += 8) {
    for (Index j = 0; j < 8; ++j) part[j] += f(i + j);
  }
  for (Index j = 0; i < n; ++i, ++j) part[j] += f(i);
  return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

}  // namespace detail

/// y = gain * x / sqrt(mean(x^2) + epsilon) (Zhang & Sennrich 2019), or with `IsCentered`
/// y = gain * (x - mean(x)) / sqrt(var(x) + epsilon) + bias (Ba et al. 2016), row by row. Where the root
/// is 0, for a row of zeros (or of equal values) and epsilon 0, its inverse counts as 0: nothing to
/// scale, and no gradient.
template <class S, bool IsCentered>
class RowNorm {
 public:
  using Scalar = S;
  struct Options {
    double epsilon = 1e-5;
    bool bias = IsCentered;
  };
  struct State {
    Buffer<S> mean, inverse;  ///< [T] of the last forward
  };

  RowNorm() = default;

  /// Gain one, bias zero. Throws std::invalid_argument unless D is at least 1 and epsilon is finite
  /// and not negative.
  explicit RowNorm(Index width, const Options& options = {}) : epsilon_(options.epsilon) {
    detail::check_positive(kWhere, "width", width);
    if (!(epsilon_ >= 0) || !std::isfinite(epsilon_)) {
      detail::fail(kWhere, "epsilon is ", epsilon_, ", expected a finite value of at least 0");
    }
    gain = Parameter<S>(1, width);
    gain.value.setOnes();
    if (options.bias) bias = Parameter<S>(1, width);
  }

  Index width() const { return gain.value.cols(); }
  double epsilon() const { return epsilon_; }

  /// Throws std::invalid_argument unless the parameters, which are public, fit one another.
  void check_shapes(std::string_view function) const {
    detail::check_shape<const S>(function, "the norm's gain", gain.value, 1, width());
    if (!bias.empty()) {
      detail::check_shape<const S>(function, "the norm's bias", bias.value, 1, width());
    }
  }

  /// Throws std::invalid_argument on shapes that do not fit; y may be x.
  void forward(MatrixView<const S> x, MatrixView<S> y, State& state,
               ExecutorRef executor = {}) const {
    check_views("moe::RowNorm::forward", x, "y", y);
    state.mean.resize(x.rows());
    state.inverse.resize(x.rows());
    const Index threads = detail::useful_threads(executor, 4.0 * static_cast<double>(x.size()));
    detail::run_threads(executor, threads, [&](Index i, Index n) {
      const detail::Range r = detail::part_of(x.rows(), i, n);
      for (Index t = r.begin; t < r.end; ++t) forward_row(x.row(t), y.row(t), t, state);
    });
  }

  /// With h = (x - mean) r, r the inverse, and a = gain * dy:
  ///   dx += r (a - mean(a) - h mean(a h)), without mean(a) when not centred
  ///   dgain += sum_t dy h, dbias += sum_t dy
  /// Throws std::invalid_argument when the state is of another number of rows or a shape does not fit.
  void backward(MatrixView<const S> x, MatrixView<const S> dy, MatrixView<S> dx, State& state,
                ExecutorRef executor = {}) {
    constexpr auto* kBackward = "moe::RowNorm::backward";
    check_views(kBackward, x, "dx", dx);
    check_views(kBackward, x, "dy", dy);
    detail::check_size(kBackward, "x", x.rows(), "rows", "the last forward's number of rows",
                       state.inverse.size());
    const Index threads = detail::useful_threads(executor, 6.0 * static_cast<double>(x.size()));
    detail::run_threads(executor, threads, [&](Index i, Index n) {
      const detail::Range r = detail::part_of(x.rows(), i, n);
      for (Index t = r.begin; t < r.end; ++t) {
        backward_row(x.row(t), dy.row(t), dx.row(t), state.mean[t], state.inverse[t]);
      }
    });
    S* dgain = detail::trained_gradient(gain).data();
    S* dbias = detail::trained_gradient(bias).data();
    // By columns: each sum is one chain over the rows, whoever adds it up.
    detail::run_threads(executor, threads, [&](Index i, Index n) {
      const detail::Range c = detail::part_of(x.cols(), i, n, Index{16});
      for (Index t = 0; t < x.rows(); ++t) {
        const S m = state.mean[t], r = state.inverse[t];
        for (Index d = c.begin; dgain != nullptr && d < c.end; ++d) {
          dgain[d] += dy(t, d) * ((x(t, d) - m) * r);
        }
        for (Index d = c.begin; dbias != nullptr && d < c.end; ++d) dbias[d] += dy(t, d);
      }
    });
  }

  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("gain"), gain);
    if (!bias.empty()) f(std::string_view("bias"), bias);
  }

  Parameter<S> gain;  ///< [1, D]
  Parameter<S> bias;  ///< [1, D] or empty

 private:
  static constexpr auto* kWhere = "moe::RowNorm";

  template <class T>
  void check_views(std::string_view function, MatrixView<const S> x, std::string_view name,
                   const MatrixView<T>& other) const {
    detail::check_size(function, "x", x.cols(), "columns", "the norm's width", width());
    detail::check_shape(function, name, other, x.rows(), width());
    check_shapes(function);
  }

  void forward_row(const S* x, S* y, Index t, State& state) const {
    const Index n = width();
    const S mean =
        IsCentered ? detail::sum_of<S>(n, [&](Index i) { return x[i]; }) / static_cast<S>(n) : S(0);
    const S squares = detail::sum_of<S>(n, [&](Index i) { return (x[i] - mean) * (x[i] - mean); });
    const S root = std::sqrt(squares / static_cast<S>(n) + static_cast<S>(epsilon_));
    const S inverse = root == 0 ? S(0) : 1 / root;  // tapes hold zeros in rows of padding
    state.mean[t] = mean;
    state.inverse[t] = inverse;
    const S* g = gain.value.data();
    for (Index i = 0; i < n; ++i) y[i] = g[i] * ((x[i] - mean) * inverse);
    const S* b = bias.value.data();
    for (Index i = 0; !bias.empty() && i < n; ++i) y[i] += b[i];
  }

  void backward_row(const S* x, const S* dy, S* dx, S mean, S inverse) const {
    const Index n = width();
    const S* g = gain.value.data();
    const auto h = [&](Index i) { return (x[i] - mean) * inverse; };
    const S along =
        detail::sum_of<S>(n, [&](Index i) { return g[i] * dy[i] * h(i); }) / static_cast<S>(n);
    const S level =
        IsCentered ? detail::sum_of<S>(n, [&](Index i) { return g[i] * dy[i]; }) / static_cast<S>(n)
                   : S(0);
    for (Index i = 0; i < n; ++i) dx[i] += inverse * (g[i] * dy[i] - level - h(i) * along);
  }

  double epsilon_ = 1e-5;
};

template <class S>
using RmsNorm = RowNorm<S, false>;
template <class S>
using LayerNorm = RowNorm<S, true>;

MOE_NAMESPACE_END
