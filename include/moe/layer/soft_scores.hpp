// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What Soft MoE learns about slots: rows of x [R, D] -> logits [R, M], and the gradients.
#pragma once

#include <string_view>

#include "moe/core/draws.hpp"
#include "moe/core/error.hpp"
#include "moe/layer/sequence_rows.hpp"
#include "moe/layer/soft_norm.hpp"
#include "moe/router/parameters.hpp"

MOE_NAMESPACE_BEGIN

/// logits = norm(x) norm(phi)^T, a vector phi_s for each of M slots.
template <class S>
class SoftScores {
 public:
  /// Intermediates of a forward.
  struct State {
    Buffer<S> x_factor, unit_x;      ///< [R], [R, D]; the tokens normalised
    Buffer<S> phi_factor, unit_phi;  ///< [M], [M, D]; the slot vectors normalised
    Buffer<S> dunit_x, dunit_phi;    ///< [R, D], [M, D]
    LinearScratch<S> scratch;
  };

  /// phi is [M, D]; the scale starts at 1, and so do the gains.
  SoftScores(Matrix<S> slot_vectors, SoftNormalization normalization)
      : normalization_(normalization) {
    phi.value = std::move(slot_vectors);
    if (normalization == SoftNormalization::l2) {
      scale = Parameter<S>(1, 1);
      scale.value.setOnes();
    } else if (normalization == SoftNormalization::rms) {
      gain_x = gain_phi = Parameter<S>(1, model_dim());
      gain_x.value.setOnes();
      gain_phi.value.setOnes();
    }
  }

  Index model_dim() const { return phi.value.cols(); }
  Index slots() const { return phi.value.rows(); }
  SoftNormalization normalization() const { return normalization_; }

  /// Throws std::invalid_argument unless every parameter has the shape that phi and the
  /// normalisation ask for.
  void check_shapes(std::string_view function) const {
    const Index scales = normalization_ == SoftNormalization::l2 ? 1 : 0;
    const Index gains = normalization_ == SoftNormalization::rms ? 1 : 0;
    detail::check_positive(function, "phi's number of columns", model_dim());
    detail::check_shape<const S>(function, "scale", scale.value, scales, scales);
    detail::check_shape<const S>(function, "gain_x", gain_x.value, gains, gains * model_dim());
    detail::check_shape<const S>(function, "gain_phi", gain_phi.value, gains, gains * model_dim());
  }

  /// Writes the logits. Returns what slots are means of: x [R, D], or with rms the normalised x.
  MatrixView<const S> forward(MatrixView<const S> x, MatrixView<S> logits, State& state,
                              const ExecutorRef& executor) const {
    const MatrixView<S> unit_phi = state.unit_phi.resize(slots(), model_dim());
    state.phi_factor.resize(slots());
    detail::soft_factors<S>(normalization_, phi.value, state.phi_factor.data());
    detail::soft_normalize<S>(phi.value, state.phi_factor.data(), scale_value(), data_of(gain_phi),
                              unit_phi);
    MatrixView<const S> unit = x;
    if (normalization_ != SoftNormalization::none) {
      const MatrixView<S> out = state.unit_x.resize(x.rows(), x.cols());
      state.x_factor.resize(x.rows());
      detail::soft_factors<S>(normalization_, x, state.x_factor.data());
      detail::soft_normalize<S>(x, state.x_factor.data(), S(1), data_of(gain_x), out);
      unit = out;
    }
    linear_forward<S>(unit, MatrixView<const S>(unit_phi), nullptr, logits, state.scratch,
                      executor);
    return source(x, state);
  }

  /// What forward returned.
  MatrixView<const S> source(MatrixView<const S> x, const State& state) const {
    return normalization_ == SoftNormalization::rms ? unit_rows(x, state) : x;
  }

  /// Adds to dx and to the parameters' gradients, given dlogits [R, M] and dsource [R, D], the
  /// gradient of what forward returned.
  void backward(MatrixView<const S> x, MatrixView<const S> dlogits, MatrixView<const S> dsource,
                MatrixView<S> dx, State& state, const ExecutorRef& executor) {
    const MatrixView<S> dunit = state.dunit_x.resize(x.rows(), x.cols());
    const MatrixView<S> dunit_phi = state.dunit_phi.resize(slots(), model_dim());
    state.dunit_x.fill(S(0));
    state.dunit_phi.fill(S(0));
    linear_backward<S>(unit_rows(x, state), {state.unit_phi.data(), slots(), model_dim()}, dlogits,
                       dunit, dunit_phi, nullptr, state.scratch, executor);
    const bool through_unit = normalization_ == SoftNormalization::rms;
    (through_unit ? dunit : dx).eigen() += dsource.eigen();
    if (normalization_ == SoftNormalization::none) {
      dx.eigen() += dunit.eigen();
    } else {
      detail::soft_normalize_backward<S>(normalization_, x, state.x_factor.data(), S(1),
                                         data_of(gain_x), dunit, dx,
                                         {nullptr, detail::trained_gradient(gain_x).data()});
    }
    detail::soft_normalize_backward<S>(
        normalization_, phi.value, state.phi_factor.data(), scale_value(), data_of(gain_phi),
        dunit_phi, detail::trained_gradient(phi),
        {detail::trained_gradient(scale).data(), detail::trained_gradient(gain_phi).data()});
  }

  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("phi"), phi);
    if (!scale.empty()) f(std::string_view("scale"), scale);
    if (!gain_x.empty()) f(std::string_view("gain_x"), gain_x);
    if (!gain_phi.empty()) f(std::string_view("gain_phi"), gain_phi);
  }

  Parameter<S> phi;               ///< [M, D]
  Parameter<S> scale;             ///< [1, 1] of l2, else empty
  Parameter<S> gain_x, gain_phi;  ///< [1, D] of rms, else empty

 private:
  MatrixView<const S> unit_rows(MatrixView<const S> x, const State& state) const {
    if (normalization_ == SoftNormalization::none) return x;
    return {state.unit_x.data(), x.rows(), x.cols()};
  }
  static const S* data_of(const Parameter<S>& p) { return p.empty() ? nullptr : p.value.data(); }
  S scale_value() const { return scale.empty() ? S(1) : scale.value(0, 0); }

  SoftNormalization normalization_;
};

/// Adds noise of the deviation to the logits of the real rows, addressed by token and slot.
template <class S>
void add_soft_noise(double stddev, const Batch& batch, const SequenceRows& rows,
                    MatrixView<S> logits) {
  const Draws draws(batch, "layer.soft");
  for (Index r = 0; r < logits.rows(); ++r) {
    const Index t = rows.token[static_cast<std::size_t>(r)];
    for (Index s = 0; s < logits.cols(); ++s) {
      logits(r, s) += static_cast<S>(stddev * draws.normal(t, s));
    }
  }
}

MOE_NAMESPACE_END
