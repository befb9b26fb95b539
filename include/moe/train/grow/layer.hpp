// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The steps of adding an expert, in an order in which nothing is half-changed on a throw.
#pragma once

#include <algorithm>
#include <numbers>
#include <utility>
#include <vector>

#include "moe/train/grow/experts.hpp"
#include "moe/train/grow/parts.hpp"

MOE_NAMESPACE_BEGIN

/// How the router first scores a new expert.
enum class RouterRow : std::uint8_t {
  copied,  ///< as the experts it is made of, their mean row; not for fresh ones
  fresh,   ///< a random row as long as the others, mean bias
  /// No row and a bias of kClosedLogit: never chosen while K others can be. Needs a LinearRouter
  /// (which gets a bias), wrapped or not. To open it: give it a row, set its bias to 0.
  closed,
  /// Copied from one expert, both logits lowered by ln 2, so that under a softmax over all experts
  /// the two share its weight. Needs a LinearRouter.
  split,
};

/// An expert to be added. Its weights: `from` none: drawn anew (FFN experts), one: a copy, several:
/// their mean.
struct NewExpert {
  std::vector<Index> from = {};
  RouterRow row = RouterRow::copied;  ///< with no `from`: fresh instead of copied
  double noise = 0;                   ///< on copied weights, of their standard deviation
  std::uint64_t seed = 0;             ///< of what is drawn
};

namespace detail {

template <class Layer>
using router_of = std::remove_cvref_t<decltype(std::declval<Layer&>().router())>;
template <class Layer>
using gate_of = std::remove_cvref_t<decltype(std::declval<Layer&>().gate())>;
template <class Layer>
using expert_of = std::remove_cvref_t<decltype(std::declval<Layer&>().expert(0))>;

/// Dense layers have none.
template <class Layer>
CapacityOptions capacity_of(const Layer& layer) {
  if constexpr (requires { layer.capacity(); }) {
    return layer.capacity();
  } else {
    return {};
  }
}

/// All of a layer that depends on how many experts there are, computed before anything is moved.
template <class Layer>
struct GrownParts {
  using S = typename Layer::Scalar;
  using R = router_of<Layer>;
  using G = gate_of<Layer>;
  static_assert(HasExpertAxes<R>,
                "moe: experts cannot be added, removed or merged under this router: it does not "
                "say which of its parameters belong to one expert (static ExpertAxis "
                "expert_axis(name); see moe/core/expert_axis.hpp). A hash table has no place for "
                "a new expert: make another table");
  R router;
  G gate;
  CapacityOptions capacity;

  GrownParts(std::string_view function, const Layer& layer, ExpertChange& change)
      : GrownParts(function, layer, change, change) {}
  /// With `rows`: where the router's rows come from, when that is not where experts do.
  GrownParts(std::string_view function, const Layer& layer, ExpertChange& change, ExpertChange rows)
      : router(checked(function, layer, change)),
        gate(gate_after<S>(layer.gate(), change)),
        capacity(capacity_after(function, capacity_of(layer), change)) {
    rearrange_parameters<S>(router, "router.", rows);
    change.axes.insert(rows.axes.begin(), rows.axes.end());
  }

  /// Then the experts change. Only the first line can throw, for want of memory and changing nothing.
  void move_into(Layer& layer) {
    if constexpr (requires { layer.capacity(); }) layer.set_capacity(std::move(capacity));
    layer.router() = std::move(router);
    layer.gate() = std::move(gate);
    if constexpr (requires { layer.forget_tapes(); }) layer.forget_tapes();
  }

 private:
  static const R& checked(std::string_view function, const Layer& layer,
                          const ExpertChange& change) {
    check_positive(function, "the number of experts left", change.after());
    if constexpr (requires(const R& r) { r.check_growth(function); }) {
      layer.router().check_growth(function);
    }
    return layer.router();
  }
};

inline void check_expert_index(std::string_view function, Index e, Index experts) {
  if (e < 0 || e >= experts) {
    fail(function, "expert ", e, " is named, expected 0 to ", experts - 1);
  }
}

template <class Layer>
std::vector<double> equal_shares(std::string_view function, const Layer& layer,
                                 const std::vector<Index>& experts) {
  for (std::size_t i = 0; i < experts.size(); ++i) {
    check_expert_index(function, experts[i], layer.num_experts());
    if (std::find(experts.begin(), experts.begin() + static_cast<Index>(i), experts[i]) !=
        experts.begin() + static_cast<Index>(i)) {
      fail(function, "expert ", experts[i], " is named twice, expected distinct experts");
    }
  }
  return std::vector<double>(experts.size(), 1.0 / static_cast<double>(experts.size()));
}

/// Adds to an expert's logit for every token. Throws unless the router can.
template <class R>
void shift_logit(std::string_view function, R& router, Index e, double by) {
  if constexpr (requires { router.shift_logit(e, by); }) {
    router.shift_logit(e, by);
  } else {
    fail(function, "this router has no bias to close an expert or to split its weight with, ",
         "expected RouterRow::copied or fresh, and no join_weight");
  }
}

/// A score of 0 loses against all others when the selection bias is no larger than theirs.
template <class G>
void lower_selection_bias(G& gate) {
  if constexpr (requires { gate.set_selection_bias(std::vector<float>()); }) {
    const auto now = std::as_const(gate).selection_bias();
    std::vector<float> bias(now.begin(), now.end());
    if (bias.empty()) return;
    bias.back() = *std::min_element(bias.begin(), bias.end());
    gate.set_selection_bias(std::move(bias));
  }
}

template <class Layer>
std::vector<expert_of<Layer>*> pointers_to(Layer& layer, const std::vector<Index>& experts) {
  std::vector<detail::expert_of<Layer>*> list;
  for (const Index e : experts) list.push_back(&layer.expert(e));
  return list;
}

template <class Layer>
detail::expert_of<Layer> new_expert(Layer& layer, const NewExpert& how,
                                    std::span<const double> shares, Random& random) {
  using S = typename Layer::Scalar;
  using X = detail::expert_of<Layer>;
  constexpr auto* kWhere = "moe::add_expert";
  if (how.from.empty()) {
    X expert = layer.expert(0);
    if constexpr (requires { draw_anew(expert, random); }) {
      draw_anew(expert, random);
    } else {
      fail(kWhere, "experts of this type cannot be drawn anew, expected NewExpert::from, or the ",
           "expert itself: add_expert(layer, expert)");
    }
    start_training<S>(expert);
    return expert;
  }
  const auto sources = pointers_to(layer, how.from);
  X expert = mean_expert<S, X>(kWhere, sources, shares);
  add_noise<S>(expert, how.noise, random);
  return expert;
}

template <class Layer>
ExpertChange add_made_expert(Layer& layer, detail::expert_of<Layer> expert, const NewExpert& how,
                             std::vector<double> shares, Random& random) {
  constexpr auto* kWhere = "moe::add_expert";
  const Index added = layer.num_experts();
  const bool drawn_row = how.row == RouterRow::fresh || how.row == RouterRow::closed;
  if (how.row == RouterRow::split && how.from.size() != 1) {
    fail(kWhere, "from names ", how.from.size(), " experts, expected one to split");
  }
  ExpertChange change(added);
  change.origin.push_back({how.from, std::move(shares), true});
  ExpertChange rows = change;
  if (drawn_row) rows.origin.back() = {{}, {}, true};
  GrownParts<Layer> parts(kWhere, layer, change, rows);
  if (how.row != RouterRow::closed) {
    draw_fresh_rows<typename Layer::Scalar>(parts.router, layer.router(), rows, random);
  }
  if (how.row == RouterRow::closed) {
    shift_logit(kWhere, parts.router, added, kClosedLogit);
    lower_selection_bias(parts.gate);
  } else if (how.row == RouterRow::split) {
    shift_logit(kWhere, parts.router, how.from[0], -std::numbers::ln2);
    shift_logit(kWhere, parts.router, added, -std::numbers::ln2);
  }
  layer.experts().reserve(static_cast<std::size_t>(added) + 1);
  parts.move_into(layer);
  layer.experts().push_back(std::move(expert));
  return change;
}

}  // namespace detail

MOE_NAMESPACE_END
