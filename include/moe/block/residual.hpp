// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Pre-norm residual around any layer: y [T, D] = x + layer(norm(x)).
#pragma once

#include <string>
#include <utility>

#include "moe/block/norm.hpp"
#include "moe/block/record.hpp"
#include "moe/layer/layer.hpp"

MOE_NAMESPACE_BEGIN

/// Half a transformer block, and itself a layer. Rows of padding become zero, residual included.
template <class S, class LayerType, class NormType = RmsNorm<S>>
class Residual {
  static_assert(require_layer<LayerType, S>());
  static_assert(Norm<NormType, S>,
                "moe::Residual: a norm needs State, width(), check_shapes(function), forward(x, y, "
                "state, executor) const, backward(x, dy, dx, state, executor) and "
                "visit_parameters(f); see moe/block/norm.hpp");

 public:
  using Scalar = S;
  using Inner = LayerType;

  struct Workspace {
    explicit Workspace(ExecutorRef threads = {}) : executor(threads), layer(threads) {}
    ExecutorRef executor;  ///< of the layer too
    Buffer<S> normed;      ///< [T, D]
    typename NormType::State norm;
    typename LayerType::Workspace layer;
  };

  struct Tape {
    explicit Tape(ExecutorRef threads = {}) : executor(threads), layer(threads) {}
    ExecutorRef executor;
    detail::CallRecord<S> call;
    Buffer<S> normed, dnormed;  ///< [T, D]
    typename NormType::State norm;
    typename LayerType::Tape layer;

    /// Adds a balance loss to the layer's step: see MoeLayer::Tape.
    template <class L>
    requires RoutedLayer<LayerType, S> S add_loss(const L& loss) {
      return static_cast<S>(layer.add_loss(loss));
    }
  };

  /// A fresh norm before `layer`.
  explicit Residual(LayerType layer, const typename NormType::Options& norm = {})
      : layer_(std::move(layer)), norm_(layer_.model_dim(), norm) {}

  /// Throws std::invalid_argument unless the norm is as wide as the layer.
  Residual(NormType norm, LayerType layer) : layer_(std::move(layer)), norm_(std::move(norm)) {
    check_parts("moe::Residual");
  }

  Index model_dim() const { return layer_.model_dim(); }
  LayerType& layer() { return layer_; }
  const LayerType& layer() const { return layer_; }
  NormType& norm() { return norm_; }
  const NormType& norm() const { return norm_; }

  /// y = x + layer(norm(x)). Throws std::invalid_argument on what does not fit, as the layer does; y
  /// is then untouched.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& workspace,
               const Batch& batch = {}) const {
    check_forward(x, y, batch);
    run_forward(x, y, workspace, batch);
  }

  /// The same, remembering on `tape` what backward needs.
  void forward(MatrixView<const S> x, MatrixView<S> y, Tape& tape, const Batch& batch = {}) const {
    check_forward(x, y, batch);
    const MatrixView<const S> kept = tape.call.keep(x, batch);
    run_forward(kept, y, tape, batch);
    tape.call.layer_id = id_.value();
  }

  /// Throws std::invalid_argument unless a backward with this tape could go ahead: what layers around
  /// this one ask before they change anything.
  void check_backward(const Tape& tape) const {
    detail::check_filled(kBackward, tape.call.layer_id, id_.value());
    check_parts(kBackward);
    detail::check_part_backward(layer_, tape.layer);
  }

  /// dx = dy + d norm(d layer(dy)); adds to the gradients of what trains, consumes the tape. Throws
  /// std::invalid_argument when the tape is empty or another layer's, or a shape does not fit;
  /// nothing is then changed.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    check_backward(tape);
    tape.call.check_shapes(kBackward, model_dim(), dy, dx);
    const MatrixView<S> dnormed = tape.dnormed.resize(tape.call.tokens, model_dim());
    tape.layer.executor = tape.executor;
    layer_.backward(dy, dnormed, tape.layer);
    tape.call.layer_id = 0;
    detail::copy_without_padding(dy, tape.call.batch, dx);
    norm_.backward(tape.call.kept_x(model_dim()), MatrixView<const S>(dnormed), dx, tape.norm,
                   tape.executor);
  }

  /// f(name, Parameter<S>&) for "norm.*", then "layer.*".
  template <class F>
  void visit_parameters(F&& f) {
    detail::visit_part<S>("norm.", norm_, f);
    detail::visit_part<S>("layer.", layer_, f);
  }

  /// The same names for what else there is to save: see moe/core/state.hpp.
  template <class F>
  requires HasState<LayerType>
  void visit_state(F&& f) { detail::visit_part_state("layer.", layer_, f); }

 private:
  static constexpr auto* kBackward = "moe::Residual::backward";

  void check_parts(std::string_view function) const {
    norm_.check_shapes(function);
    detail::check_size(function, "the norm", norm_.width(), "values", "the layer's model_dim",
                       model_dim());
  }
  void check_forward(MatrixView<const S> x, MatrixView<S> y, const Batch& batch) const {
    constexpr auto* kWhere = "moe::Residual::forward";
    check_parts(kWhere);
    detail::check_forward<S>(kWhere, model_dim(), x, y, batch);
  }

  template <class Memory>
  void run_forward(MatrixView<const S> x, MatrixView<S> y, Memory& memory,
                   const Batch& batch) const {
    const MatrixView<S> normed = memory.normed.resize(x.rows(), x.cols());
    norm_.forward(x, normed, memory.norm, memory.executor);
    memory.layer.executor = memory.executor;
    layer_.forward(MatrixView<const S>(normed), y, memory.layer, batch);
    detail::add_rows(x, y, memory.executor);
    detail::clear_padding(batch, y);
  }

  LayerType layer_;
  NormType norm_;
  detail::LayerId id_;
};

MOE_NAMESPACE_END
