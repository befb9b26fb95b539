// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What layers with a router have in common: router, gate, experts and capacity, reached, checked and
// visited in one way.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "moe/core/state.hpp"
#include "moe/gate/routing.hpp"
#include "moe/layer/parts.hpp"
#include "moe/layer/routed_tape.hpp"
#include "moe/router/router.hpp"

MOE_NAMESPACE_BEGIN

/// The memory of a forward that all of them need.
template <class S, class RouterType, class GateType, class ExpertType>
struct RoutedState : RouteState<S, RouterType, GateType> {
  using RouteState<S, RouterType, GateType>::RouteState;
  GroupState<ExpertType, S> experts;
  detail::FilledBy layer_id;  ///< on a tape: the layer that filled it, 0 when empty
};

/// The parts of MoeLayer, DenseLayer, LatentLayer and ConcatLayer; how a token goes through them is
/// the layer's business. All parts can be replaced, so every call checks that they still fit.
template <class S, class RouterType, class GateType, class ExpertType>
class RoutedParts {
  static_assert(
      Router<RouterType, S>,
      "moe: the router needs State, model_dim(), num_experts(), forward(x, logits, batch, state, "
      "executor) const, backward(x, dlogits, dx, state, executor) and visit_parameters(f); see "
      "moe/router/router.hpp");
  static_assert(
      Gate<GateType, S>,
      "moe: the gate needs State, top_k(), forward(logits, routing, batch, state) const and "
      "backward(routing, dweight, dscores, dlogits, state); see moe/gate/routing.hpp");
  static_assert(
      Expert<ExpertType, S>,
      "moe: the expert needs State, forward(in, out, state) const, backward(in, dout, din, state) "
      "and visit_parameters(f); see moe/expert/expert.hpp");

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

  Index model_dim() const { return router_.model_dim(); }
  Index num_experts() const { return static_cast<Index>(experts_.size()); }
  Index top_k() const { return gate_.top_k(); }

  RouterType& router() { return router_; }
  const RouterType& router() const { return router_; }
  GateType& gate() { return gate_; }
  const GateType& gate() const { return gate_; }
  /// Throws std::invalid_argument unless 0 <= e < E.
  ExpertType& expert(Index e) { return experts_[checked(e)]; }
  const ExpertType& expert(Index e) const { return experts_[checked(e)]; }
  /// For experts that come and go: see moe/train/grow.hpp. Who changes them calls forget_tapes.
  std::vector<ExpertType>& experts() { return experts_; }
  const std::vector<ExpertType>& experts() const { return experts_; }
  const CapacityOptions& capacity() const { return capacity_; }

  /// Throws std::invalid_argument unless the factor is absent or finite and positive.
  void set_capacity(CapacityOptions capacity) {
    check_capacity(std::string(name_) + "::set_capacity", capacity);
    capacity_ = std::move(capacity);
  }

  /// No backward takes a tape that was filled before, as if it were another layer's: its plan names
  /// experts that may be others by now.
  void forget_tapes() { id_ = detail::LayerId(); }

  /// f(name, Parameter<S>&) for "router.*", "gate.*" if the gate learns, and "experts.<e>.*", in
  /// this order.
  template <class F>
  void visit_parameters(F&& f) {
    visit_routing_parameters(f);
    detail::visit_parts<S>("experts.", experts_, f);
  }

  /// The same names for what else there is to save: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    detail::visit_part_state("router.", router_, f);
    detail::visit_part_state("gate.", gate_, f);
    detail::visit_parts_state("experts.", experts_, f);
  }

 protected:
  /// `name`: the layer's, for messages; text that lives on.
  RoutedParts(const char* name, RouterType router, GateType gate, std::vector<ExpertType> experts,
              CapacityOptions capacity = {})
      : router_(std::move(router)),
        gate_(std::move(gate)),
        experts_(std::move(experts)),
        capacity_(std::move(capacity)),
        name_(name) {}

  template <class F>
  void visit_routing_parameters(F& f) {
    detail::visit_part<S>("router.", router_, f);
    detail::visit_part<S>("gate.", gate_, f);
  }

  void check_parts(std::string_view function) const {
    detail::check_routing_parts(function, router_, gate_, num_experts(), capacity_);
    detail::check_experts<S>(function, experts_, "the router's model_dim", model_dim());
  }

  /// What backward asks first: did this layer, as wide and with as many experts, fill the tape?
  template <class Tape>
  void check_tape(std::string_view function, const Tape& tape) const {
    detail::check_tape<S>(function, tape, id_.value(), num_experts(), top_k(), model_dim());
  }

  /// And after the parts: are experts and router those of the forward?
  template <class Tape>
  void check_unchanged(std::string_view function, const Tape& tape) const {
    check_group(function, experts_, tape.experts);
    check_experts_backward<ExpertType, S>(function, experts_, tape.plan.offset, tape.experts);
    detail::check_same_router(function, router_, tape.router_state);
  }

  /// From here on the tape is consumed, dx is zero, and the gradients of the slots' weights have their
  /// memory [N].
  template <class Tape>
  std::span<S> start_backward(Tape& tape, MatrixView<S> dx) const {
    tape.layer_id = 0;
    detail::clear_rows(dx);
    tape.dslot_weight.reserve(tape.tokens * top_k());
    return tape.dslot_weight.resize(tape.plan.count());
  }

  RouterType router_;
  GateType gate_;
  std::vector<ExpertType> experts_;
  CapacityOptions capacity_;
  detail::LayerId id_;

 private:
  std::size_t checked(Index e) const {
    return detail::checked_index(name_, "expert", e, num_experts());
  }

  const char* name_;
};

MOE_NAMESPACE_END
