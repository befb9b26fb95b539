// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Attention against the naive oracle, over shapes, masks, lengths and positions.
#include "moe/block/attention.hpp"

#include "block/block_checks.hpp"
#include "block/naive_block.hpp"

namespace moe_test {
namespace {

template <class S>
naive::Attention to_naive(const moe::Attention<S>& layer) {
  const auto& c = layer.config();
  const auto size = [](Index n) { return static_cast<std::size_t>(n); };
  naive::Attention out{.heads = size(c.num_heads),
                       .kv_heads = size(c.num_kv_heads),
                       .width = size(c.head_dim),
                       .causal = c.causal};
  if (c.rotary) {
    out.rotary = true;
    out.interleaved = c.rotary->interleaved;
    out.rotary_dims = size(c.rotary->dims == 0 ? c.head_dim : c.rotary->dims);
    out.base = c.rotary->base;
  }
  out.w_q = to_table(layer.w_q.value);
  out.w_k = to_table(layer.w_k.value);
  out.w_v = to_table(layer.w_v.value);
  out.w_o = to_table(layer.w_o.value);
  out.b_q = to_row(layer.b_q.value);
  out.b_k = to_row(layer.b_k.value);
  out.b_v = to_row(layer.b_v.value);
  out.b_o = to_row(layer.b_o.value);
  return out;
}

template <class S>
void check_oracle(const typename moe::Attention<S>::Config& config, const Rows& rows) {
  const moe::Attention<S> layer(config, 7);
  const Matrix<S> x = random_matrix<S>(rows.tokens(), config.model_dim, 1);
  const naive::Attention oracle = to_naive(layer);
  Matrix<double> expected(x.rows(), x.cols());
  Index first = 0;
  for (const Index length : rows.lengths) {
    std::vector<bool> real;
    for (Index i = 0; i < length; ++i) real.push_back(!rows.batch().is_padding(first + i));
    const naive::Table y = oracle(to_table(Matrix<S>(x.middleRows(first, length))), real);
    expected.middleRows(first, length) = to_matrix(y, config.model_dim);
    first += length;
  }
  INFO("heads " << config.num_heads << " of " << layer.config().head_dim << ", causal "
                << config.causal << ", rows " << x.rows());
  CHECK(distance(infer(layer, x, rows.batch()), expected) <= 8 * tolerance<S>(x.rows()));
}

}  // namespace

TEMPLATE_TEST_CASE("attention is its formula", "[block]", float, double) {
  using S = TestType;
  for (const bool causal : {true, false}) {
    check_oracle<S>({.model_dim = 6, .num_heads = 2, .causal = causal}, {{5, 1, 0, 7}});
    check_oracle<S>(
        {.model_dim = 12, .num_heads = 6, .num_kv_heads = 2, .causal = causal, .bias = true},
        padded({9, 4, 12}, 1));
    check_oracle<S>({.model_dim = 5,
                     .num_heads = 3,
                     .num_kv_heads = 1,
                     .head_dim = 4,
                     .causal = causal,
                     .rotary = moe::RotaryOptions{}},
                    padded({6, 6}, 2));
    check_oracle<S>({.model_dim = 8,
                     .num_heads = 1,
                     .head_dim = 7,
                     .causal = causal,
                     .rotary = moe::RotaryOptions{.base = 50, .dims = 4, .interleaved = true}},
                    {{4, 8}});
    // Several blocks of queries, the last one of a single row.
    check_oracle<S>({.model_dim = 8, .num_heads = 2, .causal = causal}, padded({129, 70}, 3));
  }
}

TEMPLATE_TEST_CASE("a causal row is what it is without the rows behind it", "[block][bitwise]",
                   float, double) {
  using S = TestType;
  const moe::Attention<S> layer(
      {.model_dim = 10, .num_heads = 2, .head_dim = 6, .rotary = moe::RotaryOptions{}}, 3);
  const Matrix<S> x = random_matrix<S>(150, 10, 1), y = infer(layer, x, {});
  for (const Index length : {1, 2, 5, 63, 64, 65, 100, 128, 149}) {
    INFO(length);
    CHECK(same_bits(infer(layer, Matrix<S>(x.topRows(length)), {}), y.topRows(length)));
  }
}

TEST_CASE("without positions and causality, attention does not know the order", "[block]") {
  const moe::Attention<double> layer({.model_dim = 6, .num_heads = 3, .causal = false}, 3);
  const Matrix<double> x = random_matrix<double>(9, 6, 1);
  const Matrix<double> reversed = x.colwise().reverse();
  CHECK(distance(infer(layer, reversed, {}),
                 Matrix<double>(infer(layer, x, {}).colwise().reverse())) < 1e-14);
  const moe::Attention<double> rotary(
      {.model_dim = 6, .num_heads = 3, .causal = false, .rotary = moe::RotaryOptions{}}, 3);
  CHECK(distance(infer(rotary, reversed, {}),
                 Matrix<double>(infer(rotary, x, {}).colwise().reverse())) > 1e-3);
}

TEST_CASE("attention says what is wrong", "[block]") {
  using Layer = moe::Attention<float>;
  const auto made = [](const Layer::Config& config) {
    return sentence_of([&] { Layer layer(config); });
  };
  CHECK(made({}) == "moe::Attention: model_dim is 0, expected at least 1");
  CHECK(made({.model_dim = 4, .num_heads = 0}) ==
        "moe::Attention: num_heads is 0, expected at least 1");
  CHECK(made({.model_dim = 4, .num_heads = 3}) ==
        "moe::Attention: num_heads is 3, expected a divisor of model_dim = 4, or a head_dim");
  CHECK(made({.model_dim = 4, .num_heads = 4, .num_kv_heads = 3}) ==
        "moe::Attention: num_kv_heads is 3, expected a divisor of num_heads = 4");
  CHECK(made({.model_dim = 4, .num_heads = 4, .num_kv_heads = -4}) ==
        "moe::Attention: num_kv_heads is -4, expected at least 1");
  CHECK(made({.model_dim = 4, .head_dim = -1}) ==
        "moe::Attention: head_dim is -1, expected at least 1");
  CHECK(made({.model_dim = 3, .rotary = moe::RotaryOptions{}}) ==
        "moe::Attention: rotary turns 3 values of a head, expected an even number up to head_dim = "
        "3");
  CHECK(made({.model_dim = 4, .rotary = moe::RotaryOptions{.base = 0}}) ==
        "moe::Attention: rotary.base is 0.000000, expected a finite value above 0");

  Layer layer({.model_dim = 4, .num_heads = 2});
  Layer::Workspace workspace;
  Layer::Tape tape;
  Matrix<float> x = Matrix<float>::Ones(6, 4), y = Matrix<float>::Constant(6, 4, 9), wide(6, 5);
  const Lengths lengths{2, 3};
  CHECK(sentence_of([&] { layer.forward(wide, y, workspace); }) ==
        "moe::Attention::forward: x has 5 columns, the layer's model_dim is 4");
  CHECK(
      sentence_of([&] { layer.forward(x, y, tape, {.sequence_lengths = lengths}); }) ==
      "moe::Attention::forward: the sum of sequence_lengths has 5 tokens, the number of rows of x "
      "is 6");
  CHECK(sentence_of([&] { layer.forward(x, x, workspace); }) ==
        "moe::Attention::forward: y shares memory with x, expected separate matrices");
  CHECK(sentence_of([&] { layer.backward(x, y, tape); }) ==
        "moe::Attention::backward: the tape is empty, expected one training forward before each "
        "backward");
  layer.w_k.value.resize(4, 3);
  CHECK(sentence_of([&] { layer.forward(x, y, workspace); }) ==
        "moe::Attention::forward: w_k is [4, 3], expected [4, 4]");
  CHECK((y.array() == 9).all());

  Layer other({.model_dim = 4, .num_heads = 2});
  other.forward(x, y, tape);
  Layer copy = other;
  CHECK_THAT(sentence_of([&] { copy.backward(x, y, tape); }),
             StartsWith("moe::Attention::backward: the tape was filled by layer #"));
  CHECK(sentence_of([&] { other.backward(x, wide, tape); }) ==
        "moe::Attention::backward: dx is [6, 5], expected [6, 4]");
  other.backward(x, y, tape);
  CHECK_THAT(sentence_of([&] { other.backward(x, y, tape); }),
             ContainsSubstring("the tape is empty"));
}

}  // namespace moe_test
