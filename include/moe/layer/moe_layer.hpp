// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The sparse Mixture-of-Experts layer: x [T, D] -> y [T, D].
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "moe/expert/ffn.hpp"
#include "moe/expert/group.hpp"
#include "moe/gate/top_k.hpp"
#include "moe/layer/identity.hpp"
#include "moe/layer/route.hpp"
#include "moe/loss/loss.hpp"
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
    GroupState<ExpertType, S> experts;
    detail::FilledBy layer_id;  ///< on a tape: the layer that filled it, 0 when empty
  };

  /// A workspace that also remembers what backward needs. Filled by forward, consumed by backward.
  struct Tape : Workspace {
    using Workspace::Workspace;

    /// Adds a balance loss to this step: returns its value, coefficient included, and adds its
    /// gradient to what backward will send into the router. Call between forward and backward.
    template <class L>
    S add_loss(const L& loss) {
      static_assert(
          BalanceLoss<L, S>,
          "moe::MoeLayer::Tape::add_loss: a loss is called as loss(LossInput, LossGradient&) "
          "and returns a number; see moe/loss/loss.hpp");
      if (this->layer_id == 0) {
        detail::fail("moe::MoeLayer::Tape::add_loss",
                     "the tape is empty, expected a forward before");
      }
      const Index e = this->routing.num_experts();
      NoiseRecord<S>* noise = nullptr;
      if constexpr (requires(typename RouterType::State & state) { state.noise; }) {
        noise = &this->router_state.noise;
      }
      LossGradient<S> gradient{{dlogits.data(), tokens, e},
                               {dscores.data(), tokens, e},
                               {dweight.data(), tokens, this->routing.top_k()}};
      const LossInput<S> input{
          {this->logits.data(), tokens, e}, this->routing, this->plan, batch, noise, &loss_scratch};
      return static_cast<S>(loss(input, gradient));
    }

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

  /// A new layer with random weights; the same seed gives the same layer. Throws
  /// std::invalid_argument on sizes below 1, K > E, or a bad capacity factor.
  explicit MoeLayer(const Config& config, std::uint64_t seed = 0)
      : MoeLayer{make_router(config, seed), make_gate(config), make_experts(config, seed),
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
    tape.layer_id = 0;
    tape.tokens = x.rows();
    tape.batch = batch;
    tape.batch.training = true;
    const MatrixView<S> kept = copy_without_padding(x, tape);
    run_forward(kept, y, tape, tape.batch, /*keep=*/true);
    std::copy(batch.mask.begin(), batch.mask.end(),
              tape.mask.resize(std::ssize(batch.mask)).begin());
    tape.batch.mask = tape.mask.span();
    tape.batch.token_ids = {};
    tape.batch.token_places = {};
    tape.batch.sequence_lengths = {};
    tape.dlogits.resize(x.rows() * num_experts());
    tape.dscores.resize(x.rows() * num_experts());
    tape.dlogits.fill(S(0));
    tape.dscores.fill(S(0));
    tape.dweight.resize(x.rows() * top_k());
    tape.dweight.fill(S(0));
    tape.layer_id = id_.value();
  }

  /// Gradients of one training forward and of the losses added to its tape: writes dx [T, D] and
  /// adds to the gradient of every trainable parameter. Consumes the tape. Throws
  /// std::invalid_argument when the tape is empty or another layer's, or a shape does not fit;
  /// nothing is then changed.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    check_backward(dy, dx, tape);
    tape.layer_id = 0;
    const Index t_count = tape.tokens, e = num_experts(), k = top_k();
    const MatrixView<const S> x(tape.x.data(), t_count, model_dim());
    for (Index t = 0; t < t_count; ++t) std::fill_n(dx.row(t), dx.cols(), S(0));

    tape.dslot_weight.reserve(t_count * k);
    tape.dslot_weight.resize(tape.plan.count());
    experts_backward<ExpertType, S>(experts_, tape.plan, tape.slot_weight.span(), weight_on(gate_),
                                    x, dy, dx, tape.dslot_weight.span(), tape.experts,
                                    tape.executor);

    const MatrixView<S> dweight(tape.dweight.data(), t_count, k);
    const MatrixView<S> dscores(tape.dscores.data(), t_count, e);
    scatter_slot_weights<S>(tape.routing, tape.plan, tape.dslot_weight.span(), dweight, dscores);
    const MatrixView<S> dlogits(tape.dlogits.data(), t_count, e);
    gate_.backward(std::as_const(tape.routing), MatrixView<const S>(dweight),
                   MatrixView<const S>(dscores), dlogits, tape.gate_state);
    router_.backward(x, MatrixView<const S>(dlogits), dx, tape.router_state, tape.executor);
  }

  /// f(name, Parameter<S>&) for "router.*", "gate.*" if the gate learns, and "experts.<e>.*", in
  /// this order.
  template <class F>
  void visit_parameters(F&& f) {
    std::string full;
    const auto visit = [&](const std::string& prefix, auto& part) {
      part.visit_parameters([&](std::string_view name, Parameter<S>& p) {
        full.assign(prefix).append(name);
        f(std::string_view(full), p);
      });
    };
    visit("router.", router_);
    if constexpr (HasParameters<GateType, S>) visit("gate.", gate_);
    for (std::size_t e = 0; e < experts_.size(); ++e) {
      visit("experts." + std::to_string(e) + ".", experts_[e]);
    }
  }

 private:
  static RouterType make_router(const Config& config, std::uint64_t seed) {
    Random random(seed, 0);
    return RouterType(config.dims(), config.router, random);
  }
  static GateType make_gate(const Config& config) { return GateType(config.dims(), config.gate); }
  static std::vector<ExpertType> make_experts(const Config& config, std::uint64_t seed) {
    std::vector<ExpertType> experts;
    for (Index e = 0; e < config.num_experts; ++e) {
      Random random(seed, static_cast<std::uint64_t>(e) + 1);
      experts.emplace_back(config.dims(), config.expert, random);
    }
    return experts;
  }

  void check_parts(std::string_view function) const {
    detail::check_routing_parts(function, router_, gate_, num_experts(), capacity_);
    if constexpr (GroupedExpert<ExpertType, S>) {
      const FfnShape first = experts_.front().shape();
      detail::check_size(function, "expert 0", first.model_dim, "columns", "the router's model_dim",
                         model_dim());
      for (std::size_t e = 0; e < experts_.size(); ++e) {
        const FfnShape shape = experts_[e].shape();
        if (shape.model_dim != first.model_dim || shape.hidden_dim != first.hidden_dim) {
          detail::fail(function, "expert ", e, " is [", shape.hidden_dim, ", ", shape.model_dim,
                       "], expected [", first.hidden_dim, ", ", first.model_dim, "] as expert 0");
        }
        experts_[e].check_shapes(function, first);
      }
    }
  }

  void check_backward(MatrixView<const S> dy, MatrixView<S> dx, const Tape& tape) const {
    constexpr auto* kWhere = "moe::MoeLayer::backward";
    if (tape.layer_id == 0) {
      detail::fail(kWhere, "the tape is empty, expected one training forward before each backward");
    }
    if (tape.layer_id != id_.value()) {
      detail::fail(kWhere, "the tape was filled by layer #", std::uint64_t{tape.layer_id},
                   ", expected one filled by this layer, #", id_.value());
    }
    check_parts(kWhere);
    detail::check_size(kWhere, "the tape", tape.routing.top_k(), "experts per token",
                       "the gate's top_k", top_k());
    detail::check_size(kWhere, "the tape", tape.routing.num_experts(), "experts",
                       "the number of experts", num_experts());
    detail::check_shape(kWhere, "dy", dy, tape.tokens, model_dim());
    detail::check_shape(kWhere, "dx", dx, tape.tokens, model_dim());
    detail::check_no_alias(kWhere, "dy", dy, "dx", dx);
  }

  static MatrixView<S> copy_without_padding(MatrixView<const S> x, Tape& tape) {
    const MatrixView<S> kept = tape.x.resize(x.rows(), x.cols());
    for (Index t = 0; t < x.rows(); ++t) {
      if (tape.batch.is_padding(t)) {
        std::fill_n(kept.row(t), x.cols(), S(0));
      } else {
        std::copy_n(x.row(t), x.cols(), kept.row(t));
      }
    }
    return kept;
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
