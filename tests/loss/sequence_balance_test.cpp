// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/sequence_balance.hpp"

#include "loss/losses.hpp"
#include "moe/loss/switch.hpp"

namespace moe_test {
namespace {

using moe::ChosenBy;
using moe::MeanOver;
using moe::ScoresAs;
using moe::SequenceBalanceLoss;
using moe::ShareOf;

/// T tokens in sequences of 3, 0, 1, 2, 2 ... tokens.
std::vector<Index> lengths_for(Index tokens) {
  std::vector<Index> lengths;
  for (Index left = tokens, n = 0; left > 0 || n < 2; ++n) {
    constexpr Index kLengths[] = {3, 0, 1, 2};
    lengths.push_back(std::min(left, kLengths[std::min<Index>(n, 3)]));
    left -= lengths.back();
  }
  return lengths;
}

/// Ids of interleaved sequences: 0 2 1 0 2 1 ...
std::vector<std::int32_t> ids_for(Index tokens) {
  std::vector<std::int32_t> ids;
  for (Index t = 0; t < tokens; ++t) {
    ids.push_back(static_cast<std::int32_t>(std::min<Index>(tokens - 1, (t * 2) % 3)));
  }
  return ids;
}

/// The sequences that have a real token.
std::vector<PlainTokens> sequences_of(const PlainTokens& tokens,
                                      const std::vector<Index>& lengths) {
  std::vector<PlainTokens> sequences;
  std::size_t begin = 0;
  for (const Index length : lengths) {
    const std::size_t end = begin + static_cast<std::size_t>(length);
    PlainTokens own;
    for (const PlainToken& t : tokens) {
      if (t.index >= begin && t.index < end) own.push_back(t);
    }
    if (!own.empty()) sequences.push_back(own);
    begin = end;
  }
  return sequences;
}

/// DeepSeek-V2: ce_e = count_e / (S K / E), sum_e ce_e mean_t p_te.
double deepseek(const PlainTokens& own, double experts) {
  const auto s = static_cast<double>(own.size());
  const auto k = static_cast<double>(own[0].choice.size());
  naive::Row ce = choices_of(own, experts);
  for (double& value : ce) value /= s * k / experts;
  return dot(ce, mean_score(own, experts));
}

}  // namespace

TEST_CASE("the sequence loss is DeepSeek-V2's seq_aux", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    const auto lengths = lengths_for(c.logits.rows());
    const SequenceBalanceLoss loss{.coefficient = 0.3, .lengths = lengths};
    c.check(loss, [&](const PlainTokens& tokens, double experts) {
      double sum = 0;
      const auto sequences = sequences_of(tokens, lengths);
      for (const PlainTokens& own : sequences) sum += deepseek(own, experts);
      return 0.3 * sum / static_cast<double>(sequences.size());
    });
  });
}

TEST_CASE("the sequence loss takes interleaved ids", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    const auto ids = ids_for(c.logits.rows());
    const SequenceBalanceLoss loss{.coefficient = 0.3, .ids = ids};
    c.check(loss, [&](const PlainTokens& tokens, double experts) {
      double sum = 0, count = 0;
      for (std::int32_t id = 0; id < 3; ++id) {
        PlainTokens own;
        for (const PlainToken& t : tokens) {
          if (ids[t.index] == id) own.push_back(t);
        }
        if (own.empty()) continue;
        sum += deepseek(own, experts);
        count += 1;
      }
      return 0.3 * sum / count;
    });
  });
}

TEST_CASE("the sequence loss is OLMo's instance form", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    const auto lengths = lengths_for(c.logits.rows());
    const SequenceBalanceLoss loss{
        .coefficient = 0.3, .lengths = lengths, .mean = MeanOver::tokens};
    c.check(loss, [&](const PlainTokens& tokens, double experts) {
      double sum = 0;
      for (const PlainTokens& own : sequences_of(tokens, lengths)) {
        sum += dot(choices_of(own, experts), mean_score(own, experts));
      }
      const auto k = static_cast<double>(tokens[0].choice.size());
      return 0.3 * experts / (k * static_cast<double>(tokens.size())) * sum;
    });
  });
}

TEST_CASE("the sequence loss is maxtext's", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    const auto lengths = lengths_for(c.logits.rows());
    const SequenceBalanceLoss loss{
        .coefficient = 0.3, .lengths = lengths, .form = {.share = ShareOf::tokens}};
    c.check(loss, [&](const PlainTokens& tokens, double experts) {
      double sum = 0;
      const auto sequences = sequences_of(tokens, lengths);
      for (const PlainTokens& own : sequences) {
        sum += dot(choices_of(own, experts), mean_score(own, experts)) /
               static_cast<double>(own.size());
      }
      return 0.3 * sum * experts / static_cast<double>(sequences.size());  // mean over b, e; E^2
    });
  });
}

TEST_CASE("the sequence loss normalises sigmoid scores as DeepSeek-V3", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    const auto before = c.plain();
    for (const PlainToken& token : before) {
      for (Index e = 0; e < c.logits.cols(); ++e) {
        const auto t = static_cast<Index>(token.index);
        c.routing.scores(t, e) = 1 / (1 + std::exp(-c.logits(t, e)));
      }
    }
    const auto lengths = lengths_for(c.logits.rows());
    const SequenceBalanceLoss loss{
        .coefficient = 0.3, .lengths = lengths, .form = {.scores = ScoresAs::normalized}};
    c.check(loss, [&](PlainTokens tokens, double experts) {
      for (PlainToken& token : tokens) {
        const double sum = total(token.score);
        for (double& s : token.score) s /= sum;
      }
      double sum = 0;
      const auto sequences = sequences_of(tokens, lengths);
      for (const PlainTokens& own : sequences) sum += deepseek(own, experts);
      return 0.3 * sum / static_cast<double>(sequences.size());
    });
  });
}

TEST_CASE("one sequence is the Switch loss", "[loss]") {
  LossCase<double> c(random_matrix<double>(6, 5, 1), 2);
  const std::vector<Index> lengths{6};
  CHECK(c.value_of(SequenceBalanceLoss{.coefficient = 0.3, .lengths = lengths}) ==
        c.value_of(moe::SwitchLoss{0.3}));
}

// Hugging Face pools all layers, Megatron's seq_aux saw counts after capacity (#1513).
TEST_CASE("opposite imbalances of two sequences do not cancel", "[loss]") {
  Matrix<double> logits = Matrix<double>::Zero(4, 2);
  logits.col(0).head(2).setConstant(20);
  logits.col(1).tail(2).setConstant(20);
  LossCase<double> c(logits, 1, {}, {.factor = 0.5});
  const std::vector<Index> lengths{2, 2};
  CHECK(c.value_of(moe::SwitchLoss{1}) == Approx(1));
  CHECK(c.value_of(SequenceBalanceLoss{.coefficient = 1, .lengths = lengths}) == Approx(2));
}

TEST_CASE("sequences that do not fit are refused before anything is written", "[loss]") {
  LossCase<double> c(random_matrix<double>(4, 3, 1), 2);
  const std::vector<Index> short_lengths{2, 1}, negative{5, -1}, fits{4};
  const std::vector<std::int32_t> few{0, 0, 1}, large{0, 0, 4, 0}, below{0, -1, 0, 0};
  const auto sentence = [&](const SequenceBalanceLoss& loss) {
    const std::string text = sentence_of([&] { c.value_of(loss); });
    CHECK(c.dscores.isZero(0));
    return text;
  };
  CHECK(sentence({.lengths = short_lengths}) ==
        "moe::SequenceBalanceLoss: the sum of lengths has 3 tokens, the batch is 4");
  CHECK(sentence({.lengths = negative}) ==
        "moe::SequenceBalanceLoss: a length is -1, expected at least 0");
  CHECK(sentence({.ids = few}) ==
        "moe::SequenceBalanceLoss: ids has 3 values, the number of tokens is 4");
  CHECK(sentence({.ids = large}) ==
        "moe::SequenceBalanceLoss: a sequence id is 4, expected 0 to 3");
  CHECK(sentence({.ids = below}) ==
        "moe::SequenceBalanceLoss: a sequence id is -1, expected 0 to 3");
  CHECK(
      sentence({}) ==
      "moe::SequenceBalanceLoss: lengths has 0 values and ids has 0, expected exactly one of them");
  CHECK(
      sentence({.lengths = fits, .ids = large}) ==
      "moe::SequenceBalanceLoss: lengths has 1 values and ids has 4, expected exactly one of them");
}

}  // namespace moe_test
