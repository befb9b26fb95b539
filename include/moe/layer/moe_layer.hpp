// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The sparse Mixture-of-Experts layer: x [T, D] -> y [T, D].
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "moe/core/state.hpp"
#include "moe/expert/ffn.hpp"
#include "moe/expert/group.hpp"
#include "moe/gate/top_k.hpp"
#include "moe/layer/parts.hpp"
#include "moe/layer/routed_tape.hpp"
#include "moe/router/linear.hpp"

MOE_NAMESPACE_BEGIN

/// Router, gate, experts. `forward` and `backward` read as the way of a token: router -> gate -> plan
/// -> experts (dispatch and combine fused in). A const layer serves many threads, each with its own
/// workspace or tape.
template <class S = float, class RouterType = LinearRouter<S>, class GateType = TopKGate,
          class ExpertType = GatedFfn<S>>
class MoeLayer {
  static_assert(
      Router<RouterType, S>,
      "moe::MoeLayer: the router needs State, model_dim(), num_experts(), forward(x, logits, "
      "batch, state, executor) const, backward(x, dlogits, dx, state, executor) and "
      "visit_parameters(f); see moe/router/router.hpp");
  static_assert(
      Gate<GateType, S>,
      "moe::MoeLayer: the gate needs State, top_k(), forward(logits, routing, batch, state) "
      "const and backward(routing, dweight, dscores, dlogits, state); see "
      "moe/gate/routing.hpp");
  static_assert(
      Expert<ExpertType, S>,
      "moe::MoeLayer: the expert needs State, forward(in, out, state) const, backward(in, "
      "dout, din, state) and visit_parameters(f); see moe/expert/expert.hpp");

 public:
  using Scalar = S;

  /// Sizes first, then what each part wants to know.
  struct Config {
    Index model_dim = 0;    ///< D
    Index hidden_dim = 0;   ///< H
    Index num_experts = 0;  ///< E
    Index top_k = 0;        ///< K
    detail::options_of<RouterType> router{};
    detail::options_of<GateType> gate{};
    detail::options_of<ExpertType> expert{};
    CapacityOptions capacity{};

    Dims dims() const { return {model_dim, hidden_dim, num_experts, top_k}; }
  };

  /// Every intermediate of a forward. Reuse it: from the second call on, at the same or a smaller
  /// T, nothing is allocated. One workspace serves one call at a time.
  struct Workspace : RouteState<S, RouterType, GateType> {
    using RouteState<S, RouterType, GateType>::RouteState;
    static constexpr const char* kLayer = "moe::MoeLayer";
    GroupState<ExpertType, S> experts;
    detail::FilledBy layer_id;  ///< on a tape: the layer that filled it, 0 when empty
  };

  /// A workspace that also remembers what backward needs, and takes balance losses: add_loss.
  using Tape = RoutedTape<S, Workspace>;

  /// A new layer with random weights; the same seed gives the same layer. Throws
  /// std::invalid_argument on sizes below 1, K > E, or a bad capacity factor.
  explicit MoeLayer(const Config& config, std::uint64_t seed = 0)
      : MoeLayer{detail::make_router<RouterType>(config.dims(), config.router, seed),
                 make_gate(config),
                 detail::make_experts<ExpertType>(config.dims(), config.expert, config.num_experts,
                                                  seed),
                 config.capacity} {}  // braces: router first, so that the first mistake is named

  /// A layer from its parts. Throws std::invalid_argument when they do not fit one another.
  MoeLayer(RouterType router, GateType gate, std::vector<ExpertType> experts,
           CapacityOptions capacity = {})
      : router_(std::move(router)),
        gate_(std::move(gate)),
        experts_(std::move(experts)),
        capacity_(capacity) {
    check_parts("moe::MoeLayer");
  }

  Index model_dim() const { return router_.model_dim(); }
  Index num_experts() const { return static_cast<Index>(experts_.size()); }
  Index top_k() const { return gate_.top_k(); }

  RouterType& router() { return router_; }
  const RouterType& router() const { return router_; }
  GateType& gate() { return gate_; }
  const GateType& gate() const { return gate_; }
  ExpertType& expert(Index e) { return experts_.at(static_cast<std::size_t>(e)); }
  const ExpertType& expert(Index e) const { return experts_.at(static_cast<std::size_t>(e)); }
  /// For experts that come and go: see moe/train/grow.hpp. Every call checks that all parts still fit.
  std::vector<ExpertType>& experts() { return experts_; }
  const CapacityOptions& capacity() const { return capacity_; }

  /// Throws std::invalid_argument unless the factor is absent or finite and positive.
  void set_capacity(const CapacityOptions& capacity) {
    check_capacity("moe::MoeLayer::set_capacity", capacity);
    capacity_ = capacity;
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

  /// Gradients of one training forward and of the losses added to its tape: writes dx [T, D] and
  /// adds to the gradient of every trainable parameter. Consumes the tape. Throws
  /// std::invalid_argument when the tape is empty or another layer's, or a shape does not fit;
  /// nothing is then changed.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    constexpr auto* kWhere = "moe::MoeLayer::backward";
    detail::check_tape<S>(kWhere, tape, id_.value(), num_experts(), top_k());
    check_parts(kWhere);
    detail::check_backward_shapes<S>(kWhere, dy, dx, tape.tokens, model_dim());
    check_group(kWhere, experts_, tape.experts);
    tape.layer_id = 0;
    detail::clear_rows(dx);

    tape.dslot_weight.reserve(tape.tokens * top_k());
    tape.dslot_weight.resize(tape.plan.count());
    experts_backward<ExpertType, S>(experts_, tape.plan, tape.slot_weight.span(), weight_on(gate_),
                                    tape.kept_x(model_dim()), dy, dx, tape.dslot_weight.span(),
                                    tape.experts, tape.executor);
    route_backward<S>(router_, gate_, tape, dx);
  }

  /// f(name, Parameter<S>&) for "router.*", "gate.*" if the gate learns, and "experts.<e>.*", in
  /// this order.
  template <class F>
  void visit_parameters(F&& f) {
    detail::visit_part<S>("router.", router_, f);
    detail::visit_part<S>("gate.", gate_, f);
    detail::visit_parts<S>("experts.", experts_, f);
  }

  /// The same names for what else there is to save: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    detail::visit_part_state("router.", router_, f);
    detail::visit_part_state("gate.", gate_, f);
    detail::visit_parts_state("experts.", experts_, f);
  }

 private:
  static GateType make_gate(const Config& config) { return GateType(config.dims(), config.gate); }

  void check_parts(std::string_view function) const {
    detail::check_routing_parts(function, router_, gate_, num_experts(), capacity_);
    detail::check_experts<S>(function, experts_, "the router's model_dim", model_dim());
  }

  void run_forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws, const Batch& batch,
                   bool keep) const {
    ws.layer_id = 0;  // a tape used as a plain workspace is a tape no more
    route<S>(router_, gate_, capacity_, x, batch, ws);
    experts_forward<ExpertType, S>(experts_, ws.plan, ws.slot_weight.span(), weight_on(gate_), x, y,
                                   ws.experts, keep, ws.executor);
  }

  RouterType router_;
  GateType gate_;
  std::vector<ExpertType> experts_;
  CapacityOptions capacity_;
  detail::LayerId id_;
};

MOE_NAMESPACE_END
