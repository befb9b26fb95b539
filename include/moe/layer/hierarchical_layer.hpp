// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The hierarchical layer: a gate chooses groups, each group is a layer; x [T, D] -> y [T, D].
#pragma once

#include <utility>
#include <vector>

#include "moe/core/state.hpp"
#include "moe/layer/group_batches.hpp"
#include "moe/layer/layer_expert.hpp"
#include "moe/layer/moe_layer.hpp"
#include "moe/layer/parts.hpp"

MOE_NAMESPACE_BEGIN

/// y = sum over a token's groups of weight * group(x) (Jordan & Jacobs 1994; with sparse gates on
/// both levels Shazeer et al. 2017, arXiv 1701.06538, appendix B). A group is any layer, so any depth
/// by composition: HierarchicalLayer<S, HierarchicalLayer<S>>. Each level has its own router, gate,
/// capacity and losses. A group's rows are gathered once and go through its layer together, so the
/// router of a group scores only the tokens that were sent there. Where a token stands among a
/// group's rows decides nothing: random choices follow the token's place in the whole batch.
template <class S = float, class GroupType = MoeLayer<S>, class RouterType = LinearRouter<S>,
          class GateType = TopKGate>
class HierarchicalLayer {
  static_assert(require_layer<GroupType, S>());
  static_assert(
      Router<RouterType, S>,
      "moe::HierarchicalLayer: the router needs State, model_dim(), num_experts(), forward(x, "
      "logits, batch, state, executor) const, backward(x, dlogits, dx, state, executor) and "
      "visit_parameters(f); see moe/router/router.hpp");
  static_assert(
      Gate<GateType, S>,
      "moe::HierarchicalLayer: the gate needs State, top_k(), forward(logits, routing, batch, "
      "state) const and backward(routing, dweight, dscores, dlogits, state); see "
      "moe/gate/routing.hpp");
  using Inner = LayerExpert<S, GroupType>;

 public:
  using Scalar = S;
  using Group = GroupType;

  struct Config {
    Index model_dim = 0;   ///< D
    Index num_groups = 0;  ///< G
    Index top_k = 0;       ///< groups per token
    detail::options_of<RouterType> router{};
    detail::options_of<GateType> gate{};
    CapacityOptions capacity{};          ///< of the groups
    typename GroupType::Config group{};  ///< of every group; its model_dim may be left 0

    Dims dims() const { return {model_dim, 1, num_groups, top_k}; }
  };

  /// Every intermediate of a forward. `routing` and `plan` are those of the groups. Nothing is
  /// allocated while no group has more rows than it ever had. One workspace serves one call at a time.
  struct Workspace : RouteState<S, RouterType, GateType> {
    using RouteState<S, RouterType, GateType>::RouteState;
    static constexpr const char* kLayer = "moe::HierarchicalLayer";

    Index num_groups() const { return std::ssize(experts.runs.states); }
    /// What group g did in the last forward on this workspace, 0 rows included.
    typename GroupType::Workspace& group(Index g) { return state(g).workspace; }
    const typename GroupType::Workspace& group(Index g) const { return state(g).workspace; }
    typename Inner::State& state(Index g) {
      return experts.runs.states.at(static_cast<std::size_t>(g));
    }
    const typename Inner::State& state(Index g) const {
      return experts.runs.states.at(static_cast<std::size_t>(g));
    }

    GroupState<Inner, S> experts;
    GroupBatches batches;
    detail::FilledBy layer_id;  ///< on a tape: the layer that filled it, 0 when empty
  };

  /// A workspace that also remembers what backward needs. add_loss is about the choice of groups, or
  /// about both levels at once (see hierarchical_losses.hpp); tape.group(g).add_loss about the choices
  /// inside group g.
  struct Tape : RoutedTape<S, Workspace> {
    using Base = RoutedTape<S, Workspace>;
    using Base::Base;

    typename GroupType::Tape& group(Index g) { return this->state(g).tape; }
    const typename GroupType::Tape& group(Index g) const { return this->state(g).tape; }

    template <class L>
    S add_loss(const L& loss) {
      if constexpr (requires { loss.on_levels(*this); }) {
        check_filled("add_loss");
        return static_cast<S>(loss.on_levels(*this));
      } else {
        return Base::add_loss(loss);
      }
    }

    /// The same loss in every group, over the group's rows; returns the sum.
    template <class L>
    S add_group_losses(const L& loss) {
      static_assert(
          RoutedLayer<GroupType, S>,
          "moe::HierarchicalLayer: add_group_losses needs groups that have a router, such "
          "as MoeLayer");
      check_filled("add_group_losses");
      S sum = 0;
      for (Index g = 0; g < this->num_groups(); ++g) sum += group(g).add_loss(loss);
      return sum;
    }

   private:
    void check_filled(const char* function) const {
      if (this->layer_id == 0) {
        detail::fail(std::string("moe::HierarchicalLayer::Tape::") + function,
                     "the tape is empty, expected a forward before");
      }
    }
  };

  /// A new layer with random weights; the same seed gives the same layer. Throws
  /// std::invalid_argument on sizes below 1, more groups per token than groups, or what the group's
  /// constructor refuses.
  explicit HierarchicalLayer(const Config& config, std::uint64_t seed = 0)
      : HierarchicalLayer{detail::make_router<RouterType>(config.dims(), config.router, seed),
                          GateType(config.dims(), config.gate), make_groups(config, seed),
                          config.capacity} {}

  /// A layer from its parts. Throws std::invalid_argument when they do not fit one another.
  HierarchicalLayer(RouterType router, GateType gate, std::vector<GroupType> groups,
                    CapacityOptions capacity = {})
      : router_(std::move(router)), gate_(std::move(gate)), capacity_(std::move(capacity)) {
    groups_.reserve(groups.size());
    for (GroupType& group : groups) groups_.emplace_back(std::move(group));
    check_parts("moe::HierarchicalLayer");
  }

  Index model_dim() const { return router_.model_dim(); }
  Index num_groups() const { return std::ssize(groups_); }
  Index top_k() const { return gate_.top_k(); }  ///< groups per token

  RouterType& router() { return router_; }
  const RouterType& router() const { return router_; }
  GateType& gate() { return gate_; }
  const GateType& gate() const { return gate_; }
  /// Throws std::invalid_argument unless 0 <= g < G.
  GroupType& group(Index g) { return groups_[checked(g)].layer; }
  const GroupType& group(Index g) const { return groups_[checked(g)].layer; }
  const CapacityOptions& capacity() const { return capacity_; }

  /// Writes y [T, D]; zero for padding and for tokens whose every group was full. x, y: row-major,
  /// separate. T = 0 is fine. Throws std::invalid_argument on shapes that do not fit, a mask that is
  /// not [T] long, or x and y sharing memory; y is then untouched. What a group refuses, such as a
  /// hash router without token ids, it refuses in its own words, y half written.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& workspace,
               const Batch& batch = {}) const {
    check_call(x, y, batch);
    run_forward(x, y, workspace, batch, /*keep=*/false);
  }

  /// The same, remembering on `tape` what backward needs.
  void forward(MatrixView<const S> x, MatrixView<S> y, Tape& tape, const Batch& batch = {}) const {
    check_call(x, y, batch);
    run_forward(tape.start(x, batch), y, tape, tape.batch, /*keep=*/true);
    tape.finish(id_.value());
  }

  /// See MoeLayer::check_backward. Asks every group, those without rows too.
  void check_backward(const Tape& tape) const {
    detail::check_tape<S>(kBackward, tape, id_.value(), num_groups(), top_k(), model_dim());
    check_parts(kBackward);
    check_group(kBackward, groups_, tape.experts);
    detail::check_same_router(kBackward, router_, tape.router_state);
    for (Index g = 0; g < num_groups(); ++g) {
      groups_[static_cast<std::size_t>(g)].check_backward(tape.state(g));
    }
  }

  /// Gradients of one training forward and of the losses added to its tape, on every level; see
  /// MoeLayer::backward.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    check_backward(tape);
    detail::check_backward_shapes<S>(kBackward, dy, dx, tape.tokens, model_dim());
    tape.layer_id = 0;
    detail::clear_rows(dx);
    tape.dslot_weight.reserve(tape.tokens * top_k());
    tape.dslot_weight.resize(tape.plan.count());
    experts_backward<Inner, S>(groups_, tape.plan, tape.slot_weight.span(), weight_on(gate_),
                               tape.kept_x(model_dim()), dy, dx, tape.dslot_weight.span(),
                               tape.experts, tape.executor);
    for_idle_groups(tape, [&](Inner& group, typename Inner::State& state) {
      group.backward(no_rows<const S>(), no_rows<const S>(), no_rows<S>(), state);
    });
    route_backward<S>(router_, gate_, tape, dx);
  }

  /// f(name, Parameter<S>&) for "router.*", "gate.*" if the gate learns, and "groups.<g>.*", in this
  /// order.
  template <class F>
  void visit_parameters(F&& f) {
    detail::visit_part<S>("router.", router_, f);
    detail::visit_part<S>("gate.", gate_, f);
    detail::visit_parts<S>("groups.", groups_, f);
  }

  /// The same names for what else there is to save: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    detail::visit_part_state("router.", router_, f);
    detail::visit_part_state("gate.", gate_, f);
    detail::visit_parts_state("groups.", groups_, f);
  }

 private:
  static constexpr auto* kBackward = "moe::HierarchicalLayer::backward";

  std::size_t checked(Index g) const {
    return detail::checked_index("moe::HierarchicalLayer", "group", g, num_groups());
  }

  static std::vector<GroupType> make_groups(const Config& config, std::uint64_t seed) {
    typename GroupType::Config inner = config.group;
    if (inner.model_dim == 0) inner.model_dim = config.model_dim;
    std::vector<GroupType> groups;
    for (Index g = 0; g < config.num_groups; ++g) groups.emplace_back(inner, group_seed(seed, g));
    return groups;
  }

  void check_parts(std::string_view function) const {
    detail::check_routing_parts(function, router_, gate_, num_groups(), capacity_);
    detail::check_experts<S>(function, groups_, "the router's model_dim", model_dim());
  }

  void check_call(MatrixView<const S> x, MatrixView<S> y, const Batch& batch) const {
    check_parts("moe::HierarchicalLayer::forward");
    detail::check_forward<S>("moe::HierarchicalLayer::forward", model_dim(), x, y, batch);
  }

  template <class T>
  MatrixView<T> no_rows() const {
    return {nullptr, 0, model_dim()};
  }

  /// Groups without a row take part all the same, so that their tapes take losses and their
  /// workspaces say what happened.
  template <class Self, class F>
  static void for_idle(Self& self, Workspace& ws, F&& f) {
    for (Index g = 0; g < self.num_groups(); ++g) {
      if (ws.plan.load(g) == 0) f(self.groups_[static_cast<std::size_t>(g)], ws.state(g));
    }
  }
  template <class F>
  void for_idle_groups(Workspace& ws, F&& f) {
    for_idle(*this, ws, f);
  }

  void run_forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws, const Batch& batch,
                   bool keep) const {
    ws.layer_id = 0;  // a tape used as a plain workspace is a tape no more
    route<S>(router_, gate_, capacity_, x, batch, ws);
    ws.batches.gather(batch, ws.plan);
    ws.experts.runs.states.resize(groups_.size());
    for (Index g = 0; g < num_groups(); ++g) {
      ws.state(g).batch = ws.batches.of(ws.plan, g);
      ws.state(g).keep = keep;
    }
    experts_forward<Inner, S>(groups_, ws.plan, ws.slot_weight.span(), weight_on(gate_), x, y,
                              ws.experts, keep, ws.executor);
    for_idle(*this, ws, [&](const Inner& group, typename Inner::State& state) {
      group.forward(no_rows<const S>(), no_rows<S>(), state);
    });
  }

  RouterType router_;
  GateType gate_;
  std::vector<Inner> groups_;
  CapacityOptions capacity_;
  detail::LayerId id_;
};

MOE_NAMESPACE_END
