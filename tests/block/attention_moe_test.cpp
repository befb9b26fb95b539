// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Mixture of attention heads: what it becomes in simple cases, gradients, bits, edges, misuse.
#include "moe/block/attention_moe.hpp"

#include "block/block_checks.hpp"
#include "kernel/ffn_problem.hpp"
#include "moe/block/attention.hpp"
#include "moe/gate/expert_choice.hpp"
#include "moe/loss/router_z.hpp"

namespace moe_test {
namespace {

template <class S>
using Heads = moe::AttentionMoe<S>;

template <class S>
typename Heads<S>::Config config(Index k, Index heads, bool causal = true) {
  return {.model_dim = 6,
          .num_experts = 4,
          .top_k = k,
          .head_dim = 4,
          .heads_per_expert = heads,
          .causal = causal,
          .rotary = moe::RotaryOptions{}};
}

/// The expert's heads as an attention of their own.
template <class S>
moe::Attention<S> alone(const Heads<S>& layer, Index e) {
  const auto& c = layer.config();
  moe::Attention<S> one({.model_dim = c.model_dim,
                         .num_heads = c.heads_per_expert,
                         .head_dim = c.head_dim,
                         .causal = c.causal,
                         .rotary = c.rotary});
  one.w_q = layer.expert(e).w_q;
  one.w_k = layer.w_k;
  one.w_v = layer.w_v;
  one.w_o = layer.expert(e).w_o;
  return one;
}

constexpr auto kLosses = [](auto& tape) {
  return static_cast<double>(tape.add_loss(moe::SwitchLoss{0.3})) +
         static_cast<double>(tape.add_loss(moe::RouterZLoss{0.2}));
};

}  // namespace

TEMPLATE_TEST_CASE("a mixture of heads is the weighted sum of its experts' attentions", "[block]",
                   float, double) {
  using S = TestType;
  for (const Index k : {1, 2, 4}) {
    for (const Index heads : {1, 3}) {
      for (const bool causal : {true, false}) {
        INFO(k << " of 4 experts of " << heads << " heads, causal " << causal);
        const Heads<S> layer(config<S>(k, heads, causal), 5);
        const Rows rows = padded({8, 1, 0, 70}, 2);
        const Matrix<S> x = random_matrix<S>(rows.tokens(), 6, 1);
        Matrix<S> y(x.rows(), 6);
        typename Heads<S>::Workspace workspace;
        layer.forward(x, y, workspace, rows.batch());
        Matrix<S> expected = Matrix<S>::Zero(x.rows(), 6);
        for (Index e = 0; e < 4; ++e) {
          const Matrix<S> part = infer(alone(layer, e), x, rows.batch());
          for (Index t = 0; t < x.rows(); ++t) {
            for (Index j = 0; j < k; ++j) {
              if (workspace.routing.expert(t, j) != e) continue;
              expected.row(t) += workspace.routing.weight(t, j) * part.row(t);
            }
          }
        }
        CHECK(distance(y, expected) <= 4 * tolerance<S>(20));
      }
    }
  }
}

TEST_CASE("gradients of a mixture of heads agree with differences", "[block][gradient]") {
  Heads<double> one(config<double>(2, 1), 5);
  check_gradients_of(one, {{6, 1, 4}}, kLosses, 30);
  Heads<double> several(config<double>(3, 2, false), 5);
  check_gradients_of(several, padded({6, 0, 8}, 1), kLosses, 30);
  auto tight = config<double>(2, 1);
  tight.capacity.factor = 0.7;
  Heads<double> dropping(tight, 5);
  check_gradients_of(dropping, padded({6, 8}, 2), kLosses, 30);
}

TEST_CASE("a mixture of heads takes any gate", "[block][gradient]") {
  using Layer = moe::AttentionMoe<double, moe::LinearRouter<double>, moe::ExpertChoiceGate>;
  Layer layer({.model_dim = 6, .num_experts = 3, .top_k = 2, .head_dim = 4}, 5);
  check_gradients_of(layer, {{6, 4}}, kNoLosses, 30);
}

TEMPLATE_TEST_CASE("a mixture of heads gives the same bits whatever the threads and the batch",
                   "[block][bitwise]", float, double) {
  using S = TestType;
  Heads<S> layer(config<S>(2, 2), 5);
  check_threads<S>(layer, padded({140, 1, 70, 0, 90}, 2), kLosses);
  check_threads<S>(layer, {{150}}, kLosses);
  check_sequences_apart<S>(layer, {{70, 3, 9, 1}});
  check_sequences_apart<S>(layer, padded({70, 3, 9, 1}, 2));
  check_nan_stays<S>(layer, {5, 70, 0, 3});
  check_edges<S>(layer);
}

TEST_CASE("a mixture of heads gives the same bits on any instruction set", "[block][bitwise]") {
  Heads<float> layer(config<float>(2, 2), 5);
  const Rows rows = padded({70, 5, 33}, 2);
  const Matrix<float> x = random_matrix<float>(rows.tokens(), 6, 1);
  const auto run = [&](moe::Isa isa) {
    const UseIsa use(isa);
    Heads<float>::Tape tape;
    return step_of(layer, x, x, tape, rows.batch(), kLosses);
  };
  const Step<float> scalar = run(moe::Isa::scalar);
  for (const moe::Isa isa : moe::available_isas()) {
    INFO(std::string(moe::isa_name(isa)));
    CHECK(same_bits(run(isa), scalar));
  }
}

TEST_CASE("a mixture of heads says what is wrong", "[block]") {
  using Layer = Heads<float>;
  const auto made = [](Layer::Config c, auto&& change) {
    change(c);
    return sentence_of([&] { Layer layer(c); });
  };
  const Layer::Config good = config<float>(2, 1);
  CHECK(made(good, [](auto& c) { c.head_dim = 0; }) ==
        "moe::AttentionMoe: head_dim is 0, expected at least 1");
  CHECK(made(good, [](auto& c) { c.heads_per_expert = 0; }) ==
        "moe::AttentionMoe: heads_per_expert is 0, expected at least 1");
  CHECK(
      made(good, [](auto& c) { c.head_dim = 5; }) ==
      "moe::AttentionMoe: rotary turns 5 values of a head, expected an even number up to head_dim "
      "= 5");
  CHECK(made(good, [](auto& c) { c.gate.weight_on_input = true; }) ==
        "moe::AttentionMoe: the gate weighs the experts' input, expected weights on the output");
  CHECK_THAT(made(good, [](auto& c) { c.top_k = 5; }), ContainsSubstring("top_k is 5"));

  Layer layer(good, 5);
  Layer::Tape tape;
  Matrix<float> x = random_matrix<float>(4, 6, 1), y = Matrix<float>::Constant(4, 6, 9);
  CHECK(sentence_of([&] { tape.add_loss(moe::SwitchLoss{}); }) ==
        "moe::AttentionMoe::Tape::add_loss: the tape is empty, expected a forward before");
  CHECK(sentence_of([&] { layer.backward(x, y, tape); }) ==
        "moe::AttentionMoe::backward: the tape is empty, expected one training forward before each "
        "backward");
  const Lengths lengths{3, 2};
  CHECK(
      sentence_of([&] { layer.forward(x, y, tape, {.sequence_lengths = lengths}); }) ==
      "moe::AttentionMoe::forward: the sum of sequence_lengths has 5 tokens, the number of rows of "
      "x is 4");
  layer.expert(2).w_o.value.resize(6, 3);
  CHECK(sentence_of([&] { layer.forward(x, y, tape); }) ==
        "moe::AttentionMoe::forward: an expert's w_o is [6, 3], expected [6, 4]");
  CHECK((y.array() == 9).all());
}

}  // namespace moe_test
