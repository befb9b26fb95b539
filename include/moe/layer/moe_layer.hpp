// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The sparse Mixture-of-Experts layer: x [T, D] -> y [T, D].
#pragma once

#include <utility>
#include <vector>

#include "moe/expert/ffn.hpp"
#include "moe/expert/group.hpp"
#include "moe/gate/top_k.hpp"
#include "moe/layer/routed_parts.hpp"
#include "moe/router/linear.hpp"

MOE_NAMESPACE_BEGIN

/// Router, gate, experts. `forward` and `backward` read as the way of a token: router -> gate -> plan
/// -> experts (dispatch and combine fused in). A const layer serves many threads, each with its own
/// workspace or tape.
template <class S = float, class RouterType = LinearRouter<S>, class GateType = TopKGate,
          class ExpertType = GatedFfn<S>>
class MoeLayer : public RoutedParts<S, RouterType, GateType, ExpertType> {
  using Parts = RoutedParts<S, RouterType, GateType, ExpertType>;

 public:
  using Parts::model_dim, Parts::num_experts, Parts::top_k;
  using typename Parts::Config;

  /// Every intermediate of a forward. Reuse it: from the second call on, at the same or a smaller
  /// T, nothing is allocated. One workspace serves one call at a time.
  struct Workspace : RoutedState<S, RouterType, GateType, ExpertType> {
    using RoutedState<S, RouterType, GateType, ExpertType>::RoutedState;
    static constexpr const char* kLayer = "moe::MoeLayer";
  };

  /// A workspace that also remembers what backward needs, and takes balance losses: add_loss.
  using Tape = RoutedTape<S, Workspace>;

  /// A new layer with random weights; the same seed gives the same layer. Throws
  /// std::invalid_argument on sizes below 1, K > E, or a bad capacity factor.
  explicit MoeLayer(const Config& config, std::uint64_t seed = 0)
      : MoeLayer{detail::make_router<RouterType>(config.dims(), config.router, seed),
                 GateType(config.dims(), config.gate),
                 detail::make_experts<ExpertType>(config.dims(), config.expert, config.num_experts,
                                                  seed),
                 config.capacity} {}  // braces: router first, so that the first mistake is named

  /// A layer from its parts. Throws std::invalid_argument when they do not fit one another.
  MoeLayer(RouterType router, GateType gate, std::vector<ExpertType> experts,
           CapacityOptions capacity = {})
      : Parts(Workspace::kLayer, std::move(router), std::move(gate), std::move(experts),
              std::move(capacity)) {
    check_parts(Workspace::kLayer);
  }

  /// y = sum over each token's kept experts of weight * expert(x); zero for padding and for tokens
  /// whose every expert was full. x, y: [T, D], row-major, separate. T = 0 is fine.
  /// Throws std::invalid_argument on shapes that do not fit, a mask that is not [T] long, or x and
  /// y sharing memory; y is then untouched.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& workspace,
               const Batch& batch = {}) const {
    check_parts("moe::MoeLayer::forward");
    detail::check_forward<S>("moe::MoeLayer::forward", model_dim(), x, y, batch);
    run_forward(x, y, workspace, batch, /*keep=*/false);
  }

  /// The same, remembering on `tape` what backward needs.
  void forward(MatrixView<const S> x, MatrixView<S> y, Tape& tape, const Batch& batch = {}) const {
    check_parts("moe::MoeLayer::forward");
    detail::check_forward<S>("moe::MoeLayer::forward", model_dim(), x, y, batch);
    run_forward(tape.start(x, batch), y, tape, tape.batch, /*keep=*/true);
    tape.finish(id_.value());
  }

  /// Throws what backward would, of anything but dy and dx: for layers around this one to ask before
  /// they write.
  void check_backward(const Tape& tape) const {
    check_tape(kBackward, tape);
    check_parts(kBackward);
    check_unchanged(kBackward, tape);
  }

  /// Gradients of one training forward and of the losses added to its tape: writes dx [T, D] and
  /// adds to the gradient of every trainable parameter. Consumes the tape. Throws
  /// std::invalid_argument when the tape is empty or another layer's, or a shape does not fit;
  /// nothing is then changed.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    check_backward(tape);
    detail::check_backward_shapes<S>(kBackward, dy, dx, tape.tokens, model_dim());
    const std::span<S> dslot_weight = start_backward(tape, dx);

    experts_backward<ExpertType, S>(experts_, tape.plan, tape.slot_weight.span(), weight_on(gate_),
                                    tape.kept_x(model_dim()), dy, dx, dslot_weight, tape.experts,
                                    tape.executor);
    route_backward<S>(router_, gate_, tape, dx);
  }

 private:
  static constexpr auto* kBackward = "moe::MoeLayer::backward";
  using Parts::check_parts, Parts::check_tape, Parts::check_unchanged, Parts::start_backward;
  using Parts::router_, Parts::gate_, Parts::experts_, Parts::capacity_, Parts::id_;

  void run_forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws, const Batch& batch,
                   bool keep) const {
    ws.layer_id = 0;  // a tape used as a plain workspace is a tape no more
    route<S>(router_, gate_, capacity_, x, batch, ws);
    experts_forward<ExpertType, S>(experts_, ws.plan, ws.slot_weight.span(), weight_on(gate_), x, y,
                                   ws.experts, keep, ws.executor);
  }
};

MOE_NAMESPACE_END
