// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What every router must pass: differences alone and through a layer, any threads, any batch split.
#pragma once

#include <algorithm>
#include <functional>

#include "moe/expert/ffn.hpp"
#include "moe/layer/moe_layer.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/threads.hpp"

namespace moe_test {

using moe::Batch;
using moe::Dims;

template <class R>
R make_router(const Dims& dims, const typename R::Options& options = {}, std::uint64_t seed = 5) {
  moe::Random random(seed);
  return R(dims, options, random);
}

/// Gives every parameter values of about 0.5, so that those that start at zero matter too.
template <class X>
void shake(X& module, std::uint64_t seed = 8) {
  module.visit_parameters([&](std::string_view, auto& p) {
    using S = typename std::remove_cvref_t<decltype(p.value)>::Scalar;
    p.value += S(0.5) * random_matrix<S>(p.value.rows(), p.value.cols(), seed++);
  });
}

template <class R, class S>
Matrix<S> logits_of(const R& router, const Matrix<S>& x, const Batch& batch = {},
                    moe::ExecutorRef executor = {}) {
  typename R::State state;
  Matrix<S> logits = Matrix<S>::Constant(x.rows(), router.num_experts(), S(99));
  router.forward(x, logits, batch, state, executor);
  return logits;
}

/// Differences of <logits, dlogits> at x and at every parameter; dx must be added to.
template <class R>
void check_router_gradients(R& router, Matrix<double> x, const Batch& batch = {},
                            const std::function<void(typename R::State&)>& before_forward = {}) {
  const Matrix<double> dlogits = random_matrix<double>(x.rows(), router.num_experts(), 31);
  typename R::State state;
  Matrix<double> logits(x.rows(), router.num_experts());
  const auto loss = [&] {
    if (before_forward) before_forward(state);
    router.forward(x, logits, batch, state, {});
    double sum = 0;  // a hash router's logits may be -inf: those are constants
    for (Index i = 0; i < logits.size(); ++i) {
      if (std::isfinite(logits.data()[i])) sum += logits.data()[i] * dlogits.data()[i];
    }
    return sum;
  };
  moe::zero_grad(router);
  loss();
  const Matrix<double> start = random_matrix<double>(x.rows(), x.cols(), 32);
  Matrix<double> dx = start;
  router.backward(x, dlogits, dx, state, {});
  check_gradient("x", x, Matrix<double>(dx - start), loss);
  router.visit_parameters([&](std::string_view name, auto& p) {
    const Matrix<double> gradient = p.grad;
    check_gradient(std::string(name), p.value, gradient, loss);
  });
}

/// A loss that looks at what a noisy router shows: sum of a_te clean + b_te stddev^2.
struct NoiseProbe {
  template <class S>
  double operator()(const moe::LossInput<S>& in, moe::LossGradient<S>&) const {
    double value = 0;
    for (Index t = 0; t < in.tokens(); ++t) {
      for (Index e = 0; e < in.num_experts(); ++e) {
        const double a = std::cos(static_cast<double>(t + 3 * e)), b = std::sin(a);
        const S sigma = in.noise->stddev(t, e);
        value += a * in.noise->clean(t, e) + b * sigma * sigma;
        in.noise->dclean(t, e) += static_cast<S>(a);
        in.noise->dstddev(t, e) += static_cast<S>(2 * b) * sigma;
      }
    }
    return value;
  }
};

/// A layer around the router, its tokens decided: no choice hangs by less than 1e-3.
template <class R>
struct LayerCase {
  using Layer = moe::MoeLayer<double, R, moe::TopKGate, moe::GatedFfn<double>>;
  Layer layer;
  Matrix<double> x;

  LayerCase(const typename R::Options& options, const Batch& batch, Index k = 2)
      : layer({.model_dim = 5, .hidden_dim = 3, .num_experts = 4, .top_k = k, .router = options},
              17) {
    shake(layer);
    typename Layer::Tape tape;
    for (std::uint64_t draw = 0; draw < 1000; ++draw) {
      x = random_matrix<double>(6, 5, 100 + draw);
      Matrix<double> y(6, 5);
      layer.forward(x, y, tape, batch);
      if (margin(MatrixView<const double>(tape.logits.data(), 6, 4), k) > 1e-3) return;
    }
    FAIL("no decided tokens found");
  }

  static double margin(MatrixView<const double> logits, Index k) {
    double smallest = 1;
    for (Index t = 0; k < logits.cols() && t < logits.rows(); ++t) {
      std::vector<double> row(logits.row(t), logits.row(t) + logits.cols());
      std::sort(row.rbegin(), row.rend());
      const auto last = static_cast<std::size_t>(k);
      smallest = std::min(smallest, row[last - 1] - row[last]);
    }
    return smallest;
  }

  /// Differences of <y, dy> (plus the probe of the noise) at x and at every parameter.
  void check(const Batch& batch, bool probe = false) {
    const Matrix<double> dy = random_matrix<double>(6, 5, 3);
    Matrix<double> y(6, 5), dx(6, 5);
    typename Layer::Tape tape;
    const auto loss = [&] {
      layer.forward(x, y, tape, batch);
      double value = y.cwiseProduct(dy).sum();
      if (probe) value += tape.add_loss(NoiseProbe{});
      return value;
    };
    moe::zero_grad(layer);
    loss();
    layer.backward(dy, dx, tape);
    check_gradient("x", x, dx, loss);
    layer.visit_parameters([&](std::string_view name, auto& p) {
      if (!name.starts_with("router")) return;
      const Matrix<double> gradient = p.grad;
      check_gradient(std::string(name), p.value, gradient, loss);
    });
  }
};

template <class R>
void check_layer_gradients(const typename R::Options& options, const Batch& batch, Index k = 2,
                           bool probe = false) {
  LayerCase<R>(options, batch, k).check(batch, probe);
}

/// Same bits for 1, 2, 3 and 7 threads, and for the batch in one piece or in three.
template <class R, class S>
void check_any_threads_any_split(const R& router, const Matrix<S>& x, Batch batch) {
  const Matrix<S> whole = logits_of(router, x, batch);
  for (const Index threads : {2, 3, 7}) {
    Threads pool(threads);
    CHECK(same_bits(logits_of(router, x, batch, pool), whole));
  }
  const Batch all = batch;
  Index first = 0;
  for (const Index count : {Index{1}, x.rows() / 2, x.rows() - 1 - x.rows() / 2}) {
    batch.first_token = all.first_token + first;
    if (!all.token_ids.empty()) {
      batch.token_ids =
          all.token_ids.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
    }
    const Matrix<S> part = logits_of(router, Matrix<S>(x.middleRows(first, count)), batch);
    CHECK(same_bits(part, whole.middleRows(first, count)));
    first += count;
  }
}

}  // namespace moe_test
