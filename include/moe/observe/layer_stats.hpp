// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Statistics of a forward of any layer shape, from its workspace or tape.
#pragma once

#include "moe/observe/soft_stats.hpp"
#include "moe/observe/stats.hpp"

MOE_NAMESPACE_BEGIN

/// What a layer did: of a sparse or dense one `routing`; of a soft one `soft`; of a hierarchical one
/// `routing` about the choice of groups, and what each group did with its rows. The parts that do not
/// apply stay as they are.
struct LayerStats {
  RoutingStats routing;
  SoftStats soft;
  std::vector<LayerStats> groups;

  /// f(path, stats of a layer that is no hierarchy) from the first leaf to the last; `path` holds the
  /// index of the group on each level.
  template <class F>
  void for_leaves(F&& f) const {
    std::vector<Index> path;
    walk(path, f);
  }

 private:
  template <class F>
  void walk(std::vector<Index>& path, F& f) const {
    if (groups.empty()) return f(std::as_const(path), *this);
    for (std::size_t g = 0; g < groups.size(); ++g) {
      path.push_back(static_cast<Index>(g));
      groups[g].walk(path, f);
      path.pop_back();
    }
  }
};

namespace detail {

/// Whether the memory is of a layer with experts, or of one around such a layer, as Residual is.
template <class WorkspaceType>
constexpr bool has_stats() {
  if constexpr (requires(const WorkspaceType& ws) { ws.plan; }) {
    return true;
  } else if constexpr (requires(const WorkspaceType& ws) { ws.layer; }) {
    return has_stats<std::remove_cvref_t<decltype(std::declval<const WorkspaceType&>().layer)>>();
  } else {
    return false;
  }
}

template <class WorkspaceType>
void fill_stats(const WorkspaceType& ws, LayerStats& stats) {
  constexpr bool kHasPlan = requires { ws.plan; };
  if constexpr (!kHasPlan && has_stats<WorkspaceType>()) fill_stats(ws.layer, stats);
  if constexpr (requires { ws.routing; }) routing_stats(ws.routing, ws.plan, stats.routing);
  if constexpr (requires { ws.mix.weights; }) soft_stats(ws.mix, ws.plan.num_experts(), stats.soft);
  if constexpr (requires { ws.group(0); }) {
    stats.groups.resize(static_cast<std::size_t>(ws.num_groups()));
    for (Index g = 0; g < ws.num_groups(); ++g) {
      fill_stats(ws.group(g), stats.groups[static_cast<std::size_t>(g)]);
    }
  }
}

}  // namespace detail

/// layer_stats(ws, stats) after a forward on the workspace or tape `ws`, of a layer or of a Residual
/// around one. Reuses the memory of `stats`.
template <class WorkspaceType>
void layer_stats(const WorkspaceType& ws, LayerStats& stats) {
  static_assert(detail::has_stats<WorkspaceType>(),
                "moe::layer_stats: this workspace is of no layer with experts; ask about the "
                "layers inside, such as ws.ffn of a block and ws.sparse[i].ffn of a stack");
  detail::fill_stats(ws, stats);
}

MOE_NAMESPACE_END
