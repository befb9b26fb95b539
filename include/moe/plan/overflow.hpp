// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Which expert computes each assignment [T * K] when some experts are full: order, then overflow.
#pragma once

#include <vector>

#include "moe/core/draws.hpp"
#include "moe/gate/select.hpp"
#include "moe/plan/capacity.hpp"

MOE_NAMESPACE_BEGIN

/// What became of one assignment of Routing.
enum class Outcome : std::uint8_t {
  kept,      ///< computed by the chosen expert
  dropped,   ///< its expert was full
  none,      ///< the gate chose no expert here, or the token is padding
  rerouted,  ///< its expert was full: computed by the next best one with room
  fallback,  ///< its expert was full: computed by the fallback expert
};

namespace detail {

/// Decides for one group of tokens after the other. The vectors keep their memory.
class OverflowRules {
 public:
  std::vector<std::int32_t> target;  ///< [T * K], the expert that computes, or kNoExpert

  /// Memory for such a routing, whatever becomes of its assignments.
  template <class S>
  void reserve(const Routing<S>& routing, const CapacityOptions& options) {
    const auto size = static_cast<std::size_t>(routing.expert.size());
    target.reserve(size);
    key_.reserve(size);
    order_.reserve(size);
    asked_.reserve(size);
    room_.reserve(static_cast<std::size_t>(routing.num_experts()));
    if (options.overflow != Overflow::next_best) return;
    const Index tokens = std::min(routing.tokens(), group_size(routing, options));
    ranked_.reserve(static_cast<std::size_t>(tokens * routing.num_experts()));
    ranking_.reserve(static_cast<std::size_t>(tokens));
  }

  /// `outcome` [T * K] must be none everywhere.
  template <class S>
  void decide(const Routing<S>& routing, const CapacityOptions& options, const Batch& batch,
              std::vector<Outcome>& outcome) {
    target.assign(outcome.size(), kNoExpert);
    key_.resize(outcome.size());
    const Index group = group_size(routing, options);
    for (Index first = 0; first < routing.tokens(); first += group) {
      const Index last = std::min(routing.tokens(), first + group);
      Index tokens = 0;
      for (Index t = first; t < last; ++t) tokens += batch.is_padding(t) ? 0 : 1;
      expert_capacities(options, tokens, routing.top_k(), routing.num_experts(), batch.training,
                        room_);
      list_assignments(routing, options.order, batch, first, last);
      fill_chosen(routing, options, outcome);
      if (options.overflow == Overflow::next_best) {
        clear_rankings(last - first);
        reroute(routing, options, first, outcome);
      }
      if (options.overflow == Overflow::fallback) fall_back(routing, options, outcome);
    }
  }

 private:
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();
  static constexpr std::int32_t kUnknown = -1;

  /// A token's row of ranked_, which is sorted no further than it is asked: a heap, then the best
  /// `sorted` experts from the end on.
  struct Ranking {
    std::int32_t experts = kUnknown;
    std::int32_t sorted = 0;
  };

  template <class S>
  static Index group_size(const Routing<S>& routing, const CapacityOptions& options) {
    return options.group_size == 0 ? std::max<Index>(routing.tokens(), 1) : options.group_size;
  }

  template <class S>
  static std::int32_t chosen(const Routing<S>& routing, std::int32_t a) {
    return routing.expert(a / routing.top_k(), a % routing.top_k());
  }

  /// order_ = the group's assignments, the first to be served first.
  template <class S>
  void list_assignments(const Routing<S>& routing, DropOrder order, const Batch& batch, Index first,
                        Index last) {
    const Draws draws(batch, "plan.drop_order");
    const Index k = routing.top_k();
    order_.clear();
    for (Index t = first; t < last; ++t) {
      for (Index j = 0; j < k && !batch.is_padding(t); ++j) {
        if (routing.expert(t, j) == kNoExpert) continue;
        const double key = priority(routing, order, draws, t, j);
        key_[static_cast<std::size_t>(t * k + j)] = std::isnan(key) ? -kInfinity : key;
        order_.push_back(static_cast<std::int32_t>(t * k + j));
      }
    }
    if (order == DropOrder::position) return;
    const bool by_choice = order == DropOrder::choice || order == DropOrder::batch_priority;
    std::sort(order_.begin(), order_.end(), [&](std::int32_t a, std::int32_t b) {
      if (by_choice && a % k != b % k) return a % k < b % k;
      const double x = key_[static_cast<std::size_t>(a)], y = key_[static_cast<std::size_t>(b)];
      return x != y ? x > y : a < b;
    });
  }

  template <class S>
  static double priority(const Routing<S>& routing, DropOrder order, const Draws& draws, Index t,
                         Index j) {
    switch (order) {
      case DropOrder::weight:
        return static_cast<double>(routing.weight(t, j));
      case DropOrder::score:
        return static_cast<double>(routing.scores(t, routing.expert(t, j)));
      case DropOrder::random:
        return draws.uniform(t, routing.expert(t, j));
      case DropOrder::batch_priority: {
        const S* row = routing.scores.row(t);
        return static_cast<double>(*std::max_element(row, row + routing.num_experts()));
      }
      default:
        return 0;
    }
  }

  /// Every assignment whose expert has room gets it; the others stay behind in order_.
  template <class S>
  void fill_chosen(const Routing<S>& routing, const CapacityOptions& options,
                   std::vector<Outcome>& outcome) {
    if (options.overflow == Overflow::fallback) {
      room_[static_cast<std::size_t>(options.fallback_expert)] = std::numeric_limits<Index>::max();
    }
    std::size_t left = 0;
    for (const std::int32_t a : order_) {
      if (take(chosen(routing, a), a)) {
        outcome[static_cast<std::size_t>(a)] = Outcome::kept;
      } else {
        outcome[static_cast<std::size_t>(a)] = Outcome::dropped;
        order_[left++] = a;
      }
    }
    order_.resize(left);
  }

  bool take(std::int32_t expert, std::int32_t a) {
    Index& room = room_[static_cast<std::size_t>(expert)];
    if (room == 0) return false;
    --room;
    target[static_cast<std::size_t>(a)] = expert;
    return true;
  }

  /// In rounds, so that nobody's third choice comes before another's second: each assignment left
  /// asks its next best expert, and is placed, stays for the next round, or has asked them all.
  template <class S>
  void reroute(const Routing<S>& routing, const CapacityOptions& options, Index first,
               std::vector<Outcome>& outcome) {
    if (order_.empty()) return;
    asked_.assign(order_.size(), 0);
    Index free = 0;
    for (const Index room : room_) free += room;
    for (Index round = 0; free > 0 && !order_.empty(); ++round) {
      if (options.reroute_tries > 0 && round == options.reroute_tries) return;
      std::size_t left = 0;
      for (std::size_t i = 0; i < order_.size(); ++i) {
        const std::int32_t a = order_[i], e = next_best(routing, a, first, asked_[i]);
        if (e == kNoExpert) continue;
        if (take(e, a)) {
          outcome[static_cast<std::size_t>(a)] = Outcome::rerouted;
          --free;
          continue;
        }
        order_[left] = a;
        asked_[left++] = asked_[i];
      }
      order_.resize(left);
    }
  }

  /// Readies ranking_ for `tokens` of a group, none of which has asked yet.
  void clear_rankings(Index tokens) {
    const auto size = static_cast<std::size_t>(tokens) * room_.size();
    if (ranked_.size() < size) ranked_.resize(size);
    ranking_.assign(static_cast<std::size_t>(tokens), {});
  }

  /// Experts that are neither banned nor NaN; returns how many.
  template <class S>
  static std::int32_t list_allowed(const S* score, Index experts, std::int32_t* list) {
    std::int32_t count = 0;
    for (std::int32_t e = 0; e < experts; ++e) {
      if (score[e] > 0) list[count++] = e;
    }
    return count;
  }

  /// The best expert behind the first `asked` of the token's ranking that is not the token's
  /// already. `asked` moves behind it.
  template <class S>
  std::int32_t next_best(const Routing<S>& routing, std::int32_t a, Index first,
                         std::int32_t& asked) {
    const Index t = a / routing.top_k();
    const S* score = routing.scores.row(t);
    Ranking& ranking = ranking_[static_cast<std::size_t>(t - first)];
    std::int32_t* list = ranked_.data() + (t - first) * routing.num_experts();
    const auto behind = [score](std::int32_t e, std::int32_t f) {
      return ranks_before(score[f], f, score[e], e);
    };
    if (ranking.experts == kUnknown) {
      ranking.experts = list_allowed(score, routing.num_experts(), list);
      std::make_heap(list, list + ranking.experts, behind);
    }
    while (asked < ranking.experts) {
      if (asked == ranking.sorted) {
        std::pop_heap(list, list + (ranking.experts - ranking.sorted++), behind);
      }
      const std::int32_t e = list[ranking.experts - 1 - asked++];
      if (!has_expert(routing, t, e)) return e;
    }
    return kNoExpert;
  }

  template <class S>
  bool has_expert(const Routing<S>& routing, Index t, std::int32_t e) const {
    for (Index j = 0; j < routing.top_k(); ++j) {
      if (routing.expert(t, j) == e) return true;
      if (target[static_cast<std::size_t>(t * routing.top_k() + j)] == e) return true;
    }
    return false;
  }

  /// A token that has the fallback expert already does not get it twice: dropped.
  template <class S>
  void fall_back(const Routing<S>& routing, const CapacityOptions& options,
                 std::vector<Outcome>& outcome) {
    for (const std::int32_t a : order_) {
      if (has_expert(routing, a / routing.top_k(), options.fallback_expert)) continue;
      target[static_cast<std::size_t>(a)] = options.fallback_expert;
      outcome[static_cast<std::size_t>(a)] = Outcome::fallback;
    }
  }

  std::vector<std::int32_t> order_;   ///< assignments to be served
  std::vector<std::int32_t> asked_;   ///< how many of its token's ranking each has gone through
  std::vector<double> key_;           ///< [T * K], larger is served first
  std::vector<Index> room_;           ///< [E]
  std::vector<std::int32_t> ranked_;  ///< [tokens of a group, E]
  std::vector<Ranking> ranking_;      ///< [tokens of a group]
};

}  // namespace detail
MOE_NAMESPACE_END
