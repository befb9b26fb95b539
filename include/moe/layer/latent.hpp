// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A sparse layer whose experts work in a narrower space: x [T, D] -> z [T, L] -> u [T, L] -> y [T, D].
#pragma once

#include <utility>
#include <vector>

#include "moe/expert/ffn.hpp"
#include "moe/expert/group.hpp"
#include "moe/gate/top_k.hpp"
#include "moe/kernel/linear.hpp"
#include "moe/layer/routed_parts.hpp"
#include "moe/router/linear.hpp"

MOE_NAMESPACE_BEGIN

/// What goes through the narrower space in a forward.
template <class S>
struct LatentRows {
  Buffer<S> z, u;  ///< [T, L]
  LinearScratch<S> linear;
};

namespace detail {

/// The way of a token through a space `latent_dim` wide, experts and projections packed or not. `keep`:
/// a backward will follow.
template <class S, class RouterType, class GateType, class Projection, class Experts, class State>
void latent_forward(const RouterType& router, const GateType& gate, const CapacityOptions& capacity,
                    Index latent_dim, const Projection& down, const Projection& up,
                    const Experts& experts, MatrixView<const S> x, MatrixView<S> y, State& ws,
                    const Batch& batch, bool keep) {
  route<S>(router, gate, capacity, x, batch, ws);
  const MatrixView<S> z = ws.z.resize(x.rows(), latent_dim);
  const MatrixView<S> u = ws.u.resize(x.rows(), latent_dim);
  linear_forward<S>(x, down, nullptr, z, ws.linear, ws.executor);
  plan_forward<S>(experts, ws.plan, ws.slot_weight.span(), weight_on(gate), z, u, ws.experts, keep,
                  ws.executor);
  linear_forward<S>(u, up, nullptr, y, ws.linear, ws.executor);
}

}  // namespace detail

/// Latent MoE (arXiv 2601.18089; Megatron's moe_latent_size, Nemotron 3): z = x A^T, u = the experts'
/// weighted sum of z, y = u B^T, A [L, D], B [D, L]. The router sees x at its full width. What the
/// narrower experts save pays for more of them. A shared expert at full width: SharedLayer around it.
template <class S = float, class RouterType = LinearRouter<S>, class GateType = TopKGate,
          class ExpertType = GatedFfn<S>>
class LatentLayer : public RoutedParts<S, RouterType, GateType, ExpertType> {
  using Parts = RoutedParts<S, RouterType, GateType, ExpertType>;

 public:
  using Parts::model_dim, Parts::num_experts, Parts::top_k;

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
  struct Workspace : RoutedState<S, RouterType, GateType, ExpertType>, LatentRows<S> {
    using RoutedState<S, RouterType, GateType, ExpertType>::RoutedState;
    static constexpr const char* kLayer = "moe::LatentLayer";
    Buffer<S> dz, du;  ///< [T, L], of backward
    Buffer<S> dy;      ///< [T, D], of backward: a copy when there is padding, whose rows are zero
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
      : Parts(Workspace::kLayer, std::move(router), std::move(gate), std::move(experts),
              std::move(capacity)),
        down_(std::move(down)),
        up_(std::move(up)) {
    check_parts(Workspace::kLayer);
  }

  Index latent_dim() const { return down_.value.rows(); }
  Parameter<S>& down() { return down_; }
  const Parameter<S>& down() const { return down_; }
  Parameter<S>& up() { return up_; }
  const Parameter<S>& up() const { return up_; }

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

  /// See MoeLayer::check_backward.
  void check_backward(const Tape& tape) const {
    check_tape(kBackward, tape);
    check_parts(kBackward);
    check_unchanged(kBackward, tape);
    detail::check_size(kBackward, "the tape", tape.z.size(), "latent values", "those of the tokens",
                       tape.tokens * latent_dim());
  }

  /// As MoeLayer::backward, with the same exceptions.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    check_backward(tape);
    detail::check_backward_shapes<S>(kBackward, dy, dx, tape.tokens, model_dim());
    const Index t = tape.tokens, l = latent_dim();
    const std::span<S> dslot_weight = start_backward(tape, dx);
    const MatrixView<const S> z(tape.z.data(), t, l), u(tape.u.data(), t, l);
    const MatrixView<S> dz = tape.dz.resize(t, l), du = tape.du.resize(t, l);
    detail::clear_rows(dz);
    detail::clear_rows(du);

    linear_backward<S>(u, up_.value, without_padding(dy, tape), du, gradient_of(up_), nullptr,
                       tape.linear, tape.executor);
    experts_backward<ExpertType, S>(experts_, tape.plan, tape.slot_weight.span(), weight_on(gate_),
                                    z, du, dz, dslot_weight, tape.experts, tape.executor);
    linear_backward<S>(tape.kept_x(model_dim()), down_.value, dz, dx, gradient_of(down_), nullptr,
                       tape.linear, tape.executor);
    route_backward<S>(router_, gate_, tape, dx);
  }

  /// "router.*", "gate.*" if the gate learns, "down.weight", "up.weight", "experts.<e>.*".
  template <class F>
  void visit_parameters(F&& f) {
    visit_routing_parameters(f);
    f(std::string_view("down.weight"), down_);
    f(std::string_view("up.weight"), up_);
    detail::visit_parts<S>("experts.", experts_, f);
  }

 private:
  static constexpr auto* kBackward = "moe::LatentLayer::backward";
  using Parts::router_, Parts::gate_, Parts::experts_, Parts::capacity_, Parts::id_;
  using Parts::visit_routing_parameters, Parts::check_tape, Parts::check_unchanged,
      Parts::start_backward;

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
    tape.dy.reserve(dy.rows() * dy.cols());  // another time there may be padding
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
    detail::latent_forward<S>(router_, gate_, capacity_, latent_dim(), down_.value, up_.value,
                              experts_, x, y, ws, batch, keep);
  }

  Parameter<S> down_;  ///< A [L, D]
  Parameter<S> up_;    ///< B [D, L]
};

MOE_NAMESPACE_END
