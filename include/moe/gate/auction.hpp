// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Auction gate: in training experts bid for tokens until each has the same number of them.
#pragma once

#include <span>

#include "moe/gate/select.hpp"

MOE_NAMESPACE_BEGIN

namespace detail {

/// Memory of assign_balanced, T the tokens that take part.
struct AuctionState {
  Buffer<std::int32_t> token;   ///< [T] that take part
  Buffer<std::int32_t> order;   ///< [T] by value to one expert
  Buffer<std::int32_t> winner;  ///< [T] of the last round
  Buffer<std::int32_t> bidder;  ///< [T] highest of this round
  Buffer<double> bid;           ///< [T] highest of this round
  Buffer<double> cost;          ///< [T]
  Buffer<double> score;         ///< [E, T], a copy
  Buffer<double> value;         ///< [T] to one expert
  Buffer<double> bar;           ///< [E], what an expert's best tokens were worth in the last round
  Buffer<Index> room;           ///< [E] tokens that place_rest may still give

  /// Memory for up to so many tokens that take part.
  void reserve(Index tokens, Index experts) {
    for (auto* buffer : {&token, &order, &winner, &bidder}) buffer->reserve(tokens);
    for (auto* buffer : {&bid, &cost, &value}) buffer->reserve(tokens);
    score.reserve(tokens * experts);
  }
};

/// After an auction that did not settle: every token without an expert goes to the best with room.
/// Writes room [E].
template <class Score, class Quota>
void place_rest(Score&& score, Quota&& quota, std::span<std::int32_t> winner,
                std::span<Index> room) {
  const Index experts = std::ssize(room);
  for (Index e = 0; e < experts; ++e) room[static_cast<std::size_t>(e)] = quota(e);
  for (const std::int32_t e : winner) {
    if (e != kNoExpert) --room[static_cast<std::size_t>(e)];
  }
  for (std::size_t i = 0; i < winner.size(); ++i) {
    if (winner[i] != kNoExpert) continue;
    const auto token = static_cast<Index>(i);
    Index best = kNoExpert;
    for (Index e = 0; e < experts; ++e) {
      if (room[static_cast<std::size_t>(e)] <= 0) continue;
      if (best == kNoExpert || score(token, e) > score(token, best)) best = e;
    }
    winner[i] = static_cast<std::int32_t>(best);
    --room[static_cast<std::size_t>(best)];  // the quotas sum to T, so there is one with room
  }
}

/// The `ranked` best of value [n] as partition_top_k leaves them in `order`. Ranks only those that
/// reach `bar`, a guess, unless they are too few.
inline void best_values(std::span<const double> value, Index ranked, double bar,
                        std::int32_t* order) {
  const Index n = std::ssize(value);
  Index count = 0;
  for (Index i = 0; i < n; ++i) {
    order[count] = static_cast<std::int32_t>(i);
    count += value[static_cast<std::size_t>(i)] >= bar ? 1 : 0;
  }
  if (count < ranked) {
    std::iota(order, order + n, 0);
    count = n;
  }
  std::nth_element(order, order + (ranked - 1), order + count, [&](std::int32_t a, std::int32_t b) {
    const double x = value[static_cast<std::size_t>(a)], y = value[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  });
}

/// Bertsekas' auction as in BASE layers: every round each expert bids for the q tokens it values
/// most (score - cost) the difference to its next best plus epsilon = (max - min) / 50; the highest
/// bid wins and becomes the token's cost; ends when every token has a bid. After 100 rounds winners
/// no longer keep tokens for a minimal bid, which ends sooner at a slightly worse sum. The first
/// T mod E experts take one token more. `score(i, e)` must be finite. Writes winner [T].
template <class Score>
void assign_balanced(Score&& score, Index t_count, Index experts, AuctionState& state) {
  constexpr Index kOptimalRounds = 100, kMostRounds = 400;
  std::int32_t* order = state.order.resize(t_count).data();
  std::span<std::int32_t> winner = state.winner.resize(t_count),
                          bidder = state.bidder.resize(t_count);
  std::span<double> bid = state.bid.resize(t_count), cost = state.cost.resize(t_count),
                    value = state.value.resize(t_count), bar = state.bar.resize(experts);
  const std::span<Index> room = state.room.resize(experts);  // now: not every call needs it
  const auto quota = [&](Index e) { return t_count / experts + (e < t_count % experts ? 1 : 0); };
  const MatrixView<double> scores = state.score.resize(experts, t_count);
  for (Index i = 0; i < t_count; ++i) {
    for (Index e = 0; e < experts; ++e) scores(e, i) = score(i, e);
  }
  const auto range = std::minmax_element(scores.data(), scores.data() + scores.size());
  const double smallest = *range.first, largest = *range.second;
  const double epsilon = std::max((largest - smallest) / 50, 1e-4);
  std::fill(winner.begin(), winner.end(), kNoExpert);
  std::fill(cost.begin(), cost.end(), 0.0);
  std::fill(bar.begin(), bar.end(), smallest);

  for (Index round = 0; round < kMostRounds; ++round) {
    const bool keep = round > 0 && round < kOptimalRounds;
    std::fill(bid.begin(), bid.end(), 0.0);
    for (Index e = 0; e < experts; ++e) {
      const double* own = scores.row(e);
      for (std::size_t i = 0; i < value.size(); ++i) {
        const double kept = round <= kOptimalRounds ? largest : own[i];
        value[i] = winner[i] == e ? kept : own[i] - cost[i];
      }
      const Index q = quota(e), ranked = std::min(q + 1, t_count);
      double& reached = bar[static_cast<std::size_t>(e)];
      best_values(value, ranked, reached - 4 * epsilon, order);  // values fall as costs rise
      reached = value[static_cast<std::size_t>(order[ranked - 1])];
      const double next = ranked > q ? reached : smallest;
      for (Index j = 0; j < q; ++j) {
        const auto i = static_cast<std::size_t>(order[j]);
        const double offer = keep && winner[i] == e ? epsilon : value[i] - next + epsilon;
        if (offer > bid[i]) {
          bid[i] = offer;
          bidder[i] = static_cast<std::int32_t>(e);
        }
      }
    }
    Index without = 0;
    for (std::size_t i = 0; i < bid.size(); ++i) {
      winner[i] = bid[i] > 0 ? bidder[i] : kNoExpert;
      without += bid[i] > 0 ? 0 : 1;
      cost[i] += bid[i];
    }
    if (without == 0) return;
  }
  place_rest(score, quota, winner, room);
}

}  // namespace detail

/// One expert per token (Lewis et al. 2021, "BASE Layers"). Training: the assignment that gives
/// each expert T / E tokens and nearly the largest sum of logits; padding and NaN tokens take no
/// part. A token's expert then depends on the whole call. Evaluation: the largest logit. Weight:
/// sigmoid(logit), no gradient through the assignment. The paper's y = a f(x) + (1 - a) x with
/// f(x) = x + ffn(x) is x + a ffn(x): this gate, and the block's residual connection.
/// Routing::scores is sigmoid / sum.
class AuctionGate {
 public:
  using Options = NoOptions;
  struct State {
    detail::AuctionState auction;
    Buffer<double> divisor;  ///< [T] of scores_to_distribution
  };

  AuctionGate() = default;

  /// Throws std::invalid_argument unless K = 1 and E is at least 1.
  AuctionGate(const Dims& dims, const Options&) {
    detail::check_top_k(kWhere, dims);
    if (dims.top_k != 1) detail::fail(kWhere, "top_k is ", dims.top_k, ", expected 1");
  }

  Index top_k() const { return 1; }

  template <class S>
  void forward(MatrixView<const S> logits, Routing<S>& routing, const Batch& batch,
               State& state) const {
    detail::check_gate_forward(kWhere, *this, logits, routing, batch);
    const Index n = logits.cols();
    Index real = 0;
    state.divisor.resize(logits.rows());
    if (batch.training) state.auction.reserve(logits.rows(), n);  // another time more may take part
    state.auction.token.resize(logits.rows());
    for (Index t = 0; t < logits.rows(); ++t) {
      select_top_k(logits.row(t), n, Index{1}, routing.expert.row(t));
      if (can_be_balanced(logits, batch, t)) {
        state.auction.token[real++] = static_cast<std::int32_t>(t);
      }
    }
    if (batch.training && real > 0) {
      const auto score = [&](Index i, Index e) {
        return static_cast<double>(logits(state.auction.token[i], e));
      };
      detail::assign_balanced(score, real, n, state.auction);
      for (Index i = 0; i < real; ++i) {
        routing.expert(state.auction.token[i], 0) = state.auction.winner[i];
      }
    }
    for (Index t = 0; t < logits.rows(); ++t) {
      score_row(ScoreFunction::sigmoid, logits.row(t), n, S(1), routing.scores.row(t));
      routing.weight(t, 0) = routing.scores(t, routing.expert(t, 0));
      state.divisor[t] = scores_to_distribution(routing.scores.row(t), n);
    }
  }

  template <class S>
  void backward(const Routing<S>& routing, MatrixView<const S> dweight, MatrixView<const S> dscores,
                MatrixView<S> dlogits, State& state) const {
    detail::check_gate_backward(kWhere, routing, dweight, dscores, dlogits);
    detail::check_gate_state(kWhere, state.divisor.size(), routing.tokens());
    for (Index t = 0; t < routing.tokens(); ++t) {
      if (routing.expert(t, 0) == kNoExpert) continue;  // padding
      scores_row_backward(ScoreFunction::sigmoid, routing.scores.row(t), routing.num_experts(),
                          state.divisor[t], 1.0, dscores.row(t), routing.expert.row(t),
                          dweight.row(t), Index{1}, dlogits.row(t));
    }
  }

 private:
  static constexpr auto* kWhere = "moe::AuctionGate";
};

MOE_NAMESPACE_END
