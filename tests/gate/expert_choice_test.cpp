// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/gate/expert_choice.hpp"

#include "gate/gate_checks.hpp"

namespace moe_test {
namespace {

using moe::ExpertChoiceGate;
using Options = ExpertChoiceGate::Options;
using Softmax = ExpertChoiceGate::Softmax;

/// Weights by expert from the definition: every expert takes its C best tokens.
Matrix<double> plain(const Options& o, Index top_k, const Matrix<double>& logits) {
  const Index t_count = logits.rows(), e_count = logits.cols();
  Matrix<double> p = (logits / o.temperature).array().exp();
  if (o.softmax == Softmax::over_experts) {
    for (Index t = 0; t < t_count; ++t) p.row(t) /= p.row(t).sum();
  } else {
    for (Index e = 0; e < e_count; ++e) p.col(e) /= p.col(e).sum();
  }
  const double factor = o.capacity_factor == 0 ? static_cast<double>(top_k) : o.capacity_factor;
  Index c = static_cast<Index>(
      std::rint(factor * static_cast<double>(t_count) / static_cast<double>(e_count)));
  c = std::min(t_count, std::max(c, o.min_capacity));
  Matrix<double> w = Matrix<double>::Zero(t_count, e_count);
  for (Index e = 0; e < e_count; ++e) {
    naive::Row column(static_cast<std::size_t>(t_count));
    for (Index t = 0; t < t_count; ++t) column[static_cast<std::size_t>(t)] = p(t, e);
    auto order = naive::ranking(column);
    order.resize(static_cast<std::size_t>(c));
    for (const std::size_t t : order) w(static_cast<Index>(t), e) = column[t];
  }
  for (Index t = 0; t < t_count; ++t) {
    if (o.max_experts > 0) {
      while ((w.row(t).array() > 0).count() > o.max_experts) {
        Index worst = -1;
        for (Index e = 0; e < e_count; ++e) {
          if (w(t, e) > 0 && (worst < 0 || w(t, e) <= w(t, worst))) worst = e;
        }
        w(t, worst) = 0;
      }
    }
    const auto count = static_cast<double>((w.row(t).array() > 0).count());
    if (o.average_experts && count > 0) w.row(t) /= count;
  }
  return w;
}

}  // namespace

TEST_CASE("experts take the tokens they like best", "[gate][expert_choice]") {
  for (const Softmax softmax : {Softmax::over_experts, Softmax::over_tokens}) {
    for (const Index e : {1, 3, 8, 65, 512}) {
      for (const Index t : {1, 7, 40}) {
        for (const Index k : {Index{1}, std::min<Index>(2, e), e}) {
          for (const bool average : {false, true}) {
            Options o{.softmax = softmax, .average_experts = average, .temperature = 1.3};
            if (t == 7) o.capacity_factor = 1.25;
            if (k == 2) o.min_capacity = 4;
            if (k == 1 && average) o.max_experts = std::min<Index>(e, 2);
            INFO("E " << e << " T " << t << " K " << k);
            const Matrix<double> logits = random_matrix<double>(t, e, 5);
            const ExpertChoiceGate gate({.num_experts = e, .top_k = k}, o);
            const auto out = route(gate, logits);
            check_well_formed(out.routing);
            CHECK(distance(weights_by_expert(out.routing), plain(o, k, logits)) < 1e-14);
          }
        }
      }
    }
  }
}

TEST_CASE("capacity is round(factor T / E), to even, at least the minimum, at most T",
          "[gate][expert_choice]") {
  const auto capacity = [](double factor, Index least, Index tokens, Index experts) {
    return ExpertChoiceGate({.num_experts = experts, .top_k = 1},
                            {.capacity_factor = factor, .min_capacity = least})
        .capacity(tokens, experts);
  };
  CHECK(capacity(2, 1, 64, 8) == 16);
  CHECK(capacity(1, 1, 10, 4) == 2);  // 2.5
  CHECK(capacity(1, 1, 14, 4) == 4);  // 3.5
  CHECK(capacity(1, 4, 10, 4) == 4);
  CHECK(capacity(1, 4, 3, 4) == 3);
  CHECK(capacity(100, 1, 10, 4) == 10);
  CHECK(capacity(1, 1, 1, 512) == 1);
  CHECK(capacity(1, 1, 0, 4) == 0);
}

TEST_CASE("capacity rounds as V-MoE and praxis do", "[gate][expert_choice]") {
  using Rounding = ExpertChoiceGate::Rounding;
  const auto capacity = [](Options o, Index tokens, Index experts) {
    return ExpertChoiceGate({.num_experts = experts, .top_k = 1}, o).capacity(tokens, experts);
  };
  // compute_capacity of V-MoE: ceil or round, then up to a multiple of 4
  const Options ceil4{.capacity_factor = 1.05, .rounding = Rounding::up, .capacity_multiple = 4};
  CHECK(capacity(ceil4, 64, 8) == 12);  // 8.4
  CHECK(capacity(ceil4, 80, 21) == 4);  // 4, which 1.05 * 80 / 21 only nearly is
  CHECK(capacity(ceil4, 5, 8) == 4);    // 0.66
  CHECK(capacity(ceil4, 3, 8) == 3);    // there are no more
  const Options round4{.capacity_factor = 1, .capacity_multiple = 4};
  CHECK(capacity(round4, 34, 8) == 4);  // 4.25
  CHECK(capacity(round4, 36, 8) == 4);  // 4.5, to even
  CHECK(capacity(round4, 37, 8) == 8);  // 4.6
  CHECK(capacity(round4, 6, 1) == 6);
  // praxis floors T / E before the factor
  const Options praxis{.capacity_factor = 1.5, .rounding = Rounding::down};
  CHECK(capacity(praxis, 31, 8) == 4);  // 1.5 * 3, where 1.5 * 31 / 8 is 5.8
  CHECK(capacity(praxis, 32, 8) == 6);
  CHECK(capacity(praxis, 7, 8) == 1);  // at least the minimum
  CHECK(capacity({.capacity_factor = 1.1, .rounding = Rounding::down}, 80, 8) == 11);
}

TEST_CASE("every expert is equally full, however the tokens flock", "[gate][expert_choice]") {
  Matrix<double> logits = random_matrix<double>(32, 8, 5);
  logits.col(3).array() += 20;
  const auto out = route(ExpertChoiceGate({.num_experts = 8, .top_k = 2}, {}), logits);
  const Matrix<double> w = weights_by_expert(out.routing);
  for (Index e = 0; e < 8; ++e) CHECK((w.col(e).array() > 0).count() == 8);
}

TEST_CASE("padding is never chosen and changes nothing", "[gate][expert_choice]") {
  // Flaxformer only down-weights padding: an expert may still take it.
  for (const Softmax softmax : {Softmax::over_experts, Softmax::over_tokens}) {
    const ExpertChoiceGate gate({.num_experts = 4, .top_k = 2}, {.softmax = softmax});
    const Matrix<double> real = random_matrix<double>(6, 4, 5);
    Matrix<double> padded = Matrix<double>::Constant(9, 4, kNaN);
    padded.topRows(3) = real.topRows(3);
    padded.bottomRows(3) = real.bottomRows(3);
    padded.row(4).setConstant(1000);
    const std::vector<std::uint8_t> mask = {1, 1, 1, 0, 0, 0, 1, 1, 1};
    const auto a = route(gate, real);
    const auto b = route(gate, padded, {.mask = mask});
    const Matrix<double> wa = weights_by_expert(a.routing), wb = weights_by_expert(b.routing);
    CHECK(same_bits(wa.topRows(3), wb.topRows(3)));
    CHECK(same_bits(wa.bottomRows(3), wb.bottomRows(3)));
    CHECK(wb.middleRows(3, 3).isZero(0));
    const std::vector<std::uint8_t> none(9, 0);
    CHECK(weights_by_expert(route(gate, padded, {.mask = none}).routing).isZero(0));
  }
}

TEST_CASE("a NaN token spoils no other", "[gate][expert_choice]") {
  for (const Softmax softmax : {Softmax::over_experts, Softmax::over_tokens}) {
    ExpertChoiceGate gate({.num_experts = 2, .top_k = 1}, {.softmax = softmax});
    Matrix<double> logits = random_matrix<double>(6, 2, 5);
    logits.row(2).setConstant(kNaN);
    auto out = route(gate, logits);
    const Matrix<double> w = weights_by_expert(out.routing);
    CHECK(w.allFinite());  // each expert has three better tokens
    const Matrix<double> gradient =
        gate_gradient(gate, out, random_matrix<double>(6, 2, 1), random_matrix<double>(6, 2, 2));
    CHECK(gradient.topRows(2).allFinite());
    CHECK(gradient.bottomRows(3).allFinite());
  }
}

TEST_CASE("an infinite logit over tokens spoils no other, and no score at all is no NaN",
          "[gate][expert_choice]") {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const ExpertChoiceGate gate({.num_experts = 3, .top_k = 1}, {.softmax = Softmax::over_tokens});
  const auto out = route(gate, rows({{kInf, 1, -kInf}, {1, -kInf, -kInf}, {2, 3, -kInf}}));
  const auto& s = out.routing.scores;
  CHECK(std::isnan(s(0, 0)));
  CHECK(s(1, 0) == Approx(1 / (1 + std::exp(1.0))));
  CHECK(s(2, 0) == Approx(1 / (1 + std::exp(-1.0))));
  CHECK(s(1, 1) == 0);
  CHECK(s(2, 1) == Approx(1 / (1 + std::exp(-2.0))));
  for (Index t = 0; t < 3; ++t) CHECK(s(t, 2) == 0);
}

TEST_CASE("a token's choice depends on later tokens: the warning is true",
          "[gate][expert_choice]") {
  const ExpertChoiceGate gate({.num_experts = 2, .top_k = 1}, {});
  const auto alone = route(gate, rows({{2, 0}, {1, 0}}));
  const auto followed = route(gate, rows({{2, 0}, {1, 0}, {5, 0}, {4, 0}}));
  CHECK(experts_of(alone.routing, 0) == Experts{0});
  CHECK(experts_of(followed.routing, 0) != Experts{0});
}

TEST_CASE("expert choice has the right gradient", "[gate][expert_choice][gradient]") {
  for (const Softmax softmax : {Softmax::over_experts, Softmax::over_tokens}) {
    for (const bool average : {false, true}) {
      for (const Index most : {0, 2}) {
        const Options o{.softmax = softmax,
                        .max_experts = most,
                        .average_experts = average,
                        .temperature = 1.4};
        check_gate_gradient(ExpertChoiceGate({.num_experts = 5, .top_k = 2}, o),
                            random_matrix<double>(8, 5, 4));
        const std::vector<std::uint8_t> mask = {1, 1, 0, 1, 1, 1, 1};
        check_layer_gradient<ExpertChoiceGate>(o, 2, {.mask = mask});
      }
    }
  }
}

TEST_CASE("expert choice refuses bad options", "[gate][expert_choice][misuse]") {
  const auto sentence = [](Options o) {
    return sentence_of([&] { ExpertChoiceGate({.num_experts = 4, .top_k = 1}, o); });
  };
  CHECK(sentence({.capacity_factor = -1}) ==
        "moe::ExpertChoiceGate: capacity_factor is -1.000000, expected a finite value above 0");
  CHECK(sentence({.min_capacity = 0}) ==
        "moe::ExpertChoiceGate: min_capacity is 0, expected at least 1");
  CHECK(sentence({.capacity_multiple = 0}) ==
        "moe::ExpertChoiceGate: capacity_multiple is 0, expected at least 1");
  CHECK(sentence({.max_experts = -1}) ==
        "moe::ExpertChoiceGate: max_experts is -1, expected 0 (no limit) to num_experts = 4");
}

}  // namespace moe_test
