// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/balance.hpp"

#include <map>

#include "loss/losses.hpp"
#include "moe/loss/gshard.hpp"
#include "moe/loss/switch.hpp"
#include "support/counted.hpp"

namespace moe_test {
namespace {

using moe::ChosenBy;
using moe::ScoresAs;
using moe::ShareOf;

/// Choices become different from the K best scores, as with a selection bias: the K worst.
void choose_the_worst(LossCase<double>& c) {
  for (const PlainToken& token : c.plain()) {
    const auto t = static_cast<Index>(token.index);
    const auto order = naive::ranking(token.logit);
    for (Index j = 0; j < c.routing.top_k(); ++j) {
      c.routing.expert(t, j) =
          static_cast<std::int32_t>(order[order.size() - 1 - static_cast<std::size_t>(j)]);
    }
  }
}

/// Two scores so near one another that a difference quotient could swap them.
bool has_near_scores(const LossCase<double>& c) {
  for (const PlainToken& token : c.plain()) {
    naive::Row sorted = token.score;
    std::sort(sorted.begin(), sorted.end());
    for (std::size_t e = 1; e < sorted.size(); ++e) {
      if (sorted[e] - sorted[e - 1] < 1e-4) return true;
    }
  }
  return false;
}

/// Scores become sigmoids: no distribution.
void use_sigmoid(LossCase<double>& c) {
  for (Index t = 0; t < c.logits.rows(); ++t) {
    for (Index e = 0; e < c.logits.cols() && !c.batch.is_padding(t); ++e) {
      c.routing.scores(t, e) = 1 / (1 + std::exp(-c.logits(t, e)));
    }
  }
}

}  // namespace

TEST_CASE("the Switch loss as a share of choices is E / K sum count P / T", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    c.check(moe::SwitchLoss{0.3}, [](const PlainTokens& tokens, double experts) {
      const auto t = static_cast<double>(tokens.size());
      const auto k = static_cast<double>(tokens[0].choice.size());
      return 0.3 * experts / (k * t) *
             dot(choices_of(tokens, experts), mean_score(tokens, experts));
    });
  });
}

TEST_CASE("the Switch loss as a share of tokens is K times that", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    const moe::SwitchLoss loss{0.3, {.share = ShareOf::tokens}};
    c.check(loss, [](const PlainTokens& tokens, double experts) {
      // flaxformer: mean_e(union_e P_e) E^2, the union of the one-hot choices of a token
      naive::Row density(static_cast<std::size_t>(experts), 0.0);
      for (const PlainToken& token : tokens) {
        for (std::size_t e = 0; e < density.size(); ++e) {
          const bool any = std::count(token.choice.begin(), token.choice.end(), e) > 0;
          density[e] += (any ? 1 : 0) / static_cast<double>(tokens.size());
        }
      }
      return 0.3 * experts * dot(density, mean_score(tokens, experts));
    });
  });
}

TEST_CASE("the Switch loss of first choices is GShard's with one group", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    const auto formula = [](const PlainTokens& tokens, double experts) {
      const auto t = static_cast<double>(tokens.size());
      const double mean =
          dot(choices_of(tokens, experts, 1), mean_score(tokens, experts)) / (t * experts);
      return 0.3 * experts * experts * mean;
    };
    c.check(moe::SwitchLoss{0.3, {.share = ShareOf::first_choices}}, formula);
    c.check(moe::GShardLoss{0.3}, formula);
  });
}

TEST_CASE("the GShard loss is the mean of its groups'", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    for (const Index size : {1, 2, 3, 100}) {
      c.check(moe::GShardLoss{0.3, size}, [&](const PlainTokens& tokens, double experts) {
        std::map<std::size_t, PlainTokens> groups;
        for (const PlainToken& token : tokens) {
          groups[token.index / static_cast<std::size_t>(size)].push_back(token);
        }
        double sum = 0;
        for (const auto& [g, own] : groups) {
          sum += experts * dot(choices_of(own, experts, 1), mean_score(own, experts)) /
                 static_cast<double>(own.size());
        }
        return 0.3 * sum / static_cast<double>(groups.size());
      });
    }
  });
}

TEST_CASE("a GShard group of negative size is refused", "[loss]") {
  LossCase<double> c(random_matrix<double>(3, 4, 1), 2);
  CHECK(sentence_of([&] {
          c.value_of(moe::GShardLoss{1, -2});
        }) == "moe::GShardLoss: group_size is -2, expected at least 0");
}

TEST_CASE("choices can be counted without the selection bias", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    const auto unbiased = c.plain();
    choose_the_worst(c);
    c.tied = has_near_scores(c);
    const moe::SwitchLoss loss{0.3, {.chosen = ChosenBy::scores}};
    c.check(loss, [&](const PlainTokens& tokens, double experts) {
      return 0.3 * experts / total(choices_of(unbiased, experts)) *
             dot(choices_of(unbiased, experts), mean_score(tokens, experts));
    });
  });
}

TEST_CASE("scores that are no distribution can be normalised", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    use_sigmoid(c);
    const moe::SwitchLoss loss{0.3, {.scores = ScoresAs::normalized}};
    c.check(loss, [](PlainTokens tokens, double experts) {
      for (PlainToken& token : tokens) {
        const double sum = total(token.score);
        for (double& s : token.score) s /= sum;
      }
      const naive::Row count = choices_of(tokens, experts);
      return 0.3 * experts / total(count) * dot(count, mean_score(tokens, experts));
    });
  });
}

// Megatron-LM#1545: with sum + 1e-20 below the line, driving all sigmoids to 0 lowers the loss.
TEST_CASE("normalised scores gain nothing by vanishing together", "[loss]") {
  for (const double size : {1.0, 1e-10, 1e-25, 1e-35, 0.0}) {
    LossCase<double> c(random_matrix<double>(4, 4, 3), 1);
    c.routing.scores.eigen().setConstant(size);
    CHECK(c.value_of(moe::SwitchLoss{1, {.scores = ScoresAs::normalized}}) == Approx(1));
    CHECK(c.gradients_are_finite());
  }
  Matrix<float> logits = random_matrix<float>(4, 512, 3);
  LossCase<float> tiny(logits, 1);
  tiny.routing.scores.eigen().setConstant(1e-32F);
  CHECK(tiny.value_of(moe::SwitchLoss{1, {.scores = ScoresAs::normalized}}) == Approx(1));
  CHECK(tiny.gradients_are_finite());
}

// Hugging Face's Mixtral, transformers#45120: the loss applied softmax to probabilities.
TEST_CASE("no loss on scores applies a second softmax", "[loss]") {
  LossCase<double> c(Matrix<double>::Zero(2, 2), 1);
  c.routing.scores(0, 0) = c.routing.scores(1, 0) = 0.75;
  c.routing.scores(0, 1) = c.routing.scores(1, 1) = 0.25;
  CHECK(c.value_of(moe::SwitchLoss{1}) == Approx(2 * 0.75));  // both tokens chose expert 0
  CHECK(c.value_of(moe::GShardLoss{1}) == Approx(2 * 0.75));
}

// transformers#28021, maxtext#1433: P over the softmax of the chosen scores alone.
TEST_CASE("P is a mean over all experts, not over the chosen ones", "[loss]") {
  LossCase<double> c(random_matrix<double>(5, 4, 1), 2);
  c.value_of(moe::SwitchLoss{1});
  const naive::Row count = choices_of(c.plain(), 4);
  for (Index t = 0; t < 5; ++t) {
    for (Index e = 0; e < 4; ++e) {
      CHECK(c.dscores(t, e) == Approx(4 * count[static_cast<std::size_t>(e)] / 50));
    }
  }
}

// transformers#43688: without 1 / K the balanced value is K.
TEST_CASE("the balanced value is 1, and K only where the form says so", "[loss]") {
  for (const Index k : {1, 2, 5}) {
    LossCase<double> c(Matrix<double>::Zero(10, 5), k);
    for (Index t = 0; t < 10; ++t) {
      for (Index j = 0; j < k; ++j) c.routing.expert(t, j) = static_cast<std::int32_t>((t + j) % 5);
    }
    CHECK(c.value_of(moe::SwitchLoss{1}) == Approx(1));
    CHECK(c.value_of(moe::SwitchLoss{1, {.share = ShareOf::tokens}}) ==
          Approx(static_cast<double>(k)));
    CHECK(c.value_of(moe::SwitchLoss{1, {.share = ShareOf::first_choices}}) == Approx(1));
    CHECK(c.value_of(moe::GShardLoss{1}) == Approx(1));
    CHECK(c.value_of(moe::GShardLoss{1, 5}) == Approx(1));
  }
}

// FastMoE: top-k with sorted=False, column 0 then being any of the choices.
TEST_CASE("the first choice is the best one", "[loss]") {
  Matrix<double> logits(1, 4);
  logits << 1, 2, 4, 3;
  LossCase<double> c(logits, 3);
  c.value_of(moe::GShardLoss{1});
  CHECK(c.dscores(0, 2) == Approx(4));
  CHECK(c.dscores(0, 3) == 0);
}

// Mesh TensorFlow's _switch_gating counts padding in f; lucidrains divides P by all tokens.
TEST_CASE("padding counts in no part of any f P loss", "[loss]") {
  const Matrix<double> logits = random_matrix<double>(3, 4, 4);
  Matrix<double> padded = Matrix<double>::Constant(5, 4, std::nan(""));
  padded.topRows(2) = logits.topRows(2);
  padded.row(3) = logits.row(2);
  LossCase<double> plain(logits, 2), masked(padded, 2, {1, 1, 0, 1, 0});
  masked.routing.scores.eigen().row(2).setConstant(std::nan(""));
  for (const ShareOf share : {ShareOf::choices, ShareOf::tokens, ShareOf::first_choices}) {
    for (const ChosenBy chosen : {ChosenBy::gate, ChosenBy::scores}) {
      for (const ScoresAs scores : {ScoresAs::given, ScoresAs::normalized}) {
        const moe::SwitchLoss loss{1, {share, chosen, scores}};
        CHECK(plain.value_of(loss) == masked.value_of(loss));
        CHECK(masked.dscores.row(3) == plain.dscores.row(2));
        CHECK(masked.dscores.row(2).isZero(0));
      }
    }
  }
}

TEST_CASE("the best scores are those that sorting puts first", "[loss]") {
  const double nan = std::nan("");
  const std::vector<naive::Row> rows{{1, 3, 2}, {2, 2, 2}, {nan, 1, nan, 0}, {-0.0, 0.0, 1}, {5}};
  const std::vector<std::vector<Index>> expected{
      {1, 2, 0}, {0, 1, 2}, {1, 3, 0, 2}, {2, 0, 1}, {0}};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Index experts = std::ssize(rows[i]);
    for (Index k = 1; k <= experts + 1; ++k) {  // one place more than experts
      moe::Routing<double> routing;
      routing.resize(1, k, experts);
      std::copy(rows[i].begin(), rows[i].end(), routing.scores.row(0));
      const moe::LossInput<double> in{
          .logits = routing.scores, .routing = routing, .plan = {}, .batch = {}};
      std::vector<std::int32_t> best(static_cast<std::size_t>(k));
      std::vector<Index> chosen;
      moe::detail::for_choices(
          in, 0, {.chosen = ChosenBy::scores}, [&](Index e) { chosen.push_back(e); }, best.data());
      const auto last = expected[i].begin() + std::min(k, experts);
      CHECK(chosen == std::vector<Index>(expected[i].begin(), last));
    }
  }
}

// One pass over the experts for each of the K choices once took twenty times the rest of the loss.
TEST_CASE("the best scores are found without a pass for each of them", "[loss]") {
  constexpr Index kT = 16, kE = 128, kK = 8;
  const Matrix<double> scores = random_matrix<double>(kT, kE, 1);
  moe::Routing<CountedReads> routing;
  routing.resize(kT, kK, kE);
  for (Index i = 0; i < scores.size(); ++i) routing.scores.data()[i].value = scores.data()[i];
  moe::LossGradient<CountedReads> gradient{routing.scores, routing.scores};
  const moe::LossInput<CountedReads> in{
      .logits = routing.scores, .routing = routing, .plan = {}, .batch = {}};
  const auto reads_of = [&](ChosenBy chosen) {
    CountedReads::reads = 0;
    moe::SwitchLoss{1, {.chosen = chosen}}(in, gradient);
    return CountedReads::reads;
  };
  for (Index t = 0; t < kT; ++t) std::fill_n(routing.expert.row(t), kK, 0);
  const Index rest = reads_of(ChosenBy::gate);
  CHECK(reads_of(ChosenBy::scores) - rest < 8 * kT * kE);
}

}  // namespace moe_test
