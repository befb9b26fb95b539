// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A sparse layer whose experts work in a narrower space: x [T, D] -> z [T, L] -> u [T, L] -> y [T, D].
#pragma once

#include <utility>
#include <vector>

#include "moe/core/state.hpp"
#include "moe/expert/ffn.hpp"
#include "moe/expert/group.hpp"
#include "moe/gate/top_k.hpp"
#include "moe/kernel/linear.hpp"
#include "moe/layer/parts.hpp"
#include "moe/layer/routed_tape.hpp"
#include "moe/router/linear.hpp"

MOE_NAMESPACE_BEGIN

/// Latent MoE (arXiv 2601.18089; Megatron's moe_latent_size, Nemotron 3): z = x A^T, u = the experts'
/// weighted sum of z, y = u B^T, A [L, D], B [D, L]. The router sees x at its full width. What the
/// narrower experts save pays for more of them. A shared expert at full width: SharedLayer around it.
template <class S = float, class RouterType = LinearRouter<S>, class GateType = TopKGate,
          class ExpertType = GatedFfn<S>>
class LatentLayer {
  static_assert(Router<RouterType, S>,
                "moe::LatentLayer: the router is not one; see moe/router/router.hpp");
  static_assert(Gate<GateType, S>,
                "moe::LatentLayer: the gate is not one; see moe/gate/routing.hpp");
  static_assert(Expert<ExpertType, S>,
                "moe::LatentLayer: the expert is not one; see moe/expert/expert.hpp");

 public:
  using Scalar = S;

  struct Config {
    Index model_dim = 0;    ///< D
    Index latent_dim = 0;   ///< L
    Index hidden_dim = 0;   ///< H of the experts
    Index num_experts = 0;  ///< E
    Index top_k = 0;        ///< K
    detail::options_of<RouterType> router{};
    detail::options_of<GateType> gate{};
    detail::options_of<ExpertType> expert{};
    CapacityOptions capacity{};

    Dims dims() const { return {model_dim, hidden_dim, num_experts, top_k}; }
    Dims latent_dims() const { return {latent_dim, hidden_dim, num_experts, top_k}; }
  };

  /// Every intermediate of a forward; see MoeLayer::Workspace.
  struct Workspace : RouteState<S, RouterType, GateType> {
    using RouteState<S, RouterType, GateType>::RouteState;
    static constexpr const char* kLayer = "moe::LatentLayer";
    Buffer<S> z, u;    ///< [T, L]
    Buffer<S> dz, du;  ///< [T, L], of backward
    Buffer<S> dy;      ///< [T, D], of backward: a copy when there is padding, whose rows are zero
    LinearScratch<S> linear;
    GroupState<ExpertType, S> experts;
    detail::FilledBy layer_id;  ///< on a tape: the layer that filled it, 0 when empty
  };
  using Tape = RoutedTape<S, Workspace>;

  /// A new layer with random weights; the same seed gives the same layer. Throws
  /// std::invalid_argument on sizes below 1, K > E, or a bad option of a part.
  explicit LatentLayer(const Config& config, std::uint64_t seed = 0)
      : LatentLayer{make_router(config, seed),
                    GateType(config.dims(), config.gate),
                    make_projection(config.latent_dim, config.model_dim, seed, 0),
                    make_projection(config.model_dim, config.latent_dim, seed, 1),
                    detail::make_experts<ExpertType>(config.latent_dims(), config.expert,
                                                     config.num_experts, seed),
                    config.capacity} {}

  /// A layer from its parts: down [L, D], up [D, L]. Throws std::invalid_argument when they do not
  /// fit one another.
  LatentLayer(RouterType router, GateType gate, Parameter<S> down, Parameter<S> up,
              std::vector<ExpertType> experts, CapacityOptions capacity = {})
      : router_(std::move(router)),
        gate_(std::move(gate)),
        down_(std::move(down)),
        up_(std::move(up)),
        experts_(std::move(experts)),
        capacity_(std::move(capacity)) {
    check_parts("moe::LatentLayer");
  }

  Index model_dim() const { return router_.model_dim(); }
  Index latent_dim() const { return down_.value.rows(); }
  Index num_experts() const { return static_cast<Index>(experts_.size()); }
  Index top_k() const { return gate_.top_k(); }

  RouterType& router() { return router_; }
  const RouterType& router() const { return router_; }
  GateType& gate() { return gate_; }
  const GateType& gate() const { return gate_; }
  Parameter<S>& down() { return down_; }
  const Parameter<S>& down() const { return down_; }
  Parameter<S>& up() { return up_; }
  const Parameter<S>& up() const { return up_; }
  ExpertType& expert(Index e) { return experts_.at(static_cast<std::size_t>(e)); }
  const ExpertType& expert(Index e) const { return experts_.at(static_cast<std::size_t>(e)); }
  const CapacityOptions& capacity() const { return capacity_; }

  /// As MoeLayer::forward, with the same exceptions.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws,
               const Batch& batch = {}) const {
    check_parts("moe::LatentLayer::forward");
    detail::check_forward<S>("moe::LatentLayer::forward", model_dim(), x, y, batch);
    run_forward(x, y, ws, batch, /*keep=*/false);
  }
  void forward(MatrixView<const S> x, MatrixView<S> y, Tape& tape, const Batch& batch = {}) const {
    check_parts("moe::LatentLayer::forward");
    detail::check_forward<S>("moe::LatentLayer::forward", model_dim(), x, y, batch);
    run_forward(tape.start(x, batch), y, tape, tape.batch, /*keep=*/true);
    tape.finish(id_.value());
  }

  /// As MoeLayer::backward, with the same exceptions.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    constexpr auto* kWhere = "moe::LatentLayer::backward";
    detail::check_tape<S>(kWhere, tape, id_.value(), num_experts(), top_k());
    check_parts(kWhere);
    detail::check_backward_shapes<S>(kWhere, dy, dx, tape.tokens, model_dim());
    check_group(kWhere, experts_, tape.experts);
    tape.layer_id = 0;
    const Index t = tape.tokens, l = latent_dim();
    const MatrixView<const S> z(tape.z.data(), t, l), u(tape.u.data(), t, l);
    const MatrixView<S> dz = tape.dz.resize(t, l), du = tape.du.resize(t, l);
    detail::clear_rows(dx);
    detail::clear_rows(dz);
    detail::clear_rows(du);
    linear_backward<S>(u, up_.value, without_padding(dy, tape), du, gradient_of(up_), nullptr,
                       tape.linear, tape.executor);

    tape.dslot_weight.reserve(t * top_k());
    tape.dslot_weight.resize(tape.plan.count());
    experts_backward<ExpertType, S>(experts_, tape.plan, tape.slot_weight.span(), weight_on(gate_),
                                    z, du, dz, tape.dslot_weight.span(), tape.experts,
                                    tape.executor);
    linear_backward<S>(tape.kept_x(model_dim()), down_.value, dz, dx, gradient_of(down_), nullptr,
                       tape.linear, tape.executor);
    route_backward<S>(router_, gate_, tape, dx);
  }

  /// "router.*", "gate.*" if the gate learns, "down.weight", "up.weight", "experts.<e>.*".
  template <class F>
  void visit_parameters(F&& f) {
    detail::visit_part<S>("router.", router_, f);
    detail::visit_part<S>("gate.", gate_, f);
    f(std::string_view("down.weight"), down_);
    f(std::string_view("up.weight"), up_);
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
  static RouterType make_router(const Config& config, std::uint64_t seed) {
    detail::check_positive("moe::LatentLayer", "latent_dim", config.latent_dim);
    return detail::make_router<RouterType>(config.dims(), config.router, seed);
  }
  static Parameter<S> make_projection(Index rows, Index cols, std::uint64_t seed,
                                      std::uint64_t stream) {
    Random random(seed, (std::uint64_t{1} << 41) + stream);
    Parameter<S> p(rows, cols);
    p.init_uniform(random, cols);
    return p;
  }

  void check_parts(std::string_view function) const {
    detail::check_routing_parts(function, router_, gate_, num_experts(), capacity_);
    detail::check_shape<const S>(function, "down", down_.value, latent_dim(), model_dim());
    detail::check_shape<const S>(function, "up", up_.value, model_dim(), latent_dim());
    detail::check_experts<S>(function, experts_, "the latent width", latent_dim());
  }

  /// What stands in dy for padding must not reach the gradient of `up`, not even as NaN times zero.
  static MatrixView<const S> without_padding(MatrixView<const S> dy, Tape& tape) {
    if (tape.batch.mask.empty()) return dy;
    const MatrixView<S> kept = tape.dy.resize(dy.rows(), dy.cols());
    detail::clear_rows(kept);
    for (Index t = 0; t < dy.rows(); ++t) {
      if (!tape.batch.is_padding(t)) std::copy_n(dy.row(t), dy.cols(), kept.row(t));
    }
    return kept;
  }

  static MatrixView<S> gradient_of(Parameter<S>& p) {
    if (!p.trainable) return {};
    p.ensure_grad();
    return p.grad;
  }

  void run_forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws, const Batch& batch,
                   bool keep) const {
    ws.layer_id = 0;  // a tape used as a plain workspace is a tape no more
    route<S>(router_, gate_, capacity_, x, batch, ws);
    const MatrixView<S> z = ws.z.resize(x.rows(), latent_dim());
    const MatrixView<S> u = ws.u.resize(x.rows(), latent_dim());
    linear_forward<S>(x, down_.value, nullptr, z, ws.linear, ws.executor);
    experts_forward<ExpertType, S>(experts_, ws.plan, ws.slot_weight.span(), weight_on(gate_), z, u,
                                   ws.experts, keep, ws.executor);
    linear_forward<S>(u, up_.value, nullptr, y, ws.linear, ws.executor);
  }

  RouterType router_;
  GateType gate_;
  Parameter<S> down_;  ///< A [L, D]
  Parameter<S> up_;    ///< B [D, L]
  std::vector<ExpertType> experts_;
  CapacityOptions capacity_;
  detail::LayerId id_;
};

MOE_NAMESPACE_END
