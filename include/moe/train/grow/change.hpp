// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What became of a layer's experts when one was added, removed or merged: for each expert after, those
// before that it is made of; and how anything kept per expert follows.
#pragma once

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "moe/core/error.hpp"
#include "moe/core/expert_axis.hpp"
#include "moe/core/types.hpp"

MOE_NAMESPACE_BEGIN

/// Returned by add_expert, remove_expert and merge_experts, for what lives outside of the layer:
///   moe::follow(optimizer.state(), model, change, "blocks.1.moe.");
///   balance_counts.choices = change.counts(balance_counts.choices);
struct ExpertChange {
  struct Origin {
    std::vector<Index> experts;  ///< before; empty: fresh
    std::vector<double> shares;  ///< of each, sum 1
    bool newcomer = false;       ///< a copy, mean or fresh expert beside those that went on
  };

  Index before = 0;                                     ///< E before
  std::vector<Origin> origin;                           ///< [E after]
  std::map<std::string, ExpertAxis, std::less<>> axes;  ///< of router and gate: "router.weight"

  /// Every expert stays what it is.
  explicit ExpertChange(Index experts = 0) : before(experts) {
    for (Index e = 0; e < experts; ++e) origin.push_back({{e}, {1.0}});
  }

  Index after() const { return std::ssize(origin); }

  /// Where expert e went, -1 when it is gone.
  Index find(Index e) const {
    for (Index i = 0; i < after(); ++i) {
      const Origin& from = origin[static_cast<std::size_t>(i)];
      if (from.newcomer) continue;
      if (std::find(from.experts.begin(), from.experts.end(), e) != from.experts.end()) return i;
    }
    return -1;
  }

  /// A quantity per expert, [E before] -> [E after], such as tokens seen: merged experts have the sum,
  /// newcomers 0. An empty list stays empty. Throws std::invalid_argument on another size.
  template <class N>
  std::vector<N> counts(const std::vector<N>& old) const {
    if (old.empty()) return {};
    check(std::ssize(old));
    std::vector<N> now;
    for (const Origin& from : origin) {
      N sum{};
      for (const Index e : from.experts)
        sum += from.newcomer ? N{} : old[static_cast<std::size_t>(e)];
      now.push_back(sum);
    }
    return now;
  }

  /// A setting per expert, such as a bias or a mean: experts made of several have their mean, fresh
  /// ones the mean of all.
  template <class T>
  std::vector<T> values(const std::vector<T>& old) const {
    if (old.empty()) return {};
    check(std::ssize(old));
    std::vector<T> now;
    for (const Origin& from : origin) {
      double sum = 0;
      if (from.experts.empty()) {
        for (const T value : old) sum += static_cast<double>(value) / static_cast<double>(before);
      } else {
        now.push_back(old[static_cast<std::size_t>(from.experts[0])]);
        for (std::size_t i = 1; i < from.experts.size(); ++i) {
          const auto e = static_cast<std::size_t>(from.experts[i]);
          sum += from.shares[i] * (static_cast<double>(old[e]) - static_cast<double>(now.back()));
        }
        sum += static_cast<double>(now.back());
        now.pop_back();
      }
      now.push_back(static_cast<T>(sum));
    }
    return now;
  }

 private:
  void check(Index size) const {
    detail::check_size("moe::ExpertChange", "the list", size, "values", "the number before",
                       before);
  }
};

namespace detail {

/// What the line of a fresh expert becomes.
enum class FreshLine : std::uint8_t { zero, mean };
/// What the line of any newcomer becomes: that of its origin, or zero.
enum class NewLine : std::uint8_t { from_origin, zero };

/// Lines (rows or columns) of `old` rearranged as the experts were. A line made of several is their
/// mean, taken as first + sum share (other - first): exact when they are equal.
template <class S>
Matrix<S> rearranged(const Matrix<S>& old, ExpertAxis axis, const ExpertChange& change,
                     FreshLine fresh, NewLine newcomers = NewLine::from_origin) {
  if (axis == ExpertAxis::none) return old;
  if (axis == ExpertAxis::columns) {
    return rearranged<S>(old.transpose(), ExpertAxis::rows, change, fresh, newcomers).transpose();
  }
  Matrix<S> now(change.after(), old.cols());
  for (Index i = 0; i < change.after(); ++i) {
    const auto& from = change.origin[static_cast<std::size_t>(i)];
    if (from.newcomer && newcomers == NewLine::zero) {
      now.row(i).setZero();
    } else if (from.experts.empty()) {
      if (fresh == FreshLine::mean) now.row(i) = old.colwise().mean();
      if (fresh == FreshLine::zero) now.row(i).setZero();
    } else {
      now.row(i) = old.row(from.experts[0]);
      for (std::size_t n = 1; n < from.experts.size(); ++n) {
        now.row(i) +=
            static_cast<S>(from.shares[n]) * (old.row(from.experts[n]) - old.row(from.experts[0]));
      }
    }
  }
  return now;
}

}  // namespace detail
MOE_NAMESPACE_END
