// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/train/upcycle.hpp"

#include "moe/train/output_error.hpp"
#include "support/catch.hpp"
#include "support/layers.hpp"

namespace moe_test {
namespace {

template <class S>
using Layer = LayerOf<S, moe::GatedFfn<S>>;

template <class S>
moe::GatedFfn<S> dense_ffn() {
  moe::Random random(5, 0);
  return moe::GatedFfn<S>({10, 12, 1, 1}, {.bias = true}, random);
}

template <class S>
typename Layer<S>::Config config(Index hidden, Index experts, Index top_k) {
  return {.hidden_dim = hidden, .num_experts = experts, .top_k = top_k};
}

template <class S>
double error_of(const Layer<S>& layer) {
  const Matrix<S> x = random_matrix<S>(50, 10, 2);
  return moe::output_error(layer, dense_ffn<S>(), x).relative;
}

}  // namespace

TEMPLATE_TEST_CASE("Copies of a dense FFN compute what it computes", "[train][upcycle]", float,
                   double) {
  const auto dense = dense_ffn<TestType>();
  for (const Index top_k : {2, 3, 4}) {
    const auto layer = moe::upcycle<Layer<TestType>>(dense, config<TestType>(0, 4, top_k));
    CHECK(same_bits(layer.expert(3).w_out.value, dense.w_out.value));
    CHECK(error_of(layer) <= tolerance<TestType>(12));
  }
  auto sigmoid = config<TestType>(0, 4, 2);
  sigmoid.gate.score = moe::ScoreFunction::sigmoid;
  CHECK(error_of(moe::upcycle<Layer<TestType>>(dense, sigmoid)) <= tolerance<TestType>(12));
  auto single = config<TestType>(0, 4, 1);
  single.gate.normalize_single = true;  // weight 1: the very bits
  CHECK(error_of(moe::upcycle<Layer<TestType>>(dense, single)) == 0);
}

TEMPLATE_TEST_CASE("Pieces of a dense FFN compute what it computes", "[train][upcycle]", float,
                   double) {
  const auto dense = dense_ffn<TestType>();
  for (const Index pieces : {2, 3, 4}) {
    for (const Index groups : {1, 2, 5}) {
      for (const Index taken : {1, 2}) {
        if (taken > groups) continue;
        INFO(pieces << " pieces, " << groups << " groups, " << taken << " taken");
        const auto layer = moe::upcycle<Layer<TestType>>(
            dense, config<TestType>(12 / pieces, groups * pieces, taken * pieces));
        CHECK(layer.expert(0).shape().hidden_dim == 12 / pieces);
        CHECK(error_of(layer) <= 4 * tolerance<TestType>(12));
      }
    }
  }
}

TEST_CASE("An undecided softmax that is not normalised is made up for by weight_sum",
          "[train][upcycle]") {
  for (const Index pieces : {1, 2}) {
    auto c = config<double>(12 / pieces, 4 * pieces, pieces);
    c.router.zero_init = true;
    c.gate.renormalize = false;
    CHECK(error_of(moe::upcycle<Layer<double>>(dense_ffn<double>(), c)) > 0.5);
    CHECK(error_of(moe::upcycle<Layer<double>>(dense_ffn<double>(), c, {.weight_sum = 0.25})) <
          1e-13);
  }
}

TEST_CASE("Drop-upcycling draws a share of each expert's units anew", "[train][upcycle]") {
  moe::Random random(5, 0);
  using Ffn = moe::GatedFfn<double>;
  Ffn dense({200, 40, 1, 1}, {}, random);
  dense.w_in.value.array() += 0.3;  // so that the mean matters
  const auto layer = moe::upcycle<Layer<double>>(dense, config<double>(0, 3, 2), {.drop = 0.25});
  std::vector<std::vector<Index>> changed(3);
  for (Index e = 0; e < 3; ++e) {
    const Ffn& expert = layer.expert(e);
    for (Index u = 0; u < 40; ++u) {
      const bool in = expert.w_in.value.row(u) == dense.w_in.value.row(u);
      CHECK((expert.w_gate.value.row(u) == dense.w_gate.value.row(u)) == in);
      CHECK((expert.w_out.value.col(u) == dense.w_out.value.col(u)) == in);
      if (!in) changed[static_cast<std::size_t>(e)].push_back(u);
    }
    CHECK(changed[static_cast<std::size_t>(e)].size() == 10);
    Matrix<double> drawn(10, 200), old(10, 200);
    for (Index i = 0; i < 10; ++i) {
      const Index u = changed[static_cast<std::size_t>(e)][static_cast<std::size_t>(i)];
      drawn.row(i) = expert.w_in.value.row(u);
      old.row(i) = dense.w_in.value.row(u);
    }
    const double deviation = std::sqrt((old.array() - old.mean()).square().mean());
    CHECK(drawn.mean() == Approx(old.mean()).margin(4 * deviation / std::sqrt(2000.0)));
    CHECK(std::sqrt((drawn.array() - drawn.mean()).square().mean()) ==
          Approx(deviation).epsilon(0.1));
  }
  CHECK(changed[0] != changed[1]);
  const auto all = moe::upcycle<Layer<double>>(dense, config<double>(0, 3, 2), {.drop = 1});
  CHECK_FALSE(((all.expert(0).w_in.value.array() == dense.w_in.value.array()).any()));
}

TEST_CASE("Noise tells experts apart, and the error is reported", "[train][upcycle]") {
  const auto dense = dense_ffn<double>();
  const auto layer = moe::upcycle<Layer<double>>(dense, config<double>(0, 4, 2), {.noise = 0.05});
  CHECK_FALSE(same_bits(layer.expert(0).w_in.value, layer.expert(1).w_in.value));
  CHECK(error_of(layer) > 1e-3);
  CHECK(error_of(layer) < 0.5);
}

TEST_CASE("The output error is what its comment says", "[train][upcycle]") {
  Matrix<float> a(2, 2), b(2, 2);
  a << 1, 2, 3, 5;
  b << 1, 2, 3, 4;
  const auto view = [](const Matrix<float>& m) { return MatrixView<const float>(m); };
  const moe::OutputError error = moe::output_error(view(a), view(b));
  CHECK(error.largest == 1);
  CHECK(error.rms == 0.5);
  CHECK(error.relative == 0.25);
  CHECK(moe::output_error(view(a), view(a)).relative == 0);
  a(0, 0) = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(moe::output_error(view(a), view(b)).relative));
}

TEST_CASE("Upcycling refuses sizes that do not fit", "[train][upcycle][misuse]") {
  const auto dense = dense_ffn<double>();
  const auto sentence = [&](const typename Layer<double>::Config& c, moe::UpcycleOptions o = {}) {
    return sentence_of([&] { moe::upcycle<Layer<double>>(dense, c, o); });
  };
  CHECK(sentence(config<double>(5, 4, 2)) ==
        "moe::upcycle: hidden_dim is 5, expected 12 or a divisor of it");
  CHECK(sentence(config<double>(4, 6, 2)) ==
        "moe::upcycle: num_experts is 6 and top_k is 2, expected multiples of the 3 pieces of one "
        "FFN");
  CHECK(sentence(config<double>(4, 7, 3)) ==
        "moe::upcycle: num_experts is 7 and top_k is 3, expected multiples of the 3 pieces of one "
        "FFN");
  auto other = config<double>(0, 4, 2);
  other.model_dim = 8;
  CHECK(sentence(other) == "moe::upcycle: dense has 10 columns, model_dim is 8");
  CHECK(sentence(config<double>(0, 4, 2), {.drop = 1.5}) ==
        "moe::upcycle: drop is 1.500000, expected 0 to 1");
  CHECK(sentence(config<double>(0, 4, 2), {.weight_sum = 0}) ==
        "moe::upcycle: weight_sum is 0.000000, expected a finite value above 0");
}

}  // namespace moe_test
