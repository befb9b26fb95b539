// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Blocks and stacks: the same bits over threads and batches, edges, NaN, misuse.
#include "block/block_checks.hpp"
#include "kernel/ffn_problem.hpp"
#include "moe/block/ffn_layer.hpp"
#include "moe/block/stack.hpp"
#include "moe/block/transformer_block.hpp"
#include "moe/expert/constant.hpp"

namespace moe_test {
namespace {

using Moe = moe::MoeLayer<float>;
using Dense = moe::TransformerBlock<float, moe::FfnLayer<float>>;
using Sparse = moe::TransformerBlock<float, Moe>;
using Stack = moe::BlockStack<float, Dense, Sparse>;

Stack::Config config(Index d, Index h) {
  const moe::Attention<float>::Config attention{.model_dim = d, .num_heads = 2};
  return {.interleave = {.blocks = 2},
          .dense = {.attention = attention, .ffn = {.model_dim = d, .hidden_dim = h}},
          .sparse = {.attention = attention,
                     .ffn = {.model_dim = d, .hidden_dim = h, .num_experts = 5, .top_k = 2}}};
}

constexpr auto kLosses = [](auto& tape) {
  return static_cast<double>(tape.add_loss(moe::SwitchLoss{0.3}));
};

}  // namespace

TEST_CASE("a stack gives the same bits on any number of threads", "[block][bitwise]") {
  Stack stack(config(40, 50), 3);
  check_threads<float>(stack, padded({90, 1, 70, 0, 30}, 1), kLosses);
  check_threads<float>(stack, {{100}}, kLosses);
  check_threads<float>(stack, {{2}}, kLosses);
}

TEST_CASE("a stack keeps sequences apart", "[block][bitwise]") {
  Stack stack(config(10, 7), 3);
  check_sequences_apart<float>(stack, {{70, 3, 9, 1}});
  check_sequences_apart<float>(stack, padded({70, 3, 9, 1}, 1));
  check_nan_stays<float>(stack, {5, 0, 70, 3});
  check_edges<float>(stack);
}

TEST_CASE("the parts of a block keep sequences apart", "[block][bitwise]") {
  moe::FfnLayer<float> ffn({.model_dim = 6, .hidden_dim = 5}, 3);
  check_sequences_apart<float>(ffn, padded({7, 3}, 1));
  check_nan_stays<float>(ffn, {5, 3});
  check_edges<float>(ffn);
  moe::Residual<float, Moe, moe::LayerNorm<float>> residual{
      Moe({.model_dim = 6, .hidden_dim = 5, .num_experts = 3, .top_k = 2}, 3)};
  check_sequences_apart<float>(residual, padded({7, 3}, 1));
  check_nan_stays<float>(residual, {5, 3});
  check_edges<float>(residual);
}

TEST_CASE("one stack serves several threads at once, each with its own workspace",
          "[block][bitwise]") {
  const Stack stack(config(10, 7), 3);
  const Matrix<float> x = random_matrix<float>(30, 10, 1), expected = infer(stack, x, {});
  Threads threads(3);
  std::vector<Matrix<float>> y(3);
  threads.run([&](Index i) { y[static_cast<std::size_t>(i)] = infer(stack, x, {}); });
  for (const auto& result : y) CHECK(same_bits(result, expected));
}

TEST_CASE("a stack gives the same bits on any instruction set", "[block][bitwise]") {
  Stack stack(config(20, 18), 3);
  const Rows rows = padded({70, 5, 33}, 2);
  const Matrix<float> x = random_matrix<float>(rows.tokens(), 20, 1);
  const auto run = [&](moe::Isa isa) {
    const UseIsa use(isa);
    Stack::Tape tape;
    return step_of(stack, x, x, tape, rows.batch(), kLosses);
  };
  const Step<float> scalar = run(moe::Isa::scalar);
  for (const moe::Isa isa : moe::available_isas()) {
    INFO(std::string(moe::isa_name(isa)));
    CHECK(same_bits(run(isa), scalar));
  }
}

TEST_CASE("the threads of a stack reach every part", "[block]") {
  Stack stack(config(6, 5), 3);
  const Matrix<float> x = random_matrix<float>(9, 6, 1);
  Matrix<float> y(9, 6), dx(9, 6);
  Stack::Workspace workspace;
  Stack::Tape tape;
  const auto check = [](auto& memory, Index size) {
    CHECK(memory.dense[0].attention.layer.executor.size() == size);
    CHECK(memory.dense[0].ffn.layer.executor.size() == size);
    CHECK(memory.sparse[0].attention.layer.executor.size() == size);
    CHECK(memory.sparse[0].ffn.layer.executor.size() == size);
  };
  Threads three(3);
  for (const moe::ExecutorRef& threads : {moe::ExecutorRef(), moe::ExecutorRef(three)}) {
    workspace.executor = tape.executor = threads;
    stack.forward(x, y, workspace);
    stack.forward(x, y, tape);
    check(workspace, threads.size());
    check(tape, threads.size());
    Threads two(2);  // others for backward
    tape.executor = two;
    stack.backward(x, dx, tape);
    check(tape, 2);
  }
}

TEST_CASE("a tape moves with what it holds", "[block]") {
  Stack stack(config(6, 5), 3);
  const Rows rows = padded({4, 5}, 1);
  const Matrix<float> x = random_matrix<float>(9, 6, 1);
  Stack::Tape tape;
  const auto expected = step_of(stack, x, x, tape, rows.batch(), kLosses);
  Matrix<float> y(9, 6), dx(9, 6);
  moe::zero_grad(stack);
  stack.forward(x, y, tape, rows.batch());
  kLosses(tape);
  Stack::Tape moved = std::move(tape);
  Stack other = std::move(stack);
  other.backward(x, dx, moved);
  CHECK(same_bits(dx, expected.dx));
  CHECK_THAT(sentence_of([&] { other.backward(x, dx, tape); }),
             ContainsSubstring("the tape is empty"));
}

TEST_CASE("blocks say what is wrong, and write nothing", "[block]") {
  using Residual = moe::Residual<float, Moe>;
  const auto moe_of = [](Index d) {
    return Moe({.model_dim = d, .hidden_dim = 5, .num_experts = 3, .top_k = 2}, 3);
  };
  const auto attention = [](Index d) { return moe::Attention<float>({.model_dim = d}); };
  CHECK(sentence_of([&] { Residual(moe::RmsNorm<float>(5), moe_of(6)); }) ==
        "moe::Residual: the norm has 5 values, the layer's model_dim is 6");
  CHECK(sentence_of([&] { Sparse(attention(5), moe_of(6)); }) ==
        "moe::TransformerBlock: the attention has 5 columns, the ffn's model_dim is 6");
  CHECK(sentence_of([&] { moe::FfnLayer<float>(5, moe::GatedFfn<float>()); }) ==
        "moe::FfnLayer: the expert has 0 columns, the layer's model_dim is 5");
  moe::Random random(1);
  const moe::ConstantExpert<float> narrow({.model_dim = 3}, {}, random);
  CHECK(sentence_of([&] { moe::FfnLayer<float, moe::ConstantExpert<float>>(6, narrow); }) ==
        "moe::FfnLayer: mix is [2, 3], expected [2, 6]");
  CHECK(sentence_of([&] { Stack(config(6, 0)); }) ==
        "moe::FfnExpert: hidden_dim is 0, expected at least 1");
  Stack::Config wrong = config(6, 5);
  wrong.interleave.every = 0;
  CHECK(sentence_of([&] { Stack{wrong}; }) ==
        "moe::BlockStack: interleave.every is 0, expected at least 1");
  CHECK(sentence_of([&] { Stack({.blocks = 2}, {}, {}); }) ==
        "moe::BlockStack: sparse has 0 blocks, the interleaving's number is 1");
  std::vector<Dense> dense;
  dense.emplace_back(attention(4), moe::FfnLayer<float>({.model_dim = 4, .hidden_dim = 3}));
  std::vector<Sparse> sparse;
  sparse.emplace_back(attention(6), moe_of(6));
  CHECK(sentence_of([&] { Stack({.blocks = 2}, dense, sparse); }) ==
        "moe::BlockStack: a dense block has 4 columns, the stack's model_dim is 6");

  Stack stack(config(6, 5), 3);
  Stack::Tape tape;
  Matrix<float> x = random_matrix<float>(4, 6, 1), y = Matrix<float>::Constant(4, 6, 9), dx = y;
  const Lengths lengths{3, 2};
  CHECK(
      sentence_of([&] { stack.forward(x, y, tape, {.sequence_lengths = lengths}); }) ==
      "moe::BlockStack::forward: the sum of sequence_lengths has 5 tokens, the number of rows of x "
      "is 4");
  const Mask mask(3, 1);
  CHECK(sentence_of([&] { stack.forward(x, y, tape, {.mask = mask}); }) ==
        "moe::BlockStack::forward: mask has 3 values, the number of tokens is 4");
  CHECK(sentence_of([&] { stack.backward(x, y, tape); }) ==
        "moe::BlockStack::backward: the tape is empty, expected one training forward before each "
        "backward");
  stack.sparse()[0].ffn().expert(1).w_in.value.resize(2, 2);
  CHECK_THAT(sentence_of([&] { stack.forward(x, y, tape); }), ContainsSubstring("moe::"));
  CHECK((y.array() == 9).all());
  Stack whole(config(6, 5), 3);
  whole.forward(x, y, tape);
  whole.sparse()[0].ffn_part().norm().gain.value.resize(1, 2);
  CHECK_THAT(sentence_of([&] { whole.backward(x, dx, tape); }),
             ContainsSubstring("moe::Residual::backward: the norm"));
  CHECK((dx.array() == 9).all());
}

TEST_CASE("a block replaced since the forward stops the backward before anything changes",
          "[block]") {
  const Matrix<float> x = random_matrix<float>(4, 6, 1);
  Matrix<float> y(4, 6), dx = Matrix<float>::Constant(4, 6, 9);
  const auto check = [&](auto&& replace) {
    Stack stack(config(6, 5), 3);
    Stack::Tape tape;
    stack.forward(x, y, tape);
    replace(stack);
    CHECK_THAT(sentence_of([&] { stack.backward(x, dx, tape); }),
               ContainsSubstring("::backward: "));
    stack.visit_parameters([](std::string_view, auto& p) { CHECK(p.grad.size() == 0); });
    CHECK((dx.array() == 9).all());
  };
  const Stack other(config(6, 5), 4);
  check([&](Stack& stack) { stack.dense()[0] = other.dense()[0]; });
  check([&](Stack& stack) { stack.sparse()[0] = other.sparse()[0]; });
  check([&](Stack& stack) { stack.sparse()[0].attention() = other.sparse()[0].attention(); });
  check([&](Stack& stack) { stack.sparse()[0].attention().w_q.value.resize(2, 2); });
}

TEST_CASE("a stack refuses a number of blocks that its interleaving does not have", "[block]") {
  Stack stack(config(6, 5), 3);
  Stack::Tape tape;
  const Matrix<float> x = random_matrix<float>(4, 6, 1);
  Matrix<float> y = Matrix<float>::Constant(4, 6, 9), dx = y;
  const Sparse removed = stack.sparse().back();
  stack.sparse().pop_back();
  CHECK(sentence_of([&] { stack.forward(x, y, tape); }) ==
        "moe::BlockStack::forward: sparse has 0 blocks, the interleaving's number is 1");
  stack.dense().clear();
  CHECK_THAT(sentence_of([&] { stack.forward(x, y, tape); }), ContainsSubstring("moe::BlockStack"));
  CHECK((y.array() == 9).all());

  Stack longer(config(6, 5), 3);
  longer.forward(x, y, tape);
  longer.sparse().push_back(removed);
  CHECK(sentence_of([&] { longer.backward(x, dx, tape); }) ==
        "moe::BlockStack::backward: sparse has 2 blocks, the interleaving's number is 1");
  CHECK((dx.array() == 9).all());
}

}  // namespace moe_test
