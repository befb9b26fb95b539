// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The soft layer against the textbook one and against PyTorch (tests/golden/make_shape_golden.py).
#include "moe/layer/soft_layer.hpp"

#include "layer/soft_cases.hpp"
#include "moe/expert/any_of.hpp"
#include "moe/expert/identity.hpp"
#include "moe/layer/layer.hpp"
#include "support/golden.hpp"

namespace moe_test {
namespace {

template <class S>
void check_golden(const std::string& file, SoftNormalization normalization, double allowed) {
  INFO(file);
  const Golden golden = read_golden(file);
  const auto at = [&](const std::string& name) {
    return Matrix<S>(golden.at(name).template cast<S>());
  };
  const Index experts = 3, d = at("x").cols(), h = at("experts.0.w_in").rows();
  auto layer = make_soft<Soft<S>>(normalization, d, h, experts, at("phi").rows() / experts);
  std::size_t parameters = 0;
  layer.visit_parameters([&](std::string_view name, auto& p) {
    const Matrix<S> value = at(std::string(name));
    REQUIRE(value.rows() == p.value.rows());
    REQUIRE(value.cols() == p.value.cols());
    p.value = value;
    ++parameters;
  });
  CHECK(golden.size() == 6 + 2 * parameters);
  std::vector<Index> lengths;
  for (const double length : golden.at("lengths").reshaped()) {
    lengths.push_back(static_cast<Index>(length));
  }
  std::vector<std::uint8_t> mask;
  for (const double real : golden.at("mask").reshaped()) mask.push_back(real != 0);
  const Step<S> step =
      shape_step(layer, at("x"), at("dy"), {.mask = mask, .sequence_lengths = lengths});
  CHECK(distance(step.y, golden.at("y")) <= allowed);
  CHECK(distance(step.dx, golden.at("dx")) <= allowed);
  for (const auto& [name, gradient] : step.gradient) {
    INFO(name);
    CHECK(distance(gradient, golden.at(name + ".grad")) <= allowed);
  }
}

}  // namespace

TEST_CASE("the soft layer is a layer without a router", "[layer][soft]") {
  STATIC_REQUIRE(moe::require_layer<moe::SoftLayer<float>, float>());
  STATIC_REQUIRE_FALSE(moe::RoutedLayer<moe::SoftLayer<float>, float>);
  STATIC_REQUIRE(moe::Layer<SoftScaling<double>, double>);
}

TEST_CASE("Soft MoE with both published normalisations and with none agrees with PyTorch",
          "[layer][soft][golden]") {
  check_golden<double>("soft_none.txt", SoftNormalization::none, 1e-10);
  check_golden<double>("soft_l2.txt", SoftNormalization::l2, 1e-10);
  check_golden<double>("soft_rms.txt", SoftNormalization::rms, 1e-10);
  check_golden<float>("soft_none.txt", SoftNormalization::none, tolerance<float>(60));
  check_golden<float>("soft_l2.txt", SoftNormalization::l2, tolerance<float>(60));
  check_golden<float>("soft_rms.txt", SoftNormalization::rms, tolerance<float>(60));
}

TEMPLATE_TEST_CASE("the soft layer is the textbook one, sequence by sequence", "[layer][soft]",
                   float, double) {
  using S = TestType;
  for (const SoftNormalization normalization : kNormalizations) {
    for (const auto& [d, h, e, slots] : {std::tuple{5, 6, 3, 2}, {40, 33, 5, 7}, {1, 2, 1, 1}}) {
      const auto layer = make_soft<Soft<S>>(normalization, d, h, e, slots);
      const std::vector<Index> lengths = {3, 0, 50, 1, 12};
      const Matrix<S> x = random_matrix<S>(66, d, 1);
      const Case c{.t = 66, .masked = true};
      const std::vector<std::uint8_t> mask = random_mask(c);
      const moe::Batch batch{.mask = mask, .sequence_lengths = lengths};
      Matrix<S> y = Matrix<S>::Constant(66, d, S(9));
      typename Soft<S>::Workspace workspace;
      layer.forward(x, y, workspace, batch);
      Index first = 0;
      for (const Index length : lengths) {
        naive::Table rows;
        std::vector<Index> places;
        for (Index t = first; t < first + length; ++t) {
          if (batch.is_padding(t)) {
            CHECK(y.row(t).isZero(0));
          } else {
            rows.push_back(to_row(Matrix<S>(x.row(t))));
            places.push_back(t);
          }
        }
        first += length;
        if (rows.empty()) continue;
        CHECK(distance(picked(y, places), to_matrix(naive_soft(layer, rows), d)) <=
              tolerance<S>(d + h + e * slots + length));
      }
    }
  }
}

TEST_CASE("a token of a soft layer sees its whole sequence and no other", "[layer][soft]") {
  for (const SoftNormalization normalization : kNormalizations) {
    const auto layer = make_soft<Soft<double>>(normalization);
    const std::vector<Index> lengths = {4, 3};
    Matrix<double> x = random_matrix<double>(7, 5, 1), before(7, 5), after(7, 5);
    Soft<double>::Workspace workspace;
    layer.forward(x, before, workspace, {.sequence_lengths = lengths});
    x(3, 2) += 1;  // the last token of the first sequence
    layer.forward(x, after, workspace, {.sequence_lengths = lengths});
    for (Index t = 0; t < 4; ++t) CHECK_FALSE(same_bits(before.row(t), after.row(t)));
    CHECK(same_bits(before.bottomRows(3), after.bottomRows(3)));
    x(3, 2) = std::numeric_limits<double>::quiet_NaN();
    layer.forward(x, after, workspace, {.sequence_lengths = lengths});
    CHECK(after.topRows(4).array().isNaN().all());
    CHECK(same_bits(before.bottomRows(3), after.bottomRows(3)));
  }
}

TEST_CASE("a soft layer of nothing and of padding alone gives zeros", "[layer][soft]") {
  for (const SoftNormalization normalization : kNormalizations) {
    auto layer = make_soft<Soft<float>>(normalization);
    const Matrix<float> none(0, 5), x = random_matrix<float>(3, 5, 1);
    const std::vector<std::uint8_t> mask(3, 0);
    for (const Step<float>& step :
         {shape_step(layer, none, none), shape_step(layer, x, x, {.mask = mask})}) {
      CHECK(step.y.isZero(0));
      CHECK(step.dx.isZero(0));
      for (const auto& [name, gradient] : step.gradient) CHECK(gradient.isZero(0));
    }
  }
}

TEST_CASE("a zero token is no trouble for the normalisations", "[layer][soft]") {
  for (const SoftNormalization normalization : kNormalizations) {
    auto layer = make_soft<Soft<float>>(normalization);
    Matrix<float> x = random_matrix<float>(4, 5, 1);
    x.row(1).setZero();
    const Step<float> step = shape_step(layer, x, random_matrix<float>(4, 5, 2));
    CHECK(step.y.allFinite());
    CHECK(step.dx.allFinite());
  }
}

TEST_CASE("noise of the soft layer is there in training alone, and follows the token",
          "[layer][soft]") {
  const auto layer = make_soft<Soft<double>>(SoftNormalization::l2, 5, 6, 3, 2, /*noise=*/0.5);
  const auto clean = make_soft<Soft<double>>(SoftNormalization::l2);
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  Matrix<double> y(6, 5), noisy(6, 5), expected(6, 5), second(3, 5);
  Soft<double>::Workspace workspace;
  Soft<double>::Tape tape;
  layer.forward(x, y, workspace, {.seed = 3});
  clean.forward(x, expected, workspace);
  CHECK(same_bits(y, expected));
  const std::vector<Index> lengths = {3, 3};
  layer.forward(x, noisy, tape, {.seed = 3, .sequence_lengths = lengths});
  CHECK_FALSE(same_bits(noisy, expected));
  layer.forward(x.bottomRows(3), second, tape, {.seed = 3, .first_token = 3});
  CHECK(same_bits(second, noisy.bottomRows(3)));
  layer.forward(x, y, tape, {.seed = 4, .sequence_lengths = lengths});
  CHECK_FALSE(same_bits(y, noisy));
}

TEST_CASE("misuse of the soft layer is named", "[layer][soft][misuse]") {
  using L = Soft<float>;
  auto layer = make_soft<L>(SoftNormalization::l2), other = make_soft<L>(SoftNormalization::l2);
  Matrix<float> x = random_matrix<float>(4, 5, 1), y(4, 5), narrow(4, 3);
  L::Tape tape;
  CHECK(sentence_of([&] { layer.forward(narrow, y, tape); }) ==
        "moe::SoftLayer::forward: x has 3 columns, the layer's model_dim is 5");
  const std::vector<Index> short_lengths = {1, 2}, negative = {5, -1};
  y.setConstant(7);
  CHECK(sentence_of([&] { layer.forward(x, y, tape, {.sequence_lengths = short_lengths}); }) ==
        "moe::SoftLayer::forward: the sum of sequence_lengths has 3 tokens, the number of rows of "
        "x is 4");
  CHECK(sentence_of([&] { layer.forward(x, y, tape, {.sequence_lengths = negative}); }) ==
        "moe::SoftLayer::forward: a sequence length is -1, expected at least 0");
  CHECK((y.array() == 7).all());
  CHECK(sentence_of([&] { layer.backward(x, y, tape); }) ==
        "moe::SoftLayer::backward: the tape is empty, expected one training forward before each "
        "backward");
  layer.forward(x, y, tape);
  CHECK_THAT(sentence_of([&] { other.backward(x, y, tape); }),
             StartsWith("moe::SoftLayer::backward: the tape was filled by layer #"));
  CHECK(sentence_of([&] { layer.backward(x, narrow, tape); }) ==
        "moe::SoftLayer::backward: dx is [4, 3], expected [4, 5]");
  layer.scores().scale = {};
  CHECK(sentence_of([&] { layer.forward(x, y, tape); }) ==
        "moe::SoftLayer::forward: scale is [0, 0], expected [1, 1]");
  CHECK(sentence_of([] { make_soft<L>(SoftNormalization::l2, 5, 6, 3, 0); }) ==
        "moe::SoftLayer: slots is 0, expected at least 1");
  CHECK(sentence_of([] { make_soft<L>(SoftNormalization::l2, 5, 6, 3, 1, -1); }) ==
        "moe::SoftLayer: noise_stddev is -1.000000, expected a finite value of at least 0");
  const moe::SoftScores<float> five(Matrix<float>::Ones(5, 5), SoftNormalization::none);
  CHECK(sentence_of([&] {
          L(five, {layer.expert(0), layer.expert(1)});
        }) == "moe::SoftLayer: phi has 5 rows, expected a multiple of the number of experts, 2");
}

TEST_CASE("a backward of a soft layer that became wider is refused", "[layer][soft][misuse]") {
  using Any = moe::AnyOf<float, moe::IdentityExpert<float>>;  // has no width of its own
  moe::SoftLayer<float, Any> layer({Matrix<float>::Ones(4, 5), SoftNormalization::none},
                                   std::vector<Any>(2));
  const Matrix<float> x = random_matrix<float>(4, 5, 1), dy = random_matrix<float>(4, 9, 2);
  Matrix<float> y(4, 5), dx = Matrix<float>::Constant(4, 9, 3);
  decltype(layer)::Tape tape;
  const std::vector<std::uint8_t> mask = {1, 1, 0, 1};
  layer.forward(x, y, tape, {.mask = mask});
  layer.scores() = {Matrix<float>::Ones(4, 9), SoftNormalization::none};
  CHECK(sentence_of([&] { layer.backward(dy, dx, tape); }) ==
        "moe::SoftLayer::backward: the tape has 15 values of x, real tokens times model_dim is 27");
  CHECK((dx.array() == 3).all());
}

}  // namespace moe_test
