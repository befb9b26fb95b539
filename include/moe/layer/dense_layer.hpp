// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The dense mixture of experts: every expert on every token, x [T, D] -> y [T, D].
#pragma once

#include <utility>
#include <vector>

#include "moe/expert/ffn.hpp"
#include "moe/gate/dense.hpp"
#include "moe/layer/dense_plan.hpp"
#include "moe/layer/routed_parts.hpp"
#include "moe/router/linear.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// The way of a token through every expert, packed or not. `keep`: a backward will follow.
template <class S, class RouterType, class Experts, class State>
void dense_forward(const RouterType& router, const DenseGate& gate, const Experts& experts,
                   MatrixView<const S> x, MatrixView<S> y, State& ws, const Batch& batch,
                   bool keep) {
  const Index e = router.num_experts();
  const MatrixView<S> logits = ws.logits.resize(x.rows(), e);
  router.forward(x, logits, batch, ws.router_state, ws.executor);
  ws.routing.resize(x.rows(), e, e);
  gate.forward(MatrixView<const S>(logits), ws.routing, batch, ws.gate_state);
  ws.routing.clear_padding(batch);
  plan_everything(x.rows(), e, batch, ws.plan);
  ws.slot_weight.reserve(x.rows() * e);
  transpose_weights<S>(ws.routing, ws.plan, ws.slot_weight.resize(ws.plan.count()));
  group_forward(experts, every_row<S>(ws.plan, ws.slot_weight.span()), x, y, ws.experts, keep,
                ws.executor);
}

}  // namespace detail

/// y = sum_e p_e(x) expert_e(x), p = softmax(router(x) / temperature) (Jacobs et al. 1991, "Adaptive
/// mixtures of local experts"). With UniformRouter all experts have the weight 1 / E and nothing is
/// learned but they. Nobody is chosen, so there is no capacity and nothing to drop; the plan in the
/// workspace is that of all assignments, written down without counting or sorting. The bits are those
/// of a MoeLayer with DenseGate.
template <class S = float, class RouterType = LinearRouter<S>, class ExpertType = GatedFfn<S>>
class DenseLayer : public RoutedParts<S, RouterType, DenseGate, ExpertType> {
  using Parts = RoutedParts<S, RouterType, DenseGate, ExpertType>;

 public:
  using Parts::model_dim, Parts::num_experts;

  struct Config {
    Index model_dim = 0;    ///< D
    Index hidden_dim = 0;   ///< H
    Index num_experts = 0;  ///< E
    detail::options_of<RouterType> router{};
    DenseGate::Options gate{};
    detail::options_of<ExpertType> expert{};

    Dims dims() const { return {model_dim, hidden_dim, num_experts, num_experts}; }
  };

  /// Every intermediate of a forward. Reuse it: from the second call on, at the same or a smaller
  /// T, nothing is allocated. One workspace serves one call at a time.
  struct Workspace : RoutedState<S, RouterType, DenseGate, ExpertType> {
    using RoutedState<S, RouterType, DenseGate, ExpertType>::RoutedState;
    static constexpr const char* kLayer = "moe::DenseLayer";
  };

  /// A workspace that also remembers what backward needs, and takes balance losses: add_loss.
  using Tape = RoutedTape<S, Workspace>;

  /// A new layer with random weights; the same seed gives the same layer, and the weights of a
  /// MoeLayer with that seed. Throws std::invalid_argument on sizes below 1.
  explicit DenseLayer(const Config& config, std::uint64_t seed = 0)
      : DenseLayer{detail::make_router<RouterType>(config.dims(), config.router, seed),
                   DenseGate(config.dims(), config.gate),
                   detail::make_experts<ExpertType>(config.dims(), config.expert,
                                                    config.num_experts, seed)} {}

  /// A layer from its parts. Throws std::invalid_argument when they do not fit one another.
  DenseLayer(RouterType router, DenseGate gate, std::vector<ExpertType> experts)
      : Parts(Workspace::kLayer, std::move(router), std::move(gate), std::move(experts)) {
    check_parts(Workspace::kLayer);
  }

  /// Writes y [T, D]; zero for padding. x, y: row-major, separate. T = 0 is fine. Throws
  /// std::invalid_argument on shapes that do not fit, a mask that is not [T] long, or x and y sharing
  /// memory; y is then untouched.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& workspace,
               const Batch& batch = {}) const {
    check_forward(x, y, batch);
    run_forward(x, y, workspace, batch, /*keep=*/false);
  }

  /// The same, remembering on `tape` what backward needs.
  void forward(MatrixView<const S> x, MatrixView<S> y, Tape& tape, const Batch& batch = {}) const {
    check_forward(x, y, batch);
    run_forward(tape.start(x, batch), y, tape, tape.batch, /*keep=*/true);
    tape.finish(id_.value());
  }

  /// See MoeLayer::check_backward.
  void check_backward(const Tape& tape) const {
    check_tape(kBackward, tape);
    check_parts(kBackward);
    check_unchanged(kBackward, tape);
  }

  /// Gradients of one training forward and of the losses added to its tape; see MoeLayer::backward.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    check_backward(tape);
    detail::check_backward_shapes<S>(kBackward, dy, dx, tape.tokens, model_dim());
    const std::span<S> dslot_weight = start_backward(tape, dx);
    group_backward<ExpertType, S>(
        experts_, detail::every_row<S>(tape.plan, tape.slot_weight.span()),
        tape.kept_x(model_dim()), dy, dx, dslot_weight, tape.experts, tape.executor);
    route_backward<S>(router_, gate_, tape, dx);
  }

 private:
  static constexpr auto* kBackward = "moe::DenseLayer::backward";
  using Parts::capacity, Parts::set_capacity;  // nothing is dropped
  using Parts::check_parts, Parts::check_tape, Parts::check_unchanged, Parts::start_backward;
  using Parts::router_, Parts::gate_, Parts::experts_, Parts::id_;

  void check_forward(MatrixView<const S> x, MatrixView<S> y, const Batch& batch) const {
    check_parts("moe::DenseLayer::forward");
    detail::check_forward<S>("moe::DenseLayer::forward", model_dim(), x, y, batch);
  }

  void run_forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws, const Batch& batch,
                   bool keep) const {
    ws.layer_id = 0;  // a tape used as a plain workspace is a tape no more
    detail::dense_forward<S>(router_, gate_, experts_, x, y, ws, batch, keep);
  }
};

MOE_NAMESPACE_END
