// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The tape of a layer with a router: what backward needs beside the workspace, and where balance
// losses join; dweight [T, K], dscores and dlogits [T, E] -> dx and the router's gradients.
#pragma once

#include "moe/layer/identity.hpp"
#include "moe/layer/route.hpp"
#include "moe/loss/loss.hpp"

MOE_NAMESPACE_BEGIN

/// A workspace that also remembers what backward needs. Filled by forward, consumed by backward.
/// `WorkspaceType` derives from RouteState and has layer_id and the layer's name, kLayer.
template <class S, class WorkspaceType>
struct RoutedTape : WorkspaceType {
  using WorkspaceType::WorkspaceType;

  /// Adds a balance loss to this step: returns its value, coefficient included, and adds its
  /// gradient to what backward will send into the router. Call between forward and backward.
  template <class L>
  S add_loss(const L& loss) {
    static_assert(BalanceLoss<L, S>,
                  "moe: Tape::add_loss: a loss is called as loss(LossInput, LossGradient&) and "
                  "returns a number; "
                  "see moe/loss/loss.hpp");
    if (this->layer_id == 0) {
      detail::fail(std::string(WorkspaceType::kLayer) + "::Tape::add_loss",
                   "the tape is empty, expected a forward before");
    }
    LossGradient<S> gradient = loss_gradient();
    return static_cast<S>(loss(loss_input(), gradient));
  }

  /// What a loss looks at, and where it adds its gradient. Valid until backward.
  LossInput<S> loss_input() {
    NoiseRecord<S>* noise = nullptr;
    if constexpr (requires { this->router_state.noise; }) noise = &this->router_state.noise;
    const Index e = this->routing.num_experts();
    return {
        {this->logits.data(), tokens, e}, this->routing, this->plan, batch, noise, &loss_scratch};
  }
  LossGradient<S> loss_gradient() {
    const Index e = this->routing.num_experts();
    return {{dlogits.data(), tokens, e},
            {dscores.data(), tokens, e},
            {dweight.data(), tokens, this->routing.top_k()}};
  }

  /// Opens the tape for a training forward: remembers the batch and a copy of x in which padding
  /// is zero.
  MatrixView<const S> start(MatrixView<const S> input, const Batch& given) {
    this->layer_id = 0;
    tokens = input.rows();
    batch = given;
    batch.training = true;
    const MatrixView<S> kept = x.resize(input.rows(), input.cols());
    for (Index t = 0; t < input.rows(); ++t) {
      if (batch.is_padding(t)) {
        std::fill_n(kept.row(t), input.cols(), S(0));
      } else {
        std::copy_n(input.row(t), input.cols(), kept.row(t));
      }
    }
    return kept;
  }

  /// The forward is done: what the caller owns is copied or let go, gradients start at zero.
  void finish(std::uint64_t filled_by) {
    mask.reserve(tokens);  // another time there may be one
    std::copy(batch.mask.begin(), batch.mask.end(), mask.resize(std::ssize(batch.mask)).begin());
    batch.mask = mask.span();
    batch.token_ids = {};
    batch.token_places = {};
    batch.sequence_lengths = {};
    const Index e = this->routing.num_experts();
    dlogits.resize(tokens * e);
    dlogits.fill(S(0));
    dscores.resize(tokens * e);
    dscores.fill(S(0));
    dweight.resize(tokens * this->routing.top_k());
    dweight.fill(S(0));
    this->layer_id = filled_by;
  }

  MatrixView<const S> kept_x(Index model_dim) const { return {x.data(), tokens, model_dim}; }

  Index tokens = 0;  ///< T
  Batch batch;       ///< as given to forward, its mask kept below, other spans dropped
  Buffer<std::uint8_t> mask;
  Buffer<S> x;             ///< [T, D], a copy; padding rows are zero
  Buffer<S> dlogits;       ///< [T, E], from losses, then the whole
  Buffer<S> dscores;       ///< [T, E], from losses
  Buffer<S> dweight;       ///< [T, K], from losses, then the whole
  Buffer<S> dslot_weight;  ///< [N]
  Buffer<double> loss_scratch;
};

namespace detail {

/// The checks of every routed layer's backward, before anything is changed.
template <class S, class TapeType>
void check_tape(std::string_view function, const TapeType& tape, std::uint64_t layer_id,
                Index num_experts, Index top_k, Index model_dim) {
  check_filled(function, tape.layer_id, layer_id);
  check_size(function, "the tape", tape.routing.top_k(), "experts per token", "the gate's top_k",
             top_k);
  check_size(function, "the tape", tape.routing.num_experts(), "experts", "the number of experts",
             num_experts);
  check_size(function, "the tape", tape.x.size(), "values of x", "tokens times model_dim",
             tape.tokens * model_dim);
}

/// A router that can tell throws std::invalid_argument when it is no longer what it was in the forward
/// that filled its state. For layers to ask before they write.
template <class RouterType, class State>
void check_same_router(std::string_view function, const RouterType& router, const State& state) {
  if constexpr (requires { router.check_state(function, state); }) {
    router.check_state(function, state);
  }
}

}  // namespace detail

/// From the gradients of the slots' weights, tape.dslot_weight [N], and those of the losses: adds to
/// dx [T, D] and to the gradients of gate and router.
template <class S, class RouterType, class GateType, class TapeType>
void route_backward(RouterType& router, GateType& gate, TapeType& tape, MatrixView<S> dx) {
  LossGradient<S> gradient = tape.loss_gradient();
  scatter_slot_weights<S>(tape.routing, tape.plan, tape.dslot_weight.span(), gradient.dweight,
                          gradient.dscores);
  gate.backward(std::as_const(tape.routing), MatrixView<const S>(gradient.dweight),
                MatrixView<const S>(gradient.dscores), gradient.dlogits, tape.gate_state);
  router.backward(tape.kept_x(router.model_dim()), MatrixView<const S>(gradient.dlogits), dx,
                  tape.router_state, tape.executor);
}

MOE_NAMESPACE_END
