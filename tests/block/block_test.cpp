// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The residual block, the dense FFN as a layer, the transformer block and stacks of blocks: what they
// compute, gradients, losses that reach every router.
#include "block/block_checks.hpp"
#include "block/naive_block.hpp"
#include "moe/block/ffn_layer.hpp"
#include "moe/block/stack.hpp"
#include "moe/block/transformer_block.hpp"

namespace moe_test {
namespace {

template <class S>
using Moe = moe::MoeLayer<S>;
template <class S>
using Dense = moe::TransformerBlock<S, moe::FfnLayer<S>>;
template <class S>
using Sparse = moe::TransformerBlock<S, Moe<S>>;
template <class S>
using Stack = moe::BlockStack<S, Dense<S>, Sparse<S>>;

template <class S>
typename Moe<S>::Config moe_config(std::optional<double> capacity = {}) {
  return {.model_dim = 6,
          .hidden_dim = 5,
          .num_experts = 4,
          .top_k = 2,
          .capacity = {.factor = capacity}};
}
template <class S>
typename moe::Attention<S>::Config attention_config() {
  return {
      .model_dim = 6, .num_heads = 2, .num_kv_heads = 1, .rotary = moe::RotaryOptions{.dims = 2}};
}
template <class S>
Sparse<S> sparse_block(std::optional<double> capacity = {}) {
  return Sparse<S>({.attention = attention_config<S>(), .ffn = moe_config<S>(capacity)}, 3);
}
template <class S>
Stack<S> stack_of(const moe::Interleave& interleave) {
  return Stack<S>(
      {.interleave = interleave,
       .dense = {.attention = attention_config<S>(), .ffn = {.model_dim = 6, .hidden_dim = 7}},
       .sparse = {.attention = attention_config<S>(), .ffn = moe_config<S>()}},
      4);
}

constexpr auto kLosses = [](auto& tape) {
  return static_cast<double>(tape.add_loss(moe::SwitchLoss{0.3})) +
         static_cast<double>(tape.add_loss(moe::RouterZLoss{0.2}));
};

}  // namespace

TEST_CASE("blocks and stacks are layers", "[block]") {
  STATIC_REQUIRE(moe::Layer<moe::FfnLayer<float>, float>);
  STATIC_REQUIRE(moe::Layer<Dense<double>, double>);
  STATIC_REQUIRE(moe::RoutedLayer<Sparse<double>, double>);
  STATIC_REQUIRE(moe::RoutedLayer<Stack<double>, double>);
  STATIC_REQUIRE_FALSE(moe::RoutedLayer<Dense<double>, double>);
  STATIC_REQUIRE_FALSE(moe::RoutedLayer<moe::BlockStack<float, Dense<float>, Dense<float>>, float>);
}

TEMPLATE_TEST_CASE("a residual block is x + layer(norm(x))", "[block]", float, double) {
  using S = TestType;
  const moe::Residual<S, Moe<S>> block{Moe<S>(moe_config<S>(), 3)};
  const Rows rows = padded({7, 4}, 1);
  const Matrix<S> x = random_matrix<S>(11, 6, 1);
  naive::Table normed;
  for (const naive::Row& row : to_table(x)) {
    normed.push_back(naive::norm(row, naive::Row(6, 1), {}, false, 1e-5));
  }
  const naive::Result inner = naive::forward(to_naive_layer(block.layer()), normed);
  Matrix<double> expected = to_matrix(inner.y, 6) + x.template cast<double>();
  for (Index t = 0; t < 11; ++t) {
    if (rows.mask[static_cast<std::size_t>(t)] == 0) expected.row(t).setZero();
  }
  CHECK(distance(infer(block, x, rows.batch()), expected) <= 4 * tolerance<S>(20));
}

TEST_CASE("a dense FFN as a layer is the FFN, and the first expert of a sparse layer", "[block]") {
  const moe::FfnLayer<double> layer({.model_dim = 6, .hidden_dim = 5}, 3);
  const Moe<double> sparse(moe_config<double>(), 3);
  CHECK(same_bits(layer.expert().w_in.value, sparse.expert(0).w_in.value));
  const Matrix<double> x = random_matrix<double>(9, 6, 1);
  Matrix<double> y(9, 6);
  moe::GatedFfn<double>::State state;
  layer.expert().forward(x, y, state);
  CHECK(same_bits(infer(layer, x, {}), y));
}

TEST_CASE("a transformer block is its two halves one after the other", "[block]") {
  const auto block = sparse_block<double>();
  const Rows rows = padded({7, 4}, 1);
  const Matrix<double> x = random_matrix<double>(11, 6, 1);
  const Matrix<double> middle = infer(block.attention_part(), x, rows.batch());
  CHECK(same_bits(infer(block, x, rows.batch()), infer(block.ffn_part(), middle, rows.batch())));
  CHECK(distance(middle, x) > 0.01);
}

TEST_CASE("gradients of blocks agree with differences", "[block][gradient]") {
  moe::FfnLayer<double> ffn({.model_dim = 6, .hidden_dim = 5}, 3);
  check_gradients_of(ffn, padded({9}, 1), kNoLosses);
  auto block = sparse_block<double>();
  check_gradients_of(block, {{6, 1, 4}}, kLosses);
  check_gradients_of(block, padded({6, 0, 8}, 1), kLosses);
  auto dropping = sparse_block<double>(0.7);
  check_gradients_of(dropping, padded({6, 8}, 2), kLosses, 30);
}

TEST_CASE("gradients pass padding by, with a norm without epsilon too", "[block][gradient]") {
  using Ffn = moe::FfnLayer<double>;
  moe::Residual<double, Ffn> block(Ffn({.model_dim = 6, .hidden_dim = 5}, 3), {.epsilon = 0});
  check_gradients_of(block, padded({9}, 1), kNoLosses);
  using Centred = moe::Residual<double, Ffn, moe::LayerNorm<double>>;
  Centred centred(Ffn({.model_dim = 6, .hidden_dim = 5}, 3), {.epsilon = 0});
  check_gradients_of(centred, padded({9}, 1), kNoLosses);
}

TEST_CASE("gradients of a stack agree with differences", "[block][gradient]") {
  auto stack = stack_of<double>({.blocks = 4, .every = 2});
  check_gradients_of(stack, padded({5, 6}, 1), kLosses, 12);
  auto one = stack_of<double>({.blocks = 1, .every = 1});
  check_gradients_of(one, {{5}}, kLosses, 12);
}

TEST_CASE("a stack interleaves its blocks", "[block]") {
  const auto pattern = [](const moe::Interleave& interleave) {
    std::string sparse;
    for (Index i = 0; i < interleave.blocks; ++i) sparse += interleave.is_sparse(i) ? 'S' : 'd';
    return sparse;
  };
  CHECK(pattern({.blocks = 6}) == "dSdSdS");
  CHECK(pattern({.blocks = 4, .every = 1}) == "SSSS");
  CHECK(pattern({.blocks = 5, .every = 1, .dense_first = 2}) == "ddSSS");
  CHECK(pattern({.blocks = 7, .every = 3, .dense_first = 1}) == "dddSddS");
  CHECK(pattern({.blocks = 3, .every = 9}) == "ddd");

  auto stack = stack_of<double>({.blocks = 3, .every = 2});
  const Matrix<double> x = random_matrix<double>(8, 6, 1);
  const Rows rows{{5, 3}};
  const auto batch = rows.batch();
  const Matrix<double> first = infer(stack.dense()[0], x, batch);
  const Matrix<double> second = infer(stack.sparse()[0], first, batch);
  CHECK(same_bits(infer(stack, x, batch), infer(stack.dense()[1], second, batch)));
  CHECK_FALSE(same_bits(stack.dense()[0].ffn().expert().w_in.value,
                        stack.dense()[1].ffn().expert().w_in.value));

  std::vector<std::string> names;
  stack.visit_parameters([&](std::string_view name, auto&) { names.emplace_back(name); });
  CHECK(names.front() == "blocks.0.attention.norm.gain");
  CHECK(names.back() == "blocks.2.ffn.layer.w_out");
  CHECK(std::count(names.begin(), names.end(), "blocks.1.ffn.layer.experts.3.w_gate") == 1);
}

TEST_CASE("what the parts of a stack have to save is found by name", "[block]") {
  auto stack = stack_of<double>({.blocks = 3, .every = 2});
  stack.sparse()[0].ffn().gate().set_selection_bias({1, 2, 3, 4});
  const std::string prefix = "blocks.1.ffn.layer.gate.";
  Index found = 0, biases = 0;
  stack.visit_state([&](std::string_view name, auto&&...) {
    ++found;
    CHECK(name.substr(0, prefix.size()) == prefix);
    biases += name == prefix + "selection_bias";
  });
  CHECK(found > 0);
  CHECK(biases == 1);
}

TEST_CASE("a loss added to a stack reaches every router", "[block]") {
  auto stack = stack_of<double>({.blocks = 3, .every = 1});
  Stack<double>::Tape tape;
  const moe::SwitchLoss loss{0.3};
  CHECK(sentence_of([&] { tape.add_loss(loss); }) ==
        "moe::BlockStack::Tape::add_loss: the tape is empty, expected a forward before");
  const Matrix<double> x = random_matrix<double>(8, 6, 1), zero = Matrix<double>::Zero(8, 6);
  Matrix<double> y(8, 6), dx(8, 6);
  stack.forward(x, y, tape);
  double sum = 0;
  for (auto& one : tape.sparse) {
    moe::LossGradient<double> unused{};
    Matrix<double> dlogits = Matrix<double>::Zero(8, 4), dscores = dlogits;
    unused.dlogits = dlogits;
    unused.dscores = dscores;
    sum += loss(one.ffn.layer.loss_input(), unused);
  }
  CHECK(tape.add_loss(loss) == Approx(sum));
  stack.backward(zero, dx, tape);  // the losses alone
  for (auto& block : stack.sparse()) CHECK(block.ffn().router().weight.grad.norm() > 0);
}

}  // namespace moe_test
