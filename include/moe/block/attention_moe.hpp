// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Mixture of attention heads: x [T, D] -> y [T, D], each token attends with the heads it is sent to.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "moe/block/attend.hpp"
#include "moe/block/attention_experts.hpp"
#include "moe/block/record.hpp"
#include "moe/block/rotary.hpp"
#include "moe/gate/top_k.hpp"
#include "moe/layer/parts.hpp"
#include "moe/router/linear.hpp"

MOE_NAMESPACE_BEGIN

/// y_t = sum over the experts e of t of weight * attend(x W_q,e^T, x W_k^T, x W_v^T)_t W_o,e^T (Zhang et
/// al. 2022, "Mixture of attention heads: selecting attention heads per token"): a token's experts
/// ask with their own queries, and all tokens of its sequence answer with the same keys and values,
/// whichever experts they chose themselves. Any router and gate of the library, capacity and balance
/// losses. `heads_per_expert` above 1, with as many shared key heads, is JetMoE's.
///
/// Dropless and with a gate that decides token by token, a token depends on its own sequence alone.
template <class S = float, class RouterType = LinearRouter<S>, class GateType = TopKGate>
class AttentionMoe {
  static_assert(Router<RouterType, S>,
                "moe::AttentionMoe: the router is not one; see moe/router/router.hpp");
  static_assert(Gate<GateType, S>,
                "moe::AttentionMoe: the gate is not one; see moe/gate/routing.hpp");

 public:
  using Scalar = S;

  struct Config {
    Index model_dim = 0;         ///< D
    Index num_experts = 0;       ///< E
    Index top_k = 0;             ///< K
    Index head_dim = 0;          ///< of queries, keys and values
    Index heads_per_expert = 1;  ///< also the number of shared key heads
    bool causal = true;          ///< a row sees itself and what stands before it
    std::optional<RotaryOptions> rotary = std::nullopt;  ///< of queries and keys
    detail::options_of<RouterType> router{};
    detail::options_of<GateType> gate{};
    CapacityOptions capacity{};

    Dims dims() const { return {model_dim, head_dim * heads_per_expert, num_experts, top_k}; }
  };

  /// Every intermediate of a forward, A = heads_per_expert * head_dim. From the second call on, with
  /// no more rows and no longer sequences, nothing is allocated.
  struct Workspace : RouteState<S, RouterType, GateType> {
    using RouteState<S, RouterType, GateType>::RouteState;
    static constexpr const char* kLayer = "moe::AttentionMoe";
    Sequences sequences;
    Buffer<S> k, v;      ///< [T, A]
    Buffer<S> q, found;  ///< [T, K * A], a token's experts side by side
    AttentionSlots<S> slots;
    RotaryTable<S> rotary;
    AttendScratch<S> attend;
    Buffer<S> dk, dv, dq, dfound;  ///< of backward
    detail::FilledBy layer_id;     ///< on a tape: the layer that filled it, 0 when empty
  };

  /// A workspace that also remembers what backward needs, and takes balance losses: add_loss.
  using Tape = RoutedTape<S, Workspace>;

  /// Random weights; the same seed gives the same layer. Throws std::invalid_argument on sizes below
  /// 1, K > E, a bad capacity, an odd number of rotated values, or a gate that weighs the input.
  explicit AttentionMoe(const Config& config, std::uint64_t seed = 0)
      : config_(config),
        router_(detail::make_router<RouterType>(config.dims(), config.router, seed)),
        gate_(config.dims(), config.gate) {
    check_config();
    const Index d = config.model_dim, a = width();
    Random shared(seed, static_cast<std::uint64_t>(config.num_experts) + 1);
    w_k = Parameter<S>(a, d);
    w_v = Parameter<S>(a, d);
    w_k.init_uniform(shared, d);
    w_v.init_uniform(shared, d);
    for (Index e = 0; e < config.num_experts; ++e) {
      Random random(seed, static_cast<std::uint64_t>(e) + 1);
      experts_.emplace_back(d, a, random);
    }
    check_parts(kWhere);
  }

  const Config& config() const { return config_; }
  Index model_dim() const { return config_.model_dim; }
  Index num_experts() const { return static_cast<Index>(experts_.size()); }
  Index top_k() const { return gate_.top_k(); }
  RouterType& router() { return router_; }
  const RouterType& router() const { return router_; }
  GateType& gate() { return gate_; }
  const GateType& gate() const { return gate_; }
  /// Throws std::invalid_argument unless 0 <= e < E.
  AttentionExpert<S>& expert(Index e) { return experts_[checked(e)]; }
  const AttentionExpert<S>& expert(Index e) const { return experts_[checked(e)]; }

  /// Writes y; zero for padding and for tokens whose every expert was full. Throws
  /// std::invalid_argument on shapes that do not fit, lengths that do not sum to T, a mask that is
  /// not [T] long, or x and y sharing memory; y is then untouched.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& workspace,
               const Batch& batch = {}) const {
    check_forward(x, y, batch);
    run_forward(x, y, workspace, batch);
  }

  /// The same, remembering on `tape` what backward needs.
  void forward(MatrixView<const S> x, MatrixView<S> y, Tape& tape, const Batch& batch = {}) const {
    check_forward(x, y, batch);
    run_forward(tape.start(x, batch), y, tape, tape.batch);
    tape.finish(id_.value());
  }

  /// Throws std::invalid_argument unless a backward with this tape could go ahead: what layers around
  /// this one ask before they change anything.
  void check_backward(const Tape& tape) const {
    detail::check_tape<S>(kBackward, tape, id_.value(), num_experts(), top_k(), model_dim());
    check_parts(kBackward);
    detail::check_same_router(kBackward, router_, tape.router_state);
  }

  /// Gradients of one training forward and of the losses added to its tape: writes dx and adds to
  /// the gradients of what trains. Consumes the tape. Throws std::invalid_argument when the tape is
  /// empty or another layer's, or a shape does not fit; nothing is then changed.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    check_backward(tape);
    detail::check_backward_shapes<S>(kBackward, dy, dx, tape.tokens, model_dim());
    tape.layer_id = 0;
    const Index t = tape.tokens, a = width(), k_a = top_k() * a;
    detail::reserve_products(t, std::max(a, model_dim()), tape.executor, tape.slots.product);
    const MatrixView<const S> x = tape.kept_x(model_dim());
    const MatrixView<S> q(tape.q.data(), t, k_a), k(tape.k.data(), t, a), v(tape.v.data(), t, a);
    const MatrixView<S> dq = tape.dq.resize(t, k_a), dfound = tape.dfound.resize(t, k_a);
    const MatrixView<S> dk = tape.dk.resize(t, a), dv = tape.dv.resize(t, a);
    tape.dslot_weight.reserve(t * top_k());
    const std::span<S> dslot_weight = tape.dslot_weight.resize(tape.plan.count());

    expert_outputs_backward<S>(experts_, tape.plan, tape.slot_weight.span(), dy, dfound,
                               dslot_weight, tape.slots, tape.executor);
    attend_backward<S>(attend_shape(), tape.sequences, tape.batch, q, k, v, dfound, dq, dk, dv,
                       tape.attend, tape.executor);
    turn(dq, dk, tape, /*back=*/true);
    detail::set_zero(dx);
    auto& product = tape.slots.product;
    detail::linear_backward_into<S>(w_k, nullptr, x, dk, dx, product, tape.executor);
    detail::linear_backward_into<S>(w_v, nullptr, x, dv, dx, product, tape.executor);
    expert_queries_backward<S>(experts_, tape.plan, dq, dx, tape.slots, tape.executor);
    route_backward<S>(router_, gate_, tape, dx);
  }

  /// f(name, Parameter<S>&) for "router.*", "gate.*" if the gate learns, "w_k", "w_v" and
  /// "experts.<e>.*", in this order.
  template <class F>
  void visit_parameters(F&& f) {
    detail::visit_part<S>("router.", router_, f);
    detail::visit_part<S>("gate.", gate_, f);
    f(std::string_view("w_k"), w_k);
    f(std::string_view("w_v"), w_v);
    detail::visit_parts<S>("experts.", experts_, f);
  }

  /// The same names for what else there is to save: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    detail::visit_part_state("router.", router_, f);
    detail::visit_part_state("gate.", gate_, f);
  }

  Parameter<S> w_k;  ///< [A, D], of all experts
  Parameter<S> w_v;  ///< [A, D]

 private:
  static constexpr auto* kWhere = "moe::AttentionMoe";
  static constexpr auto* kBackward = "moe::AttentionMoe::backward";

  std::size_t checked(Index e) const {
    return detail::checked_index("moe::AttentionMoe", "expert", e, num_experts());
  }

  /// A.
  Index width() const { return config_.heads_per_expert * config_.head_dim; }
  AttendShape attend_shape() const {
    return {.heads = top_k() * config_.heads_per_expert,
            .kv_heads = config_.heads_per_expert,
            .width = config_.head_dim,
            .causal = config_.causal,
            .sets = true};
  }

  void check_config() const {
    detail::check_positive(kWhere, "head_dim", config_.head_dim);
    detail::check_positive(kWhere, "heads_per_expert", config_.heads_per_expert);
    if (config_.rotary) detail::check_rotary(kWhere, *config_.rotary, config_.head_dim);
  }

  void check_parts(std::string_view function) const {
    detail::check_routing_parts(function, router_, gate_, num_experts(), config_.capacity);
    if (weight_on(gate_) == WeightOn::input) {
      detail::fail(function, "the gate weighs the experts' input, expected weights on the output");
    }
    const Index d = model_dim(), a = width();
    detail::check_size(function, "the router", router_.model_dim(), "columns",
                       "the layer's model_dim", d);
    detail::check_shape<const S>(function, "w_k", w_k.value, a, d);
    detail::check_shape<const S>(function, "w_v", w_v.value, a, d);
    for (const auto& expert : experts_) {
      detail::check_shape<const S>(function, "an expert's w_q", expert.w_q.value, a, d);
      detail::check_shape<const S>(function, "an expert's w_o", expert.w_o.value, d, a);
    }
  }

  void check_forward(MatrixView<const S> x, MatrixView<S> y, const Batch& batch) const {
    constexpr auto* kForward = "moe::AttentionMoe::forward";
    check_parts(kForward);
    detail::check_forward<S>(kForward, model_dim(), x, y, batch);
  }

  void run_forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws,
                   const Batch& batch) const {
    ws.layer_id = 0;
    route<S>(router_, gate_, config_.capacity, x, batch, ws);
    ws.sequences.read(batch, x.rows());
    const Index a = width();
    detail::reserve_products(x.rows(), std::max(a, model_dim()), ws.executor, ws.slots.product);
    const MatrixView<S> k = ws.k.resize(x.rows(), a), v = ws.v.resize(x.rows(), a);
    const MatrixView<S> q = ws.q.resize(x.rows(), top_k() * a);
    const MatrixView<S> found = ws.found.resize(x.rows(), top_k() * a);
    linear_forward<S>(x, w_k.value, nullptr, k, ws.slots.product, ws.executor);
    linear_forward<S>(x, w_v.value, nullptr, v, ws.slots.product, ws.executor);
    detail::clear_padding(batch, k);  // it may have been anything
    detail::clear_padding(batch, v);
    expert_queries<S>(experts_, ws.plan, x, q, ws.slots, ws.executor);
    turn(q, k, ws, /*back=*/false);
    attend<S>(attend_shape(), ws.sequences, batch, q, k, v, found, ws.attend, ws.executor);
    expert_outputs<S>(experts_, ws.plan, ws.slot_weight.span(), found, y, ws.slots, ws.executor);
  }

  void turn(MatrixView<S> q, MatrixView<S> k, Workspace& ws, bool back) const {
    if (!config_.rotary) return;
    const auto position = std::as_const(ws.sequences.position).span();
    ws.rotary.prepare(*config_.rotary, config_.head_dim, ws.sequences.longest);
    ws.rotary.turn(*config_.rotary, q, config_.head_dim, position, back, ws.executor);
    ws.rotary.turn(*config_.rotary, k, config_.head_dim, position, back, ws.executor);
  }

  Config config_;
  RouterType router_;
  GateType gate_;
  std::vector<AttentionExpert<S>> experts_;
  detail::LayerId id_;
};

MOE_NAMESPACE_END
