// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A sparse layer that puts its experts' outputs side by side: x [T, D] -> y [T, K D].
#pragma once

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

/// y[t] = [w_1 e_1(x[t]), ..., w_K e_K(x[t])]: the j-th expert of the gate's order fills columns
/// [j D, (j + 1) D), zeros where no expert was chosen or it was full. Nothing is summed, so what
/// follows (a linear map, an attention) can tell the experts apart. Weights on the input are left out.
template <class S = float, class RouterType = LinearRouter<S>, class GateType = TopKGate,
          class ExpertType = GatedFfn<S>>
class ConcatLayer {
  static_assert(Router<RouterType, S>,
                "moe::ConcatLayer: the router is not one; see moe/router/router.hpp");
  static_assert(Gate<GateType, S>,
                "moe::ConcatLayer: the gate is not one; see moe/gate/routing.hpp");
  static_assert(Expert<ExpertType, S>,
                "moe::ConcatLayer: the expert is not one; see moe/expert/expert.hpp");

 public:
  using Scalar = S;

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

  /// Every intermediate of a forward; see MoeLayer::Workspace.
  struct Workspace : RouteState<S, RouterType, GateType> {
    using RouteState<S, RouterType, GateType>::RouteState;
    static constexpr const char* kLayer = "moe::ConcatLayer";
    SlotRows<S> rows;
    GroupState<ExpertType, S> experts;
    detail::FilledBy layer_id;  ///< on a tape: the layer that filled it, 0 when empty
  };
  using Tape = RoutedTape<S, Workspace>;

  /// A new layer with random weights; the same seed gives the same layer. Throws
  /// std::invalid_argument on sizes below 1, K > E, or a bad option of a part.
  explicit ConcatLayer(const Config& config, std::uint64_t seed = 0)
      : ConcatLayer{detail::make_router<RouterType>(config.dims(), config.router, seed),
                    GateType(config.dims(), config.gate),
                    detail::make_experts<ExpertType>(config.dims(), config.expert,
                                                     config.num_experts, seed),
                    config.capacity} {}

  /// A layer from its parts. Throws std::invalid_argument when they do not fit one another.
  ConcatLayer(RouterType router, GateType gate, std::vector<ExpertType> experts,
              CapacityOptions capacity = {})
      : router_(std::move(router)),
        gate_(std::move(gate)),
        experts_(std::move(experts)),
        capacity_(std::move(capacity)) {
    check_parts("moe::ConcatLayer");
  }

  Index model_dim() const { return router_.model_dim(); }
  Index output_dim() const { return top_k() * model_dim(); }  ///< K D
  Index num_experts() const { return static_cast<Index>(experts_.size()); }
  Index top_k() const { return gate_.top_k(); }
  RouterType& router() { return router_; }
  const RouterType& router() const { return router_; }
  GateType& gate() { return gate_; }
  const GateType& gate() const { return gate_; }
  ExpertType& expert(Index e) { return experts_.at(static_cast<std::size_t>(e)); }
  const ExpertType& expert(Index e) const { return experts_.at(static_cast<std::size_t>(e)); }
  const CapacityOptions& capacity() const { return capacity_; }

  /// x [T, D], y [T, K D], otherwise as MoeLayer::forward, with the same exceptions.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws,
               const Batch& batch = {}) const {
    check_call(x, y, batch);
    run_forward(x, y, ws, batch, /*keep=*/false);
  }
  void forward(MatrixView<const S> x, MatrixView<S> y, Tape& tape, const Batch& batch = {}) const {
    check_call(x, y, batch);
    run_forward(tape.start(x, batch), y, tape, tape.batch, /*keep=*/true);
    tape.finish(id_.value());
  }

  /// dy [T, K D], dx [T, D], otherwise as MoeLayer::backward, with the same exceptions.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    constexpr auto* kWhere = "moe::ConcatLayer::backward";
    detail::check_tape<S>(kWhere, tape, id_.value(), num_experts(), top_k());
    check_parts(kWhere);
    detail::check_shape(kWhere, "dy", dy, tape.tokens, output_dim());
    detail::check_shape(kWhere, "dx", dx, tape.tokens, model_dim());
    detail::check_no_alias(kWhere, "dy", dy, "dx", dx);
    check_group(kWhere, experts_, tape.experts);
    tape.layer_id = 0;
    detail::clear_rows(dx);
    const Index d = model_dim(), n = tape.plan.count();
    const Index most = detail::most_slots(tape.plan);
    SlotRows<S>& rows = tape.rows;
    tape.dslot_weight.reserve(tape.tokens * top_k());
    tape.dslot_weight.resize(n);
    rows.dout.reserve(most * d);
    rows.din.reserve(most * d);
    const MatrixView<S> dout = rows.dout.resize(n, d), din = rows.din.resize(n, d);
    const MatrixView<const S> in(rows.in.data(), n, d), out(rows.out.data(), n, d);
    detail::clear_rows(dout);
    detail::clear_rows(din);
    // The experts' own gradients of weights, all of them 1, are not asked for: scratch.
    const std::span<S> dweight = tape.dslot_weight.span();
    std::vector<std::int32_t>& origin = tape.plan.origin;
    for (Index s = 0; s < n; ++s) {
      detail::add_scaled(place(dy, origin[static_cast<std::size_t>(s)]), tape.slot_weight[s],
                         dout.row(s), d);
    }
    group_backward(experts_, detail::groups_of_slots(tape.plan, rows), in,
                   MatrixView<const S>(dout), din, dweight, tape.experts, tape.executor);
    for (Index s = 0; s < n; ++s) {
      const auto i = static_cast<std::size_t>(s);
      dweight[i] = detail::kernels<S>().dot(out.row(s), place(dy, origin[i]), d);
    }
    dispatch_backward<S>(din, tape.plan, dx, tape.executor);
    route_backward<S>(router_, gate_, tape, dx);
  }

  /// As MoeLayer::visit_parameters.
  template <class F>
  void visit_parameters(F&& f) {
    detail::visit_part<S>("router.", router_, f);
    detail::visit_part<S>("gate.", gate_, f);
    detail::visit_parts<S>("experts.", experts_, f);
  }
  template <class F>
  void visit_state(F&& f) {
    detail::visit_part_state("router.", router_, f);
    detail::visit_part_state("gate.", gate_, f);
    detail::visit_parts_state("experts.", experts_, f);
  }

 private:
  void check_parts(std::string_view function) const {
    detail::check_routing_parts(function, router_, gate_, num_experts(), capacity_);
    detail::check_experts<S>(function, experts_, "the router's model_dim", model_dim());
    if (weight_on(gate_) == WeightOn::input) {
      detail::fail(function, "the gate puts weights on the input, expected on the output");
    }
  }
  void check_call(MatrixView<const S> x, MatrixView<S> y, const Batch& batch) const {
    constexpr auto* kWhere = "moe::ConcatLayer::forward";
    check_parts(kWhere);
    detail::check_shape(kWhere, "y", y, x.rows(), output_dim());
    detail::check_forward<S>(kWhere, model_dim(), x,
                             MatrixView<S>(y.data(), y.rows(), model_dim(), y.stride()), batch);
    detail::check_no_alias(kWhere, "x", x, "y", y);
  }

  /// Where assignment a = t K + j stands in y or dy.
  template <class T>
  T* place(MatrixView<T> y, Index a) const {
    return y.row(a / top_k()) + a % top_k() * model_dim();
  }

  void run_forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws, const Batch& batch,
                   bool keep) const {
    ws.layer_id = 0;  // a tape used as a plain workspace is a tape no more
    route<S>(router_, gate_, capacity_, x, batch, ws);
    const Index n = ws.plan.count(), d = model_dim(), most = detail::most_slots(ws.plan);
    ws.rows.in.reserve(most * d);
    ws.rows.out.reserve(most * d);
    ws.rows.resize_unit_weights(n, most);
    const MatrixView<S> in = ws.rows.in.resize(n, d), out = ws.rows.out.resize(n, d);
    dispatch<S>(x, ws.plan, in, ws.executor);
    group_forward(experts_, detail::groups_of_slots(ws.plan, ws.rows), MatrixView<const S>(in), out,
                  ws.experts, keep, ws.executor);
    detail::clear_rows(y);
    for (Index s = 0; s < n; ++s) {
      detail::add_scaled(out.row(s), ws.slot_weight[s],
                         place(y, ws.plan.origin[static_cast<std::size_t>(s)]), d);
    }
  }

  RouterType router_;
  GateType gate_;
  std::vector<ExpertType> experts_;
  CapacityOptions capacity_;
  detail::LayerId id_;
};

MOE_NAMESPACE_END
