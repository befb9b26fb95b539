// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/gate/auction.hpp"

#include "gate/gate_checks.hpp"

namespace moe_test {
namespace {

using moe::AuctionGate;

AuctionGate make_gate(Index e) { return {{.num_experts = e, .top_k = 1}, {}}; }

/// The largest sum of scores with these many tokens left per expert, by trying everything.
double best_sum(const Matrix<double>& scores, Index t, std::vector<Index>& room) {
  if (t == scores.rows()) return 0;
  double best = -kInfinity;
  for (Index e = 0; e < scores.cols(); ++e) {
    Index& left = room[static_cast<std::size_t>(e)];
    if (left == 0) continue;
    --left;
    best = std::max(best, scores(t, e) + best_sum(scores, t + 1, room));
    ++left;
  }
  return best;
}

std::vector<Index> loads(const moe::Routing<double>& routing, Index experts) {
  std::vector<Index> load(static_cast<std::size_t>(experts), 0);
  for (Index t = 0; t < routing.tokens(); ++t) {
    if (routing.expert(t, 0) >= 0) ++load[static_cast<std::size_t>(routing.expert(t, 0))];
  }
  return load;
}

/// The published auction, one sort per expert and round.
std::vector<int> plain_auction(const Matrix<double>& scores) {
  const auto tokens = static_cast<std::size_t>(scores.rows());
  const auto experts = static_cast<std::size_t>(scores.cols());
  const double largest = scores.maxCoeff(), smallest = scores.minCoeff();
  const double epsilon = std::max((largest - smallest) / 50, 1e-4);
  const auto score = [&](std::size_t i, std::size_t e) {
    return scores(static_cast<Index>(i), static_cast<Index>(e));
  };
  std::vector<int> winner(tokens, -1);
  std::vector<double> cost(tokens, 0);
  for (int round = 0; round < 400; ++round) {
    std::vector<double> bid(tokens, 0);
    std::vector<int> bidder(tokens, -1);
    for (std::size_t e = 0; e < experts; ++e) {
      naive::Row value;
      for (std::size_t i = 0; i < tokens; ++i) {
        const bool own = winner[i] == static_cast<int>(e);
        value.push_back(!own ? score(i, e) - cost[i] : round <= 100 ? largest : score(i, e));
      }
      const std::vector<std::size_t> order = naive::ranking(value);
      const std::size_t quota = tokens / experts + (e < tokens % experts ? 1 : 0);
      const double next = quota < tokens ? value[order[quota]] : smallest;
      for (std::size_t j = 0; j < quota; ++j) {
        const std::size_t i = order[j];
        const bool keeps = round > 0 && round < 100 && winner[i] == static_cast<int>(e);
        const double offer = keeps ? epsilon : value[i] - next + epsilon;
        if (offer > bid[i]) {
          bid[i] = offer;
          bidder[i] = static_cast<int>(e);
        }
      }
    }
    winner = bidder;
    for (std::size_t i = 0; i < tokens; ++i) cost[i] += bid[i];
    if (std::find(winner.begin(), winner.end(), -1) == winner.end()) return winner;
  }
  return {};
}

}  // namespace

TEST_CASE("the auction's assignment is that of the published rounds", "[gate][auction]") {
  Index settled = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    constexpr Index kTokens[] = {1, 5, 33, 64, 130}, kExperts[] = {2, 3, 8, 65};
    const Index t = kTokens[seed % 5], e = kExperts[seed % 4];
    Matrix<double> logits = random_matrix<double>(t, e, seed);
    if (seed % 3 == 1) logits.col(1).array() += 3;
    if (seed % 3 == 2) logits = (4 * logits).array().round();
    const std::vector<int> expected = plain_auction(logits);
    if (expected.empty()) continue;  // place_rest has the last word there
    ++settled;
    const auto out = route(make_gate(e), logits, {.training = true});
    INFO("seed " << seed << " T " << t << " E " << e);
    CHECK(std::vector<int>(out.routing.expert.data(), out.routing.expert.data() + t) == expected);
  }
  CHECK(settled > 50);
}

TEST_CASE("the auction gives every expert its equal share", "[gate][auction]") {
  for (const Index e : {1, 2, 3, 8, 65, 512}) {
    for (const Index t : {1, 2, 7, 64, 130}) {
      for (const double flood : {0.0, 5.0}) {
        Matrix<double> logits = random_matrix<double>(t, e, 3);
        logits.col(e / 2).array() += flood;
        const auto out = route(make_gate(e), logits, {.training = true});
        check_well_formed(out.routing);
        const auto load = loads(out.routing, e);
        Index wrong = 0;
        for (Index i = 0; i < e; ++i) {
          wrong += load[static_cast<std::size_t>(i)] != t / e + (i < t % e ? 1 : 0);
        }
        INFO("E " << e << " T " << t << " flood " << flood);
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("the auction's assignment is nearly the best one", "[gate][auction]") {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Index t = 6 + static_cast<Index>(seed % 4), e = 2 + static_cast<Index>(seed % 3);
    const Matrix<double> logits = random_matrix<double>(t, e, seed);
    const auto out = route(make_gate(e), logits, {.training = true});
    double got = 0;
    for (Index i = 0; i < t; ++i) got += logits(i, out.routing.expert(i, 0));
    std::vector<Index> room;
    for (Index i = 0; i < e; ++i) room.push_back(t / e + (i < t % e ? 1 : 0));
    const double epsilon = (logits.maxCoeff() - logits.minCoeff()) / 50;
    CHECK(got >= best_sum(logits, 0, room) - static_cast<double>(t) * epsilon);
  }
}

TEST_CASE("the auction ends on ties, equal scores and huge ones", "[gate][auction]") {
  for (const double size : {0.0, 1e-12, 1.0, 1e12}) {
    const Matrix<double> logits = size * random_matrix<double>(37, 5, 4).array().round().matrix();
    const auto load = loads(route(make_gate(5), logits, {.training = true}).routing, 5);
    CHECK(load == std::vector<Index>{8, 8, 7, 7, 7});
  }
}

TEST_CASE("what an auction leaves over goes to the best expert with room", "[gate][auction]") {
  constexpr Index kT = 60, kE = 7;
  const Matrix<double> logits = random_matrix<double>(kT, kE, 5).array().round().matrix();
  Index asked = 0;
  const auto score = [&](Index t, Index e) { return logits(t, e); };
  const auto quota = [&](Index e) {
    ++asked;
    return kT / kE + (e < kT % kE ? 1 : 0);
  };
  std::vector<std::int32_t> winner(kT, moe::kNoExpert), expected;
  for (std::size_t t = 0; t < kT; t += 3) winner[t] = static_cast<std::int32_t>(t % kE);
  expected = winner;
  for (std::size_t t = 0; t < kT; ++t) {
    if (expected[t] != moe::kNoExpert) continue;
    for (const std::size_t e : naive::ranking(to_table(logits)[t])) {
      const auto load = std::count(expected.begin(), expected.end(), static_cast<std::int32_t>(e));
      if (load >= quota(static_cast<Index>(e))) continue;
      expected[t] = static_cast<std::int32_t>(e);
      break;
    }
  }
  asked = 0;
  std::vector<Index> room(kE);
  moe::detail::place_rest(score, quota, winner, room);
  CHECK(winner == expected);
  CHECK(asked == kE);  // loads are kept, not counted anew for every token
}

TEST_CASE("padding and NaN tokens take nobody's place in the auction", "[gate][auction]") {
  const Matrix<double> real = random_matrix<double>(8, 4, 3);
  Matrix<double> padded(10, 4);
  padded << real.topRows(4), Matrix<double>::Constant(1, 4, 50), real.bottomRows(4),
      Matrix<double>::Constant(1, 4, kNaN);
  const std::vector<std::uint8_t> mask = {1, 1, 1, 1, 0, 1, 1, 1, 1, 1};
  const auto a = route(make_gate(4), real, {.training = true});
  const auto b = route(make_gate(4), padded, {.mask = mask, .training = true});
  for (Index t = 0; t < 8; ++t) {
    CHECK(a.routing.expert(t, 0) == b.routing.expert(t < 4 ? t : t + 1, 0));
  }
  CHECK(b.routing.expert(4, 0) == moe::kNoExpert);
  CHECK(b.routing.expert(9, 0) == 0);
  CHECK(std::isnan(b.routing.weight(9, 0)));
}

TEST_CASE("at evaluation the auction gate takes the best expert", "[gate][auction]") {
  const Matrix<double> logits = random_matrix<double>(20, 5, 4);
  const auto out = route(make_gate(5), logits);
  for (Index t = 0; t < 20; ++t) {
    const auto best = naive::ranking(to_table(logits)[static_cast<std::size_t>(t)])[0];
    CHECK(out.routing.expert(t, 0) == static_cast<int>(best));
    const double l = logits(t, static_cast<Index>(best));
    CHECK(out.routing.weight(t, 0) == Approx(1 / (1 + std::exp(-l))));
  }
}

TEST_CASE("the auction gate has the right gradient", "[gate][auction][gradient]") {
  check_gate_gradient(make_gate(4), random_matrix<double>(9, 4, 4), {.training = true});
  const std::vector<std::uint8_t> mask = {1, 0, 1, 1, 1, 1, 1};
  check_layer_gradient<AuctionGate>({}, 1);
  check_layer_gradient<AuctionGate>({}, 1, {.mask = mask});
}

TEST_CASE("the auction gate refuses K other than 1", "[gate][auction][misuse]") {
  CHECK(sentence_of([] { AuctionGate({.num_experts = 4, .top_k = 2}, {}); }) ==
        "moe::AuctionGate: top_k is 2, expected 1");
}

}  // namespace moe_test
