// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What every loss promises, whichever it is.
#include "loss/all_losses.hpp"

#include "support/allocations.hpp"

namespace moe_test {
namespace {

template <class S>
LossCase<S> noisy_case(const Matrix<S>& logits, Index k, std::vector<std::uint8_t> mask = {}) {
  LossCase<S> c(logits, k, std::move(mask));
  c.add_noise(logits * S(0.5), Matrix<S>::Ones(logits.rows(), logits.cols()));
  return c;
}

}  // namespace

TEST_CASE("every loss is zero with zero gradients when there is nothing", "[loss]") {
  auto masked = noisy_case<double>(random_matrix<double>(3, 5, 1), 2, {0, 0, 0});
  auto empty = noisy_case<double>(Matrix<double>(0, 5), 2);
  for (LossCase<double>* c : {&masked, &empty}) {
    for_all_losses(c->logits.rows(), 5, [&](const char* name, const auto& loss) {
      INFO(name);
      CHECK(c->value_of(loss) == 0);
      CHECK(c->dlogits.isZero(0));
      CHECK(c->dscores.isZero(0));
      CHECK(c->dweight.isZero(0));
      CHECK(c->noise.dclean.eigen().isZero(0));
      CHECK(c->noise.dstddev.eigen().isZero(0));
    });
  }
}

TEST_CASE("no loss sees what padding holds", "[loss]") {
  const double nan = std::nan("");
  const std::vector<std::uint8_t> mask{1, 0, 1, 1, 0, 1};
  const Matrix<double> logits = random_matrix<double>(6, 5, 1);
  auto clean = noisy_case<double>(logits, 2, mask), dirty = noisy_case<double>(logits, 2, mask);
  for (const Index t : {1, 4}) {
    dirty.logits.row(t).setConstant(nan);
    dirty.routing.scores.eigen().row(t).setConstant(nan);
    dirty.routing.weight.eigen().row(t).setConstant(nan);
    dirty.noise.clean.eigen().row(t).setConstant(nan);
    dirty.noise.stddev.eigen().row(t).setConstant(nan);
  }
  for_all_losses(6, 5, [&](const char* name, const auto& loss) {
    INFO(name);
    CHECK(clean.value_of(loss) == dirty.value_of(loss));
    CHECK(same_bits(clean.dlogits, dirty.dlogits));
    CHECK(same_bits(clean.dscores, dirty.dscores));
    CHECK(same_bits(clean.dweight, dirty.dweight));
    CHECK(clean.noise.dclean.eigen() == dirty.noise.dclean.eigen());
    CHECK(dirty.dscores.row(1).isZero(0));
  });
}

TEST_CASE("every loss is finite at balance, with ties, floods and experts nobody uses", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    if (c.logits.cols() > 100) return;
    for (const double stddev : {0.0, 1.0}) {
      c.add_noise(c.logits, Matrix<double>::Constant(c.logits.rows(), c.logits.cols(), stddev));
      for_all_losses(c.logits.rows(), c.logits.cols(), [&](const char* name, const auto& loss) {
        INFO(name);
        CHECK(std::isfinite(c.value_of(loss)));
        CHECK(c.gradients_are_finite());
      });
    }
  });
}

TEST_CASE("every loss adds to the gradients it is given", "[loss]") {
  auto c = noisy_case<double>(random_matrix<double>(6, 5, 1), 2);
  for_all_losses(6, 5, [&](const char* name, const auto& loss) {
    INFO(name);
    const double value = c.value_of(loss);
    const Matrix<double> dlogits = 2 * c.dlogits, dscores = 2 * c.dscores, dweight = 2 * c.dweight;
    const Matrix<double> dclean = 2 * c.noise.dclean.eigen();
    const Matrix<double> dstddev = 2 * c.noise.dstddev.eigen();
    CHECK(c.add(loss) == value);
    CHECK(distance(c.dlogits, dlogits) < 1e-15);
    CHECK(distance(c.dscores, dscores) < 1e-15);
    CHECK(distance(c.dweight, dweight) < 1e-15);
    CHECK((c.noise.dclean.eigen() - dclean).isZero(1e-15));
    CHECK((c.noise.dstddev.eigen() - dstddev).isZero(1e-15));
  });
}

TEST_CASE("every loss is the same in float up to rounding", "[loss]") {
  const Matrix<double> logits = random_matrix<float>(9, 7, 1).cast<double>();
  auto wide = noisy_case<double>(logits, 2);
  auto narrow = noisy_case<float>(logits.cast<float>(), 2);
  for_all_losses(9, 7, [&](const char* name, const auto& loss) {
    INFO(name);
    CHECK(narrow.value_of(loss) == Approx(wide.value_of(loss)).epsilon(2e-6).margin(1e-6));
    CHECK(distance(narrow.dlogits, wide.dlogits) < 2e-6);
    CHECK(distance(narrow.dscores, wide.dscores) < 2e-6);
    CHECK(distance(narrow.dweight, wide.dweight) < 2e-6);
    const auto near = [](const auto& a, const auto& b) {
      return (a.eigen().template cast<double>() - b.eigen()).isZero(2e-6);
    };
    CHECK(near(narrow.noise.dclean, wide.noise.dclean));
    CHECK(near(narrow.noise.dstddev, wide.noise.dstddev));
  });
}

#if MOE_TEST_COUNTS_ALLOCATIONS
TEST_CASE("no loss allocates in the steady state", "[loss]") {
  auto c = noisy_case<float>(random_matrix<float>(64, 65, 1), 4);
  for_all_losses(64, 65, [&](const char* name, const auto& loss) {
    INFO(name);
    c.value_of(loss);
    CHECK(allocations_in([&] { c.value_of(loss); }) == 0);
  });
}
#endif

TEST_CASE("a loss works without scratch memory of the caller", "[loss]") {
  LossCase<double> c(random_matrix<double>(6, 5, 1), 2);
  const double expected = c.value_of(moe::SwitchLoss{0.7});
  moe::LossGradient<double> gradient{c.dlogits, c.dscores};
  const moe::LossInput<double> in{
      .logits = c.logits, .routing = c.routing, .plan = c.plan, .batch = c.batch};
  CHECK(moe::SwitchLoss{0.7}(in, gradient) == expected);
}

// transformers: capacity before counting (Megatron-LM#1513) hides what was asked for.
TEST_CASE("no loss changes when capacity drops assignments", "[loss]") {
  const Matrix<double> logits = random_matrix<double>(9, 5, 3);
  LossCase<double> free(logits, 2), tight(logits, 2, {}, {.factor = 0.4});
  REQUIRE(tight.plan.dropped() > 0);
  for_all_losses(9, 5, [&](const char* name, const auto& loss) {
    INFO(name);
    CHECK(free.value_of(loss) == tight.value_of(loss));
    CHECK(same_bits(free.dscores, tight.dscores));
  });
}

}  // namespace moe_test
