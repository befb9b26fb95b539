// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Optimizer state that follows the experts of a layer which grew or shrank.
#pragma once

#include <charconv>
#include <string>

#include "moe/train/grow/change.hpp"
#include "moe/train/slots.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// "experts.<e>.<rest>" -> e, with `rest` cut to what stands behind; -1 for other names.
inline Index expert_of_name(std::string_view name, std::string_view& rest) {
  constexpr std::string_view kExperts = "experts.";
  if (name.substr(0, kExperts.size()) != kExperts) return -1;
  Index e = -1;
  const auto end = std::from_chars(name.data() + kExperts.size(), name.data() + name.size(), e).ptr;
  rest = name.substr(static_cast<std::size_t>(end - name.data()));
  return e;
}

template <class S>
void check_state_shape(std::string_view name, const ParameterState<S>& state,
                       const Parameter<S>& p) {
  if (state.first.size() == 0) return;
  if (state.first.rows() != p.value.rows() || state.first.cols() != p.value.cols()) {
    fail("moe::follow", "the state of ", name, " would be [", state.first.rows(), ", ",
         state.first.cols(), "], the parameter is [", p.value.rows(), ", ", p.value.cols(),
         "]; expected the change that led to this module, and each change once");
  }
}

/// State of one expert's parameter `rest`: that of the expert it goes on from, or the mean over those
/// merged into it, where a share of 0 counts only when no other is left. A newcomer starts without.
template <class S>
ParameterState<S> expert_state(OptimizerState<S>& old, const ExpertChange::Origin& from,
                               std::string_view prefix, std::string_view rest) {
  ParameterState<S> merged;
  if (from.newcomer) return merged;
  double shares = 0;
  for (std::size_t i = 0; i < from.experts.size(); ++i) {
    const std::string name =
        std::string(prefix) + "experts." + std::to_string(from.experts[i]) + std::string(rest);
    const ParameterState<S>* one = old.find(name);
    if (one == nullptr || one->first.size() == 0) continue;
    if (merged.first.size() != 0 && from.shares[i] == 0) continue;
    if (shares == 0) {
      merged = *one;
      shares = from.shares[i];
      continue;
    }
    shares += from.shares[i];
    const auto share = static_cast<S>(from.shares[i] / shares);
    merged.first += share * (one->first - merged.first);
    if (merged.second.size() != 0) merged.second += share * (one->second - merged.second);
    merged.steps = std::max(merged.steps, one->steps);
  }
  return merged;
}

}  // namespace detail

/// Makes the state of an optimizer that trains `module` fit the module again after `change` to the
/// layer whose parameters have the names `prefix` + "router.*", "gate.*" and "experts.<e>.*". What
/// went on keeps its state bit by bit; merged experts have the mean of theirs; newcomers start anew,
/// and in the router's matrices with a mean gradient of 0 and with the mean square of their origin
/// (fresh ones: the mean over all), so that their first step is not larger than the others'. All other
/// parameters are matched by name. Call once per change, before the next step. Throws
/// std::invalid_argument when the module is not as the change left it; the state is then as before.
template <class S, class M>
void follow(OptimizerState<S>& state, M& module, const ExpertChange& change,
            std::string_view prefix = {}) {
  if (state.parameters.empty()) return;
  std::vector<ParameterState<S>> next;
  std::map<std::string, Index, std::less<>> seen;
  module.visit_parameters([&](std::string_view name, Parameter<S>& p) {
    ParameterState<S> now;
    if (const ParameterState<S>* same = state.find(name, seen[std::string(name)]++)) now = *same;
    if (name.substr(0, prefix.size()) == prefix) {
      const std::string_view own = name.substr(prefix.size());
      std::string_view rest;
      const Index e = detail::expert_of_name(own, rest);
      if (e >= change.after()) {
        detail::fail("moe::follow", "the module has ", name, ", the change left ", change.after(),
                     " experts");
      }
      if (e >= 0) {
        const auto& from = change.origin[static_cast<std::size_t>(e)];
        now = detail::expert_state<S>(state, from, prefix, rest);
      } else if (const auto axis = change.axes.find(own);
                 axis != change.axes.end() && now.first.size() != 0) {
        const Index lines =
            axis->second == ExpertAxis::columns ? now.first.cols() : now.first.rows();
        if (axis->second != ExpertAxis::none) {
          detail::check_size("moe::follow", name, lines, "experts in the optimizer's state",
                             "their number before the change", change.before);
        }
        using detail::FreshLine, detail::NewLine;
        now.first =
            detail::rearranged<S>(now.first, axis->second, change, FreshLine::zero, NewLine::zero);
        if (now.second.size() != 0) {
          now.second = detail::rearranged<S>(now.second, axis->second, change, FreshLine::mean);
        }
      }
    }
    now.name = std::string(name);
    detail::check_state_shape(name, now, p);
    next.push_back(std::move(now));
  });
  state.parameters = std::move(next);
}

MOE_NAMESPACE_END
