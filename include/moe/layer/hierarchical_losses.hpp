// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Balance over the experts of all groups at once: products of what both levels of a hierarchical layer
// decide. Shazeer et al. 2017 (arXiv 1701.06538), appendix B.
#pragma once

#include "moe/loss/cv_squared.hpp"
#include "moe/loss/load.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// Experts of all groups before group g; of all, with g their number.
template <class TapeType>
Index leaves_before(TapeType& tape, Index g) {
  static_assert(
      requires { tape.group(g).loss_gradient(); },
      "moe: a loss over both levels needs groups that have a router, such as MoeLayer");
  Index count = 0;
  for (Index i = 0; i < g; ++i) count += tape.group(i).routing.num_experts();
  return count;
}

/// f(i, outer weight, inner weight, the gradients of both) for every leaf i of every token that
/// reached its group.
template <class TapeType, class F>
void for_leaf_weights(TapeType& tape, F&& f) {
  auto outer = tape.loss_gradient();
  const Index k = tape.routing.top_k();
  for (Index g = 0, leaves = 0; g < tape.num_groups(); ++g) {
    auto& group = tape.group(g);
    auto inner = group.loss_gradient();
    for (Index r = 0; r < group.routing.tokens(); ++r) {
      const Index slot = tape.plan.offset[static_cast<std::size_t>(g)] + r;
      const Index a = tape.plan.origin[static_cast<std::size_t>(slot)];
      for (Index j = 0; j < group.routing.top_k(); ++j) {
        const std::int32_t e = group.routing.expert(r, j);
        if (e == kNoExpert) continue;
        f(static_cast<std::size_t>(leaves + e), tape.routing.weight(a / k, a % k),
          group.routing.weight(r, j), outer.dweight(a / k, a % k), inner.dweight(r, j));
      }
    }
    leaves += group.routing.num_experts();
  }
}

}  // namespace detail

/// coefficient * CV^2 over all experts (g, e) of
///   importance_ge = sum over tokens of the weight of group g * the weight of expert e inside it
/// A token counts where it was computed: in groups that had room for it. Balanced value: 0. For groups
/// that are routed layers; tape.add_loss(HierarchicalImportanceLoss{}).
struct HierarchicalImportanceLoss {
  double coefficient = 0.1;
  CvSquared cv = {};

  template <class TapeType>
  double on_levels(TapeType& tape) const {
    const auto in = tape.loss_input();
    if (tape.plan.count() == 0) return 0;
    const std::span<double> importance = in.zeros(detail::leaves_before(tape, tape.num_groups()));
    detail::for_leaf_weights(tape, [&](std::size_t i, auto outer, auto inner, auto&, auto&) {
      importance[i] += static_cast<double>(outer) * static_cast<double>(inner);
    });
    const double value = cv(importance, coefficient);  // importance is now its gradient
    detail::for_leaf_weights(
        tape, [&](std::size_t i, auto outer, auto inner, auto& douter, auto& dinner) {
          using S = decltype(outer);
          douter += static_cast<S>(importance[i] * static_cast<double>(inner));
          dinner += static_cast<S>(importance[i] * static_cast<double>(outer));
        });
    return value;
  }
};

/// coefficient * CV^2 over all experts (g, e) of
///   load_ge = load_g * load_e inside g / tokens of g
/// with the smooth loads of LoadLoss on both levels: the load inside alone would teach the outer
/// router nothing. The tokens of a group are a count, without gradient. Where one level has no noise
/// its loads are counts, and the other's gradient is what remains. Balanced value: 0. For groups that
/// are routed layers; tape.add_loss(HierarchicalLoadLoss{}).
struct HierarchicalLoadLoss {
  double coefficient = 0.1;
  LoadLoss::Estimate estimate = LoadLoss::Estimate::exclude_own;
  CvSquared cv = {};

  template <class TapeType>
  double on_levels(TapeType& tape) const {
    if (tape.plan.count() == 0) return 0;
    const LoadLoss loads{.estimate = estimate};
    const Index groups = tape.num_groups(), leaves = detail::leaves_before(tape, groups);
    Index most = groups;
    for (Index g = 0; g < groups; ++g) most = std::max(most, tape.group(g).routing.num_experts());
    const auto in = tape.loss_input();
    std::span<double> left = in.zeros(2 * leaves + 2 * groups + most);
    const auto take = [&](Index count) {
      const std::span<double> taken = left.first(static_cast<std::size_t>(count));
      left = left.subspan(taken.size());
      return taken;
    };
    const std::span<double> inside = take(leaves), product = take(leaves);
    const std::span<double> outer = take(groups), douter = take(groups), scratch = take(most);

    loads.add_loads(in, outer, scratch);
    for_groups(tape, [&](Index, auto& group, auto&& leaves_of) {
      loads.add_loads(group.loss_input(), leaves_of(inside), scratch);
    });
    for_leaves(tape, [&](std::size_t g, std::size_t i, double tokens) {
      product[i] = outer[g] * inside[i] / tokens;
    });
    const double value = cv(product, coefficient);  // product is now its gradient
    for_leaves(tape, [&](std::size_t g, std::size_t i, double tokens) {
      douter[g] += product[i] * inside[i] / tokens;
      product[i] *= outer[g] / tokens;  // now the gradient of the load inside
    });
    auto gradient = tape.loss_gradient();
    loads.add_gradient(in, douter, scratch, gradient);
    for_groups(tape, [&](Index, auto& group, auto&& leaves_of) {
      auto inner = group.loss_gradient();
      loads.add_gradient(group.loss_input(), leaves_of(product), scratch, inner);
    });
    return value;
  }

 private:
  /// f(g, tape of the group, the part of a span over all leaves that is the group's).
  template <class TapeType, class F>
  static void for_groups(TapeType& tape, F&& f) {
    std::size_t begin = 0;
    for (Index g = 0; g < tape.num_groups(); ++g) {
      const auto count = static_cast<std::size_t>(tape.group(g).routing.num_experts());
      f(g, tape.group(g), [&](std::span<double> all) { return all.subspan(begin, count); });
      begin += count;
    }
  }

  /// f(group, leaf, tokens of the group).
  template <class TapeType, class F>
  static void for_leaves(TapeType& tape, F&& f) {
    for (Index g = 0, i = 0; g < tape.num_groups(); ++g) {
      const auto tokens = static_cast<double>(std::max<Index>(1, tape.plan.load(g)));
      for (Index e = 0; e < tape.group(g).routing.num_experts(); ++e, ++i) {
        f(static_cast<std::size_t>(g), static_cast<std::size_t>(i), tokens);
      }
    }
  }
};

MOE_NAMESPACE_END
