// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/supervised_routing.hpp"

#include "loss/losses.hpp"

namespace moe_test {
namespace {

using Labels = Matrix<std::int32_t>;

/// Labels of every kind: none, one, the same twice.
Labels labels_for(Index tokens, Index count, Index experts) {
  Labels labels(tokens, count);
  for (Index t = 0; t < tokens; ++t) {
    for (Index j = 0; j < count; ++j) {
      labels(t, j) = static_cast<std::int32_t>((t * 5 + j * 3) % (experts + 1)) - 1;
    }
  }
  return labels;
}

}  // namespace

TEST_CASE("supervised routing is cross-entropy over the labelled tokens", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    for (const Index count : {0, 1, 3}) {
      const Labels labels = labels_for(c.logits.rows(), count, c.logits.cols());
      c.check(moe::SupervisedRoutingLoss{0.3, labels}, [&](const PlainTokens& tokens, double) {
        double sum = 0, labelled = 0;
        for (const PlainToken& token : tokens) {
          const naive::Row p = naive::softmax(token.logit, 1);
          double own = 0, loss = 0;
          for (Index j = 0; j < count; ++j) {
            const std::int32_t e = labels(static_cast<Index>(token.index), j);
            if (e < 0) continue;
            own += 1;
            loss -= std::log(p[static_cast<std::size_t>(e)]);
          }
          if (own == 0) continue;
          labelled += 1;
          sum += loss / own;
        }
        return labelled == 0 ? 0 : 0.3 * sum / labelled;
      });
    }
  });
}

TEST_CASE("supervised routing takes a recorded routing, and log E when undecided", "[loss]") {
  LossCase<double> c(Matrix<double>::Zero(4, 5), 2);
  CHECK(c.value_of(moe::SupervisedRoutingLoss{2, c.routing.expert}) == Approx(2 * std::log(5.0)));
}

TEST_CASE("labels that do not fit are refused before anything is written", "[loss]") {
  LossCase<double> c(random_matrix<double>(3, 4, 1), 2, {1, 1, 0});
  Labels labels(2, 1);
  labels << 0, 1;
  const auto sentence = [&] {
    const std::string text = sentence_of([&] {
      c.value_of(moe::SupervisedRoutingLoss{1, labels});
    });
    CHECK(c.dlogits.isZero(0));
    return text;
  };
  CHECK(sentence() == "moe::SupervisedRoutingLoss: labels has 2 rows, the number of tokens is 3");
  labels.resize(3, 1);
  labels << 0, 4, 0;
  CHECK(sentence() ==
        "moe::SupervisedRoutingLoss: the label of token 1 is 4, expected 0 to 3 or -1 for none");
  labels << 0, -2, 0;
  CHECK(sentence() ==
        "moe::SupervisedRoutingLoss: the label of token 1 is -2, expected 0 to 3 or -1 for none");
  labels << 0, 1, 99;  // the last token is padding
  CHECK(c.value_of(moe::SupervisedRoutingLoss{1, labels}) > 0);
}

}  // namespace moe_test
