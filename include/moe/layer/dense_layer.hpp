// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The dense mixture of experts: every expert on every token, x [T, D] -> y [T, D].
#pragma once

#include <utility>
#include <vector>

#include "moe/core/state.hpp"
#include "moe/expert/ffn.hpp"
#include "moe/gate/dense.hpp"
#include "moe/layer/dense_plan.hpp"
#include "moe/layer/parts.hpp"
#include "moe/layer/routed_tape.hpp"
#include "moe/router/linear.hpp"

MOE_NAMESPACE_BEGIN

/// y = sum_e p_e(x) expert_e(x), p = softmax(router(x) / temperature) (Jacobs et al. 1991, "Adaptive
/// mixtures of local experts"). With UniformRouter all experts have the weight 1 / E and nothing is
/// learned but they. Nobody is chosen, so there is no capacity and nothing to drop; the plan in the
/// workspace is that of all assignments, written down without counting or sorting. The bits are those
/// of a MoeLayer with DenseGate.
template <class S = float, class RouterType = LinearRouter<S>, class ExpertType = GatedFfn<S>>
class DenseLayer {
  static_assert(
      Router<RouterType, S>,
      "moe::DenseLayer: the router needs State, model_dim(), num_experts(), forward(x, logits, "
      "batch, state, executor) const, backward(x, dlogits, dx, state, executor) and "
      "visit_parameters(f); see moe/router/router.hpp");
  static_assert(
      Expert<ExpertType, S>,
      "moe::DenseLayer: the expert needs State, forward(in, out, state) const, backward(in, "
      "dout, din, state) and visit_parameters(f); see moe/expert/expert.hpp");

 public:
  using Scalar = S;

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
  struct Workspace : RouteState<S, RouterType, DenseGate> {
    using RouteState<S, RouterType, DenseGate>::RouteState;
    static constexpr const char* kLayer = "moe::DenseLayer";
    GroupState<ExpertType, S> experts;
    detail::FilledBy layer_id;  ///< on a tape: the layer that filled it, 0 when empty
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
      : router_(std::move(router)), gate_(std::move(gate)), experts_(std::move(experts)) {
    check_parts("moe::DenseLayer");
  }

  Index model_dim() const { return router_.model_dim(); }
  Index num_experts() const { return static_cast<Index>(experts_.size()); }
  Index top_k() const { return num_experts(); }

  RouterType& router() { return router_; }
  const RouterType& router() const { return router_; }
  DenseGate& gate() { return gate_; }
  const DenseGate& gate() const { return gate_; }
  ExpertType& expert(Index e) { return experts_.at(static_cast<std::size_t>(e)); }
  const ExpertType& expert(Index e) const { return experts_.at(static_cast<std::size_t>(e)); }

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

  /// Gradients of one training forward and of the losses added to its tape; see MoeLayer::backward.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    constexpr auto* kWhere = "moe::DenseLayer::backward";
    detail::check_tape<S>(kWhere, tape, id_.value(), num_experts(), top_k());
    check_parts(kWhere);
    detail::check_backward_shapes<S>(kWhere, dy, dx, tape.tokens, model_dim());
    check_group(kWhere, experts_, tape.experts);
    tape.layer_id = 0;
    detail::clear_rows(dx);
    tape.dslot_weight.reserve(tape.tokens * num_experts());
    tape.dslot_weight.resize(tape.plan.count());
    group_backward<ExpertType, S>(experts_, rows_of(tape), tape.kept_x(model_dim()), dy, dx,
                                  tape.dslot_weight.span(), tape.experts, tape.executor);
    route_backward<S>(router_, gate_, tape, dx);
  }

  /// f(name, Parameter<S>&) for "router.*" and "experts.<e>.*", in this order.
  template <class F>
  void visit_parameters(F&& f) {
    detail::visit_part<S>("router.", router_, f);
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
  void check_parts(std::string_view function) const {
    detail::check_routing_parts(function, router_, gate_, num_experts(), {});
    detail::check_experts<S>(function, experts_, "the router's model_dim", model_dim());
  }

  void check_forward(MatrixView<const S> x, MatrixView<S> y, const Batch& batch) const {
    check_parts("moe::DenseLayer::forward");
    detail::check_forward<S>("moe::DenseLayer::forward", model_dim(), x, y, batch);
  }

  static RowGroups<S> rows_of(const Workspace& ws) {
    return detail::every_row<S>(ws.plan, ws.slot_weight.span());
  }

  void run_forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws, const Batch& batch,
                   bool keep) const {
    ws.layer_id = 0;  // a tape used as a plain workspace is a tape no more
    const Index e = num_experts();
    const MatrixView<S> logits = ws.logits.resize(x.rows(), e);
    router_.forward(x, logits, batch, ws.router_state, ws.executor);
    ws.routing.resize(x.rows(), e, e);
    gate_.forward(MatrixView<const S>(logits), ws.routing, batch, ws.gate_state);
    ws.routing.clear_padding(batch);
    plan_everything(x.rows(), e, batch, ws.plan);
    ws.slot_weight.reserve(x.rows() * e);
    transpose_weights<S>(ws.routing, ws.plan, ws.slot_weight.resize(ws.plan.count()));
    group_forward<ExpertType, S>(experts_, rows_of(ws), x, y, ws.experts, keep, ws.executor);
  }

  RouterType router_;
  DenseGate gate_;
  std::vector<ExpertType> experts_;
  detail::LayerId id_;
};

MOE_NAMESPACE_END
