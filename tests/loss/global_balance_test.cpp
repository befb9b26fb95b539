// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/global_balance.hpp"

#include "loss/losses.hpp"
#include "moe/loss/switch.hpp"

namespace moe_test {

using moe::BalanceCounts;
using moe::GlobalBalanceLoss;
using moe::ShareOf;

TEST_CASE("the global loss is E sum F P with F from all counts", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    const Index e = c.logits.cols(), k = c.routing.top_k();
    LossCase<double> earlier(random_matrix<double>(9, e, 77), k, {1, 1, 0, 1, 1, 1, 0, 1, 1});
    BalanceCounts counts;
    counts.add(earlier.plan, earlier.batch);
    counts.add(c.plan, c.batch);
    CHECK(counts.tokens == 7 + static_cast<Index>(c.plain().size()));
    for (const ShareOf share : {ShareOf::choices, ShareOf::tokens}) {
      const GlobalBalanceLoss loss{0.3, &counts, share};
      c.check(loss, [&](const PlainTokens& tokens, double experts) {
        naive::Row count = choices_of(tokens, experts);
        const naive::Row before = choices_of(earlier.plain(), experts);
        for (std::size_t i = 0; i < count.size(); ++i) count[i] += before[i];
        const double below =
            share == ShareOf::choices ? total(count) : static_cast<double>(tokens.size() + 7);
        return 0.3 * experts * dot(count, mean_score(tokens, experts)) / below;
      });
    }
  });
}

// Megatron-LM#7213: accumulated counts over the token count of the current micro-batch.
TEST_CASE("global counts are divided by their own tokens", "[loss]") {
  LossCase<double> large(Matrix<double>::Zero(12, 4), 1), small(Matrix<double>::Zero(4, 4), 1);
  for (Index t = 0; t < 12; ++t) large.routing.expert(t, 0) = static_cast<std::int32_t>(t % 4);
  for (Index t = 0; t < 4; ++t) small.routing.expert(t, 0) = static_cast<std::int32_t>(t % 4);
  make_plan(large.routing, {}, large.batch, large.plan);
  make_plan(small.routing, {}, small.batch, small.plan);
  BalanceCounts counts;
  for (int step = 0; step < 5; ++step) {
    LossCase<double>& c = step % 2 == 0 ? large : small;
    counts.add(c.plan, c.batch);
    CHECK(c.value_of(GlobalBalanceLoss{0.3, &counts}) == Approx(0.3));
    CHECK(c.value_of(GlobalBalanceLoss{0.3, &counts, ShareOf::tokens}) == Approx(0.3));
  }
  counts.clear();
  CHECK(counts.tokens == 0);
  CHECK(small.value_of(GlobalBalanceLoss{0.3, &counts}) == 0);
}

TEST_CASE("the global loss of one micro-batch is the Switch loss", "[loss]") {
  LossCase<double> c(random_matrix<double>(6, 5, 1), 2, {1, 1, 0, 1, 1, 1});
  BalanceCounts counts;
  counts.add(c.plan, c.batch);
  CHECK(c.value_of(GlobalBalanceLoss{0.3, &counts}) == Approx(c.value_of(moe::SwitchLoss{0.3})));
}

// transformers#28255, #31464: over the layers' concatenated tokens opposite imbalances cancel. Ours
// are per layer; the pooled definition is there when it is wanted.
TEST_CASE("layers are balanced one by one, or pooled through shared counts", "[loss]") {
  Matrix<double> logits(4, 2);
  logits << 20, 0, 20, 0, 20, 0, 20, 0;
  LossCase<double> first(logits, 1), second(-logits, 1);
  CHECK(first.value_of(moe::SwitchLoss{1}) == Approx(2));
  CHECK(second.value_of(moe::SwitchLoss{1}) == Approx(2));
  BalanceCounts counts;
  counts.add(first.plan, first.batch);
  counts.add(second.plan, second.batch);
  const GlobalBalanceLoss pooled{1, &counts};
  CHECK((first.value_of(pooled) + second.value_of(pooled)) / 2 == Approx(1));

  // Hugging Face's load_balancing_loss_func: E sum_{slot, e} mean onehot * mean p, layers joined.
  LossCase<double> a(random_matrix<double>(5, 4, 1), 2), b(random_matrix<double>(5, 4, 2), 2);
  PlainTokens joined = a.plain();
  for (const PlainToken& token : b.plain()) joined.push_back(token);
  const double expected = 4 * dot(choices_of(joined, 4), mean_score(joined, 4)) / 10;
  BalanceCounts both;
  both.add(a.plan, a.batch);
  both.add(b.plan, b.batch);
  const GlobalBalanceLoss like_hf{1, &both, ShareOf::tokens};
  CHECK((a.value_of(like_hf) + b.value_of(like_hf)) / 2 == Approx(expected));
}

TEST_CASE("global counts that are missing or of another layer are refused", "[loss]") {
  LossCase<double> c(random_matrix<double>(3, 4, 1), 2), other(random_matrix<double>(3, 5, 1), 2);
  BalanceCounts empty, counts;
  counts.add(other.plan, other.batch);
  const auto sentence = [&](const GlobalBalanceLoss& loss) {
    return sentence_of([&] { c.value_of(loss); });
  };
  const char* nothing =
      "moe::GlobalBalanceLoss: counts is empty, expected BalanceCounts::add before the loss";
  CHECK(sentence({}) == nothing);
  CHECK(sentence({1, &empty}) == nothing);
  CHECK(sentence({1, &counts}) == "moe::GlobalBalanceLoss: counts has 5 experts, the layer's is 4");
  CHECK(sentence({1, &counts, ShareOf::first_choices}) ==
        "moe::GlobalBalanceLoss: share is first_choices, expected choices or tokens");
  CHECK(sentence_of([&] { counts.add(c.plan, c.batch); }) ==
        "moe::BalanceCounts::add: the plan has 4 experts, the number counted so far is 5");
  const std::vector<std::uint8_t> mask(2, 1);
  CHECK(sentence_of([&] { empty.add(c.plan, {.mask = mask}); }) ==
        "moe::BalanceCounts::add: mask has 2 values, the number of tokens is 3");
  CHECK(empty.choices.empty());
}

}  // namespace moe_test
