// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A sparse layer that puts its experts' outputs side by side: x [T, D] -> y [T, K D].
#pragma once

#include <utility>
#include <vector>

#include "moe/expert/ffn.hpp"
#include "moe/expert/group.hpp"
#include "moe/gate/top_k.hpp"
#include "moe/layer/routed_parts.hpp"
#include "moe/router/linear.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Where assignment a = t K + j stands in y or dy [T, K D].
template <class T>
T* concat_place(MatrixView<T> y, Index a, Index top_k) {
  return y.row(a / top_k) + a % top_k * (y.cols() / top_k);
}

template <class GateType>
void check_weight_on_output(std::string_view function, const GateType& gate) {
  if (weight_on(gate) == WeightOn::input) {
    fail(function, "the gate puts weights on the input, expected on the output");
  }
}

template <class S>
void check_concat_forward(std::string_view function, Index model_dim, Index top_k,
                          MatrixView<const S> x, MatrixView<S> y, const Batch& batch) {
  check_shape(function, "y", y, x.rows(), top_k * model_dim);
  check_forward<S>(function, model_dim, x, MatrixView<S>(y.data(), y.rows(), model_dim, y.stride()),
                   batch);
  check_no_alias(function, "x", x, "y", y);
}

/// The way of a token to its places, the experts packed or not. `keep`: a backward will follow.
template <class S, class RouterType, class GateType, class Experts, class State>
void concat_forward(const RouterType& router, const GateType& gate, const CapacityOptions& capacity,
                    const Experts& experts, MatrixView<const S> x, MatrixView<S> y, State& ws,
                    const Batch& batch, bool keep) {
  route<S>(router, gate, capacity, x, batch, ws);
  const Index n = ws.plan.count(), d = x.cols(), most = most_slots(ws.plan);
  ws.rows.in.reserve(most * d);
  ws.rows.out.reserve(most * d);
  ws.rows.resize_unit_weights(n, most);
  const MatrixView<S> in = ws.rows.in.resize(n, d), out = ws.rows.out.resize(n, d);
  dispatch<S>(x, ws.plan, in, ws.executor);
  group_forward(experts, groups_of_slots(ws.plan, ws.rows), MatrixView<const S>(in), out,
                ws.experts, keep, ws.executor);
  clear_rows(y);
  for (Index s = 0; s < n; ++s) {
    const Index a = ws.plan.origin[static_cast<std::size_t>(s)];
    add_scaled(out.row(s), ws.slot_weight[s], concat_place(y, a, gate.top_k()), d);
  }
}

}  // namespace detail

/// y[t] = [w_1 e_1(x[t]), ..., w_K e_K(x[t])]: the j-th expert of the gate's order fills columns
/// [j D, (j + 1) D), zeros where no expert was chosen or it was full. Nothing is summed, so what
/// follows (a linear map, an attention) can tell the experts apart. Weights on the input are left out.
template <class S = float, class RouterType = LinearRouter<S>, class GateType = TopKGate,
          class ExpertType = GatedFfn<S>>
class ConcatLayer : public RoutedParts<S, RouterType, GateType, ExpertType> {
  using Parts = RoutedParts<S, RouterType, GateType, ExpertType>;

 public:
  using Parts::model_dim, Parts::num_experts, Parts::top_k;
  using typename Parts::Config;

  /// Every intermediate of a forward; see MoeLayer::Workspace.
  struct Workspace : RoutedState<S, RouterType, GateType, ExpertType> {
    using RoutedState<S, RouterType, GateType, ExpertType>::RoutedState;
    static constexpr const char* kLayer = "moe::ConcatLayer";
    SlotRows<S> rows;
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
      : Parts(Workspace::kLayer, std::move(router), std::move(gate), std::move(experts),
              std::move(capacity)) {
    check_parts(Workspace::kLayer);
  }

  Index output_dim() const { return top_k() * model_dim(); }  ///< K D

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

  /// See MoeLayer::check_backward.
  void check_backward(const Tape& tape) const {
    check_tape(kBackward, tape);
    check_parts(kBackward);
    check_unchanged(kBackward, tape);
  }

  /// dy [T, K D], dx [T, D], otherwise as MoeLayer::backward, with the same exceptions.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    check_backward(tape);
    detail::check_shape(kBackward, "dy", dy, tape.tokens, output_dim());
    detail::check_shape(kBackward, "dx", dx, tape.tokens, model_dim());
    detail::check_no_alias(kBackward, "dy", dy, "dx", dx);
    const std::span<S> dweight = start_backward(tape, dx);
    const Index d = model_dim(), n = tape.plan.count();
    const Index most = detail::most_slots(tape.plan);
    SlotRows<S>& rows = tape.rows;
    rows.dout.reserve(most * d);
    rows.din.reserve(most * d);
    const MatrixView<S> dout = rows.dout.resize(n, d), din = rows.din.resize(n, d);
    const MatrixView<const S> in(rows.in.data(), n, d), out(rows.out.data(), n, d);
    detail::clear_rows(dout);
    detail::clear_rows(din);
    // The experts' own gradients of weights, all of them 1, are not asked for: scratch.
    const auto dy_of = [&](Index s) {
      return detail::concat_place(dy, tape.plan.origin[static_cast<std::size_t>(s)], top_k());
    };
    for (Index s = 0; s < n; ++s) {
      detail::add_scaled(dy_of(s), tape.slot_weight[s], dout.row(s), d);
    }
    group_backward(experts_, detail::groups_of_slots(tape.plan, rows), in,
                   MatrixView<const S>(dout), din, dweight, tape.experts, tape.executor);
    for (Index s = 0; s < n; ++s) {
      dweight[static_cast<std::size_t>(s)] = detail::kernels<S>().dot(out.row(s), dy_of(s), d);
    }
    dispatch_backward<S>(din, tape.plan, dx, tape.executor);
    route_backward<S>(router_, gate_, tape, dx);
  }

 private:
  static constexpr auto* kBackward = "moe::ConcatLayer::backward";
  using Parts::check_tape, Parts::check_unchanged, Parts::start_backward;
  using Parts::router_, Parts::gate_, Parts::experts_, Parts::capacity_, Parts::id_;

  void check_parts(std::string_view function) const {
    Parts::check_parts(function);
    detail::check_weight_on_output(function, gate_);
  }
  void check_call(MatrixView<const S> x, MatrixView<S> y, const Batch& batch) const {
    constexpr auto* kWhere = "moe::ConcatLayer::forward";
    check_parts(kWhere);
    detail::check_concat_forward<S>(kWhere, model_dim(), top_k(), x, y, batch);
  }

  void run_forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws, const Batch& batch,
                   bool keep) const {
    ws.layer_id = 0;  // a tape used as a plain workspace is a tape no more
    detail::concat_forward<S>(router_, gate_, capacity_, experts_, x, y, ws, batch, keep);
  }
};

MOE_NAMESPACE_END
