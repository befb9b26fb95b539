// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Gradients of the soft layer against differences, and its bits over threads and batches.
#include "layer/soft_cases.hpp"

namespace moe_test {

TEST_CASE("gradients of the soft layer are right", "[layer][soft][gradient]") {
  const std::vector<Index> lengths = {3, 1, 4};
  const std::vector<std::uint8_t> mask = {1, 0, 1, 1, 1, 1, 0, 1};
  const Matrix<double> x = random_matrix<double>(8, 5, 3);
  for (const SoftNormalization normalization : kNormalizations) {
    auto layer = make_soft<Soft<double>>(normalization);
    check_shape_gradients(layer, x);
    check_shape_gradients(layer, x, {.mask = mask, .sequence_lengths = lengths});
    auto scaling = make_soft<SoftScaling<double>>(normalization);
    check_shape_gradients(scaling, x, {.mask = mask, .sequence_lengths = lengths});
    auto noisy = make_soft<Soft<double>>(normalization, 5, 6, 3, 2, 0.7);
    check_shape_gradients(noisy, x, {.seed = 5, .sequence_lengths = lengths});
  }
  auto one = make_soft<Soft<double>>(SoftNormalization::l2, 5, 4, 1, 1);
  check_shape_gradients(one, Matrix<double>(x.topRows(1)));
}

TEST_CASE("frozen parts of the soft layer get no gradient, the others the same", "[layer][soft]") {
  const Matrix<double> x = random_matrix<double>(8, 5, 3);
  for (const SoftNormalization normalization : kNormalizations) {
    auto layer = make_soft<Soft<double>>(normalization);
    const Step<double> all = shape_step(layer, x, x);
    layer.scores().phi.trainable = layer.scores().gain_x.trainable = false;
    layer.scores().scale.trainable = false;
    const Step<double> some = shape_step(layer, x, x);
    CHECK(same_bits(some.dx, all.dx));
    for (const auto& [name, gradient] : some.gradient) {
      INFO(name);
      const bool frozen = name == "phi" || name == "gain_x" || name == "scale";
      if (frozen) {
        CHECK(gradient.isZero(0));
      } else {
        CHECK(same_bits(gradient, all.gradient.at(name)));
      }
    }
  }
}

TEMPLATE_TEST_CASE("the soft layer gives the same bits on any number of threads",
                   "[layer][soft][bitwise]", float, double) {
  using S = TestType;
  const Case c{.t = 130, .masked = true};
  const std::vector<std::uint8_t> mask = random_mask(c);
  const std::vector<Index> few = {70, 60}, many(26, 5);
  const Matrix<S> x = random_matrix<S>(130, 70, 1);
  for (const SoftNormalization normalization : {SoftNormalization::l2, SoftNormalization::rms}) {
    auto layer = make_soft<Soft<S>>(normalization, 70, 40, 5, 9, 0.1);
    for (const std::vector<Index>& lengths : {few, many}) {
      check_shape_threads(layer, x, {.sequence_lengths = lengths});
      check_shape_threads(layer, x, {.mask = mask, .sequence_lengths = lengths});
    }
  }
}

TEMPLATE_TEST_CASE("a sequence gives the same bits alone, in any batch and with any padding",
                   "[layer][soft][bitwise]", float, double) {
  using S = TestType;
  const std::vector<Index> lengths = {7, 33, 1, 20};
  const Matrix<S> x = random_matrix<S>(61, 37, 1), dy = random_matrix<S>(61, 37, 2);
  for (const SoftNormalization normalization : kNormalizations) {
    auto layer = make_soft<Soft<S>>(normalization, 37, 20, 4, 3);
    const Step<S> all = shape_step(layer, x, dy, {.sequence_lengths = lengths});
    Index first = 0;
    for (const Index length : lengths) {
      const Matrix<S> part = x.middleRows(first, length), given = dy.middleRows(first, length);
      const Step<S> alone = shape_step(layer, part, given);
      CHECK(same_bits(alone.y, all.y.middleRows(first, length)));
      CHECK(same_bits(alone.dx, all.dx.middleRows(first, length)));
      // The same tokens with padding between them.
      Matrix<S> wide = Matrix<S>::Constant(2 * length, 37, S(5)), wide_dy = wide;
      std::vector<std::uint8_t> mask;
      std::vector<Index> places;
      for (Index t = 0; t < length; ++t) {
        wide.row(2 * t + 1) = part.row(t);
        wide_dy.row(2 * t + 1) = given.row(t);
        mask.insert(mask.end(), {0, 1});
        places.push_back(2 * t + 1);
      }
      const Step<S> padded = shape_step(layer, wide, wide_dy, {.mask = mask});
      CHECK(same_bits(picked(padded.y, places), alone.y));
      CHECK(same_bits(picked(padded.dx, places), alone.dx));
      CHECK(same_bits(padded.gradient, alone.gradient));
      check_shape_padding(layer, wide, {.mask = mask});
      first += length;
    }
  }
}

}  // namespace moe_test
