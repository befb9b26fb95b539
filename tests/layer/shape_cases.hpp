// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What every layer shape is asked: gradients, bits over threads, padding. See tests/layer/*_layer_test.
#pragma once

#include <memory>
#include <utility>

#include "support/gradients.hpp"
#include "support/threads.hpp"
#include "support/trained.hpp"

namespace moe_test {

/// An expert of a user's type, y = scale * x + shift: not one that the grouped kernels read.
template <class S>
struct ScaleExpert {
  struct Options {};
  using State = moe::NoState;
  ScaleExpert(const moe::Dims& dims, const Options&, moe::Random& random)
      : scale(1, dims.model_dim), shift(1, dims.model_dim) {
    scale.init_uniform(random, 1);
    shift.init_uniform(random, 1);
  }
  void forward(MatrixView<const S> in, MatrixView<S> out, State&) const {
    for (Index t = 0; t < in.rows(); ++t) {
      for (Index d = 0; d < in.cols(); ++d) {
        out(t, d) = in(t, d) * scale.value(0, d) + shift.value(0, d);
      }
    }
  }
  void backward(MatrixView<const S> in, MatrixView<const S> dout, MatrixView<S> din, State&) {
    scale.ensure_grad();
    shift.ensure_grad();
    for (Index t = 0; t < in.rows(); ++t) {
      for (Index d = 0; d < in.cols(); ++d) {
        din(t, d) = dout(t, d) * scale.value(0, d);
        scale.grad(0, d) += dout(t, d) * in(t, d);
        shift.grad(0, d) += dout(t, d);
      }
    }
  }
  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("scale"), scale);
    f(std::string_view("shift"), shift);
  }
  moe::Parameter<S> scale, shift;
};

/// No loss beside <y, dy>.
struct NoLosses {
  template <class Tape>
  double operator()(Tape&) const {
    return 0;
  }
};

/// Columns of y.
template <class L>
Index output_dim_of(const L& layer) {
  if constexpr (requires { layer.output_dim(); }) {
    return layer.output_dim();
  } else {
    return layer.model_dim();
  }
}

/// A gradient of y for `tokens` rows.
template <class L>
auto random_dy(const L& layer, Index tokens) {
  return random_matrix<typename L::Scalar>(tokens, output_dim_of(layer), 17);
}

/// Forward and backward of any layer from zero gradients; `losses(tape)` adds losses and returns
/// their sum.
template <class L, class S, class F = NoLosses>
Step<S> shape_step(L& layer, const Matrix<S>& x, const Matrix<S>& dy, typename L::Tape& tape,
                   const moe::Batch& batch = {}, F&& losses = {}) {
  Step<S> step;
  step.y = Matrix<S>::Constant(x.rows(), output_dim_of(layer), S(77));
  step.dx = Matrix<S>::Constant(x.rows(), x.cols(), S(77));
  layer.visit_parameters([](std::string_view, auto& p) { p.ensure_grad(); });
  moe::zero_grad(layer);
  layer.forward(x, step.y, tape, batch);
  step.loss = losses(tape);
  for (Index i = 0; i < dy.rows(); ++i) {
    if (!batch.is_padding(i)) step.loss += static_cast<double>(dy.row(i).dot(step.y.row(i)));
  }
  layer.backward(dy, step.dx, tape);
  layer.visit_parameters(
      [&](std::string_view name, auto& p) { step.gradient[std::string(name)] = p.grad; });
  return step;
}

template <class L, class S, class F = NoLosses>
Step<S> shape_step(L& layer, const Matrix<S>& x, const Matrix<S>& dy, const moe::Batch& batch = {},
                   F&& losses = {}) {
  typename L::Tape tape;
  return shape_step(layer, x, dy, tape, batch, losses);
}

/// Every gradient against central differences of a training forward, losses included.
template <class L, class F = NoLosses>
void check_shape_gradients(L& layer, Matrix<double> x, const moe::Batch& batch = {},
                           F&& losses = {}, Index most = 200) {
  const Matrix<double> dy = random_dy(layer, x.rows());
  const Step<double> step = shape_step(layer, x, dy, batch, losses);
  Matrix<double> y(x.rows(), output_dim_of(layer));
  typename L::Tape tape;
  const auto loss = [&] {
    layer.forward(x, y, tape, batch);
    double value = losses(tape);
    for (Index i = 0; i < dy.rows(); ++i) {
      if (!batch.is_padding(i)) value += dy.row(i).dot(y.row(i));
    }
    return value;
  };
  CHECK(loss() == Approx(step.loss));
  check_gradient("x", x, step.dx, loss, most);
  layer.visit_parameters([&](std::string_view name, auto& p) {
    check_gradient(std::string(name), p.value, step.gradient.at(std::string(name)), loss, most);
  });
}

/// The same bits on 1, 2, 3 and 4 threads, forward and backward.
template <class L, class S, class F = NoLosses>
void check_shape_threads(L& layer, const Matrix<S>& x, const moe::Batch& batch = {},
                         F&& losses = {}) {
  const Matrix<S> dy = random_dy(layer, x.rows());
  const Step<S> serial = shape_step(layer, x, dy, batch, losses);
  for (const Index size : {1, 2, 3, 4}) {
    INFO(size << " threads, " << x.rows() << " tokens");
    Threads threads(size);
    typename L::Tape tape{moe::ExecutorRef(threads)};
    typename L::Workspace workspace{moe::ExecutorRef(threads)};
    const Step<S> step = shape_step(layer, x, dy, tape, batch, losses);
    CHECK(step.loss == serial.loss);
    CHECK(same_bits(step, serial));
    Matrix<S> y = Matrix<S>::Constant(x.rows(), output_dim_of(layer), S(9)), alone = y;
    layer.forward(x, y, workspace, batch);
    typename L::Workspace own;
    layer.forward(x, alone, own, batch);
    CHECK(same_bits(y, alone));
  }
}

/// Rows `rows` of a matrix.
template <class S>
Matrix<S> picked(const Matrix<S>& m, const std::vector<Index>& rows) {
  return m(rows, Eigen::all);
}

/// NaN in padding, in x and dy, changes no bit of anything.
template <class L, class S, class F = NoLosses>
void check_shape_padding(L& layer, Matrix<S> x, const moe::Batch& batch, F&& losses = {}) {
  Matrix<S> dy = random_dy(layer, x.rows());
  const Step<S> clean = shape_step(layer, x, dy, batch, losses);
  for (Index t = 0; t < x.rows(); ++t) {
    if (!batch.is_padding(t)) continue;
    CHECK(clean.y.row(t).isZero(0));
    CHECK(clean.dx.row(t).isZero(0));
    x.row(t).setConstant(std::numeric_limits<S>::quiet_NaN());
    dy.row(t).setConstant(std::numeric_limits<S>::infinity());
  }
  CHECK(same_bits(shape_step(layer, x, dy, batch, losses), clean));
}

// What follows is for layers whose tokens do not see one another.

/// A token has the same bits whatever it stands among, padding too.
template <class L, class S>
void check_shape_batches(L& layer, const Matrix<S>& x) {
  const Matrix<S> dy = random_dy(layer, x.rows());
  const Step<S> all = shape_step(layer, x, dy);
  for (const Index size : {Index{1}, Index{2}, Index{9}, x.rows() * 2 / 3}) {
    for (const Index first : {Index{0}, (x.rows() - size) / 2, x.rows() - size}) {
      INFO(size << " tokens from " << first);
      const Step<S> part = shape_step(layer, Matrix<S>(x.middleRows(first, size)),
                                      Matrix<S>(dy.middleRows(first, size)));
      CHECK(same_bits(part.y, all.y.middleRows(first, size)));
      CHECK(same_bits(part.dx, all.dx.middleRows(first, size)));
    }
  }
  const std::vector<std::uint8_t> mask = random_mask({.t = x.rows(), .masked = true});
  std::vector<Index> real;
  for (Index t = 0; t < x.rows(); ++t) {
    if (mask[static_cast<std::size_t>(t)] != 0) real.push_back(t);
  }
  const Step<S> padded = shape_step(layer, x, dy, {.mask = mask});
  CHECK(same_bits(picked(padded.y, real), picked(all.y, real)));
  CHECK(same_bits(picked(padded.dx, real), picked(all.dx, real)));
}

/// NaN in one token leaves every bit of the others alone.
template <class L, class S>
void check_shape_nan(L& layer, const Matrix<S>& x) {
  const Matrix<S> dy = random_dy(layer, x.rows());
  const Step<S> clean = shape_step(layer, x, dy);
  for (const Index broken : {Index{0}, x.rows() / 2, x.rows() - 1}) {
    INFO("token " << broken);
    Matrix<S> spoilt = x;
    spoilt(broken, x.cols() / 2) = std::numeric_limits<S>::quiet_NaN();
    const Step<S> step = shape_step(layer, spoilt, dy);
    CHECK(step.y.row(broken).array().isNaN().all());
    Index changed = 0;
    for (Index t = 0; t < x.rows(); ++t) {
      if (t == broken) continue;
      changed += !same_bits(step.y.row(t), clean.y.row(t));
      changed += !same_bits(step.dx.row(t), clean.dx.row(t));
    }
    CHECK(changed == 0);
  }
}

/// No token, and padding alone: zeros everywhere, on a tape and a workspace that knew better days.
template <class L, class F = NoLosses>
void check_shape_nothing(L& layer, F&& losses = {}) {
  using S = typename L::Scalar;
  const Matrix<S> none(0, layer.model_dim()), x = random_matrix<S>(3, layer.model_dim(), 1);
  const std::vector<std::uint8_t> mask(3, 0);
  typename L::Tape tape;
  typename L::Workspace workspace;
  const Step<S> before = shape_step(layer, x, random_dy(layer, 3), tape, {}, losses);
  Matrix<S> y = before.y;
  layer.forward(x, y, workspace);
  for (const bool padding : {false, true}) {
    const moe::Batch batch = padding ? moe::Batch{.mask = mask} : moe::Batch{};
    const Matrix<S>& in = padding ? x : none;
    const Step<S> step = shape_step(layer, in, random_dy(layer, in.rows()), tape, batch, losses);
    CHECK(step.loss == 0);
    CHECK(step.y.isZero(0));
    CHECK(step.dx.isZero(0));
    for (const auto& [name, gradient] : step.gradient) CHECK(gradient.isZero(0));
    y.resize(in.rows(), output_dim_of(layer));
    y.setConstant(S(7));
    layer.forward(in, y, workspace, batch);
    CHECK(y.isZero(0));
  }
  CHECK(same_bits(shape_step(layer, x, random_dy(layer, 3), tape, {}, losses), before));
}

}  // namespace moe_test
