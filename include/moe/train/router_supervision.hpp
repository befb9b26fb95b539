// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Training a router alone on given experts, between experts that were trained apart and the training of
// all together.
#pragma once

#include "moe/layer/routed_tape.hpp"
#include "moe/loss/supervised_routing.hpp"

MOE_NAMESPACE_BEGIN

/// The three stages of experts trained apart:
///   1. each alone, on its own data: layer.expert(e).forward / backward, optimizer.step(layer.expert(e))
///   2. the router on labels, here: no expert computes anything
///        RouterSupervision<Layer> lesson;
///        loss = lesson.backward(layer, x, labels);  optimizer.step(layer.router());
///   3. all together: layer.forward, layer.backward, optimizer.step(layer)
/// Each stage with an optimizer of its own. One object serves one call at a time.
template <class Layer>
class RouterSupervision {
 public:
  using S = typename Layer::Scalar;

  explicit RouterSupervision(ExecutorRef threads = {}) : tape_(threads) {}

  /// Adds to the router's gradients those of SupervisedRoutingLoss for x [T, D] and labels [T, L]
  /// (experts, or kNoExpert); returns the loss. Throws std::invalid_argument on shapes that do not fit,
  /// parts that do not fit one another, or labels that are no experts; no gradient is then changed.
  double backward(Layer& layer, MatrixView<const S> x, MatrixView<const std::int32_t> labels,
                  const Batch& batch = {}) {
    constexpr auto* kWhere = "moe::RouterSupervision::backward";
    detail::check_size(kWhere, "x", x.cols(), "columns", "the layer's model_dim",
                       layer.model_dim());
    detail::check_size(kWhere, "labels", labels.rows(), "rows", "the number of tokens", x.rows());
    detail::check_batch(kWhere, batch, x.rows());
    detail::check_routing_parts(kWhere, layer.router(), layer.gate(), layer.router().num_experts(),
                                layer.capacity());
    const MatrixView<const S> kept = tape_.start(x, batch);
    route<S>(layer.router(), layer.gate(), layer.capacity(), kept, tape_.batch, tape_);
    tape_.finish(0);
    LossGradient<S> gradient = tape_.loss_gradient();
    const double loss = SupervisedRoutingLoss{1.0, labels}(tape_.loss_input(), gradient);
    count_agreement(labels);
    const MatrixView<S> dx = dx_.resize(x.rows(), x.cols());
    dx.eigen().setZero();
    layer.router().backward(kept, MatrixView<const S>(gradient.dlogits), dx, tape_.router_state,
                            tape_.executor);
    return loss;
  }

  /// Of the last call: the share of tokens with a label whose first choice is one of their labels.
  double agreement() const { return labelled_ == 0 ? 0 : agreed_ / labelled_; }

 private:
  void count_agreement(MatrixView<const std::int32_t> labels) {
    labelled_ = agreed_ = 0;
    for (Index t = 0; t < labels.rows(); ++t) {
      const std::int32_t* row = labels.row(t);
      const bool none =
          std::all_of(row, row + labels.cols(), [](auto e) { return e == kNoExpert; });
      if (none || tape_.batch.is_padding(t)) continue;
      labelled_ += 1;
      const std::int32_t first = tape_.routing.expert(t, 0);
      agreed_ += std::find(row, row + labels.cols(), first) != row + labels.cols() ? 1 : 0;
    }
  }

  typename Layer::Tape tape_;
  Buffer<S> dx_;
  double labelled_ = 0, agreed_ = 0;
};

MOE_NAMESPACE_END
