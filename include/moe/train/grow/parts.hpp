// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Router, gate and capacity of a layer whose experts changed.
#pragma once

#include <algorithm>
#include <cmath>

#include "moe/core/batch.hpp"
#include "moe/core/parameter.hpp"
#include "moe/plan/capacity.hpp"
#include "moe/train/grow/change.hpp"

MOE_NAMESPACE_BEGIN

/// A router (or a gate that learns) whose experts can be added and removed.
template <class R>
concept HasExpertAxes = requires(std::string_view name) {
  { R::expert_axis(name) } -> std::same_as<ExpertAxis>;
};

/// The logit of a closed expert: exp and sigmoid of it are 0 in every precision, and it is far from
/// infinity.
inline constexpr double kClosedLogit = -1e4;

namespace detail {

/// Root mean square, so that a new line is as long as the old ones.
template <class S>
double rms(const Matrix<S>& m) {
  double sum = 0;
  for (Index i = 0; i < m.size(); ++i) {
    sum += static_cast<double>(m.data()[i]) * static_cast<double>(m.data()[i]);
  }
  return m.size() == 0 ? 0 : std::sqrt(sum / static_cast<double>(m.size()));
}

/// Parameters of `part` follow the change; notes their axes as "<prefix><name>".
template <class S, class Part>
void rearrange_parameters(Part& part, std::string_view prefix, ExpertChange& change) {
  part.visit_parameters([&](std::string_view name, Parameter<S>& p) {
    const ExpertAxis axis = Part::expert_axis(name);
    change.axes[std::string(prefix) + std::string(name)] = axis;
    if (axis == ExpertAxis::none) return;
    const FreshLine fresh = axis == ExpertAxis::rows ? FreshLine::zero : FreshLine::mean;
    p.value = rearranged<S>(p.value, axis, change, fresh);
    p.grad.resize(0, 0);
  });
}

/// Rows of fresh experts: N(0, rms of the old rows).
template <class S, class R>
void draw_fresh_rows(R& router, const R& old, const ExpertChange& change, Random& random) {
  R before = old;
  std::vector<double> size;
  before.visit_parameters(
      [&](std::string_view, Parameter<S>& p) { size.push_back(rms<S>(p.value)); });
  std::size_t i = 0;
  router.visit_parameters([&](std::string_view name, Parameter<S>& p) {
    const double spread = size[i++];
    if (R::expert_axis(name) != ExpertAxis::rows) return;
    for (Index e = 0; e < change.after(); ++e) {
      if (!change.origin[static_cast<std::size_t>(e)].experts.empty()) continue;
      for (Index d = 0; d < p.value.cols(); ++d) {
        p.value(e, d) = static_cast<S>(spread * random.normal());
      }
    }
  });
}

/// What was switched off stays off; merged experts are on when one of them was, newcomers are on. When
/// all that were on are gone, the first is switched on.
template <class G>
void keep_active(const G& before, G& after, const ExpertChange& change) {
  std::vector<Index> off;
  for (Index e = 0; e < change.after(); ++e) {
    const auto& from = change.origin[static_cast<std::size_t>(e)];
    const bool on =
        from.newcomer || std::any_of(from.experts.begin(), from.experts.end(), [&](Index old) {
          return before.active()[static_cast<std::size_t>(old)] != 0;
        });
    if (!on) off.push_back(e);
  }
  if (std::ssize(off) == change.after()) off.erase(off.begin());
  for (const Index e : off) after.set_active(e, false);
}

/// A gate for the new number of experts, all its options and what it learned kept. Throws what its
/// constructor throws when they do not fit that number.
template <class S, class G>
G gate_after(const G& gate, ExpertChange& change) {
  if constexpr (requires { gate.after(change); }) {
    return gate.after(change);
  } else {
    Dims dims{1, 1, change.after(), gate.top_k()};
    if constexpr (requires { gate.options(); }) {
      auto options = gate.options();
      if constexpr (requires { options.max_experts; }) {  // K is E, or a limit
        dims.top_k = std::min(dims.top_k, change.after());
      }
      if constexpr (requires { options.selection_bias; }) {
        options.selection_bias = change.values(options.selection_bias);
      }
      G next(dims, options);
      if constexpr (requires { next.set_active(Index{}, gate.active()[0] != 0); }) {
        keep_active(gate, next, change);
      }
      if constexpr (HasParameters<G, S>) {
        static_assert(HasExpertAxes<G>,
                      "moe: a gate with parameters needs static ExpertAxis expert_axis(name) for "
                      "its experts to be added or removed; see moe/core/expert_axis.hpp");
        G old = gate;
        rearrange_parameters<S>(old, "gate.", change);
        std::vector<Parameter<S>> values;
        old.visit_parameters([&](std::string_view, Parameter<S>& p) { values.push_back(p); });
        std::size_t i = 0;
        next.visit_parameters([&](std::string_view, Parameter<S>& p) { p = values[i++]; });
      }
      return next;
    } else {
      static_assert(std::is_constructible_v<G, Dims, NoOptions>,
                    "moe: this gate cannot be made for another number of experts: it needs "
                    "options(), or after(change); see moe/train/grow.hpp");
      return G(dims, NoOptions{});
    }
  }
}

/// The capacity rules with every expert's share, and the fallback expert, where they went. A new
/// expert has the mean share of those it is made of, or of all.
inline CapacityOptions capacity_after(std::string_view function, CapacityOptions capacity,
                                      const ExpertChange& change) {
  if (!capacity.share.empty()) {
    check_size(function, "the capacity's share", std::ssize(capacity.share), "values",
               "the number of experts", change.before);
    const auto [least, most] = std::minmax_element(capacity.share.begin(), capacity.share.end());
    std::vector<double> now = change.values(capacity.share);
    for (double& share : now) share = std::clamp(share, *least, *most);  // not rounded to 0
    capacity.share = std::move(now);
  }
  if (capacity.overflow != Overflow::fallback) return capacity;
  const Index now = change.find(capacity.fallback_expert);
  if (now < 0) {
    fail(function, "expert ", capacity.fallback_expert,
         " is the fallback expert of the capacity, expected another one first: set_capacity");
  }
  capacity.fallback_expert = static_cast<std::int32_t>(now);
  return capacity;
}

}  // namespace detail
MOE_NAMESPACE_END
