// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What packed layers have in common: router, gate, capacity, and experts whose weights are packed.
#pragma once

#include <utility>
#include <vector>

#include "moe/expert/packed_runs.hpp"
#include "moe/layer/parts.hpp"
#include "moe/layer/route.hpp"
#include "moe/router/packed_linear.hpp"

MOE_NAMESPACE_BEGIN

/// The memory of a forward that all of them need.
template <class S, class RouterType, class GateType, class PackedExperts>
struct PackedState : RouteState<S, RouterType, GateType> {
  using RouteState<S, RouterType, GateType>::RouteState;
  GroupState<PackedExperts, S> experts;
};

/// The parts of PackedLayer and of the packed forms of other layers. Nothing in it changes.
template <class S, class RouterType, class GateType, class PackedExperts>
class PackedParts {
 public:
  using Scalar = S;

  Index model_dim() const { return router_.model_dim(); }
  Index num_experts() const { return router_.num_experts(); }
  Index top_k() const { return gate_.top_k(); }
  const RouterType& router() const { return router_; }
  const GateType& gate() const { return gate_; }

  /// Bytes of the packed expert weights.
  std::size_t bytes() const { return experts_.bytes(); }

 protected:
  PackedParts(RouterType router, GateType gate, PackedExperts experts, CapacityOptions capacity)
      : router_(std::move(router)),
        gate_(std::move(gate)),
        experts_(std::move(experts)),
        capacity_(std::move(capacity)) {}

  /// Throws std::invalid_argument unless the parts fit one another; `owner` is what says how wide the
  /// experts are.
  void check_parts(std::string_view function, std::string_view owner, Index width) const {
    detail::check_routing_parts(function, router_, gate_, experts_.num_experts(), capacity_);
    if constexpr (requires { experts_.shape(); }) {
      detail::check_size(function, "the experts' input", experts_.shape().model_dim, "columns",
                         owner, width);
    }
  }

  RouterType router_;
  GateType gate_;
  PackedExperts experts_;
  CapacityOptions capacity_;
};

namespace detail {

/// FFNs in one block, experts of several kinds run by run.
template <class X, class S>
using packed_experts = std::conditional_t<GroupedExpert<X, S>, PackedFfn<S>, PackedRuns<X, S>>;

/// The experts of a layer, packed, adapters merged. Throws std::invalid_argument unless they are what
/// the layer's forward takes: `width` wide, as `owner` says.
template <class S, class X>
packed_experts<X, S> pack_experts(const std::vector<X>& experts, std::string_view owner,
                                  Index width, WeightType type, ExecutorRef executor) {
  check_positive("moe::pack", "the number of experts", std::ssize(experts));
  check_experts<S>("moe::pack", experts, owner, width);
  if constexpr (GroupedExpert<X, S>) {
    PackedFfn<S> packed(experts.front().shape(), std::ssize(experts), type);
    for (Index e = 0; e < std::ssize(experts); ++e) {
      pack_ffn(experts[static_cast<std::size_t>(e)], e, packed, executor);
    }
    return packed;
  } else {
    std::vector<const X*> list;
    for (const X& expert : experts) list.push_back(&expert);
    return PackedRuns<X, S>(list, type, executor);
  }
}

}  // namespace detail
MOE_NAMESPACE_END
