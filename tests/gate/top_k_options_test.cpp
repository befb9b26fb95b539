// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every option of TopKGate against its formula written out, and its gradient against differences.
#include "gate/gate_checks.hpp"
#include "moe/gate/top_k.hpp"

namespace moe_test {
namespace {

using moe::GroupMask;
using moe::GroupScore;
using moe::ScoreFunction;
using moe::SelectBy;
using moe::TopKGate;
using naive::Row;
using Options = TopKGate::Options;

double sum_of(const Row& row) { return std::accumulate(row.begin(), row.end(), 0.0); }

struct Plain {
  std::vector<std::size_t> chosen;
  Row weight, scores;
};

/// The textbook, one token at a time, in double.
Plain plain_gate(const Options& o, std::size_t k, const Row& logits) {
  const std::size_t n = logits.size();
  Row z = logits;
  for (double& value : z) value /= o.temperature;
  const bool independent =
      o.score == ScoreFunction::sigmoid || o.score == ScoreFunction::sqrt_softplus;
  Row s = naive::softmax(z, 1);
  if (o.score == ScoreFunction::sigmoid) {
    for (std::size_t e = 0; e < n; ++e) s[e] = 1 / (1 + std::exp(-z[e]));
  } else if (o.score == ScoreFunction::sqrt_softplus) {
    for (std::size_t e = 0; e < n; ++e) s[e] = std::sqrt(std::log(1 + std::exp(z[e])));
  }
  for (double& v : s) v += o.score_epsilon;
  Plain out;
  out.scores = s;
  if (independent) {
    for (double& q : out.scores) q /= sum_of(s);
  }

  const bool plain_selection = o.selection_bias.empty() && o.num_groups == 1;
  bool by_scores = o.select_by == SelectBy::scores;
  if (o.select_by == SelectBy::automatic) {
    by_scores = !plain_selection && o.score != ScoreFunction::softmax_of_chosen;
  }
  Row key = by_scores ? s : logits;
  for (std::size_t e = 0; e < o.selection_bias.size(); ++e) {
    key[e] += static_cast<double>(o.selection_bias[e]);
  }
  if (o.num_groups > 1) {
    const auto groups = static_cast<std::size_t>(o.num_groups);
    const auto kept = static_cast<std::size_t>(o.top_groups);
    const std::size_t size = n / groups;
    Row value;
    for (std::size_t g = 0; g < groups; ++g) {
      Row member(key.begin() + static_cast<Index>(g * size),
                 key.begin() + static_cast<Index>((g + 1) * size));
      std::sort(member.rbegin(), member.rend());
      std::size_t best = 1;
      if (o.group_score == GroupScore::top2_sum) best = 2;
      if (o.group_score == GroupScore::top_share_sum) best = k / kept;
      member.resize(std::min(best, size));
      value.push_back(sum_of(member));
    }
    const auto order = naive::ranking(value);
    for (std::size_t i = kept; i < groups; ++i) {
      for (std::size_t e = 0; e < size; ++e) {
        key[order[i] * size + e] = o.group_mask == GroupMask::zero ? 0 : -kInfinity;
      }
    }
  }
  out.chosen = naive::ranking(key);
  out.chosen.resize(k);

  const bool normalise = k > 1 || o.normalize_single;
  Row u;
  for (std::size_t e : out.chosen) u.push_back(s[e]);
  if (o.score == ScoreFunction::softmax_of_chosen && normalise) {
    for (std::size_t j = 0; j < k; ++j) u[j] = z[out.chosen[j]];
    u = naive::softmax(u, 1);
  }
  bool divided = false;
  out.weight = u;
  if (o.renormalize && normalise && o.score != ScoreFunction::softmax_of_chosen) {
    divided = true;
    double norm = 0;
    for (double v : u) norm += std::pow(v, o.norm_p);
    norm = std::max(std::pow(norm, 1 / o.norm_p), o.norm_min) + o.norm_epsilon;
    for (double& w : out.weight) w /= norm;
  }
  for (double& w : out.weight) w *= divided && o.scale_only_unnormalized ? 1 : o.scale;
  return out;
}

template <class S>
void check_against_plain(const Options& options, Index k, const Matrix<S>& logits) {
  const TopKGate gate({.num_experts = logits.cols(), .top_k = k}, options);
  const auto out = route(gate, logits);
  check_well_formed(out.routing);
  const naive::Table table = to_table(logits);
  Matrix<double> weight(logits.rows(), k), scores(logits.rows(), logits.cols());
  Index wrong = 0;
  for (Index t = 0; t < logits.rows(); ++t) {
    const Plain plain =
        plain_gate(options, static_cast<std::size_t>(k), table[static_cast<std::size_t>(t)]);
    for (Index j = 0; j < k; ++j) {
      const auto at = static_cast<std::size_t>(j);
      wrong += out.routing.expert(t, j) != static_cast<int>(plain.chosen[at]);
      weight(t, j) = plain.weight[at];
    }
    for (Index e = 0; e < logits.cols(); ++e) {
      scores(t, e) = plain.scores[static_cast<std::size_t>(e)];
    }
  }
  CHECK(wrong == 0);
  CHECK(distance(out.routing.weight, weight) <= tolerance<S>(logits.cols()) * options.scale);
  CHECK(distance(out.routing.scores, scores) <= tolerance<S>(logits.cols()));
}

constexpr ScoreFunction kFunctions[] = {ScoreFunction::softmax, ScoreFunction::softmax_of_chosen,
                                        ScoreFunction::sigmoid, ScoreFunction::sqrt_softplus};

std::vector<float> random_bias(Index e, std::uint64_t seed, double size = 0.3) {
  const Matrix<float> m = random_matrix<float>(1, e, seed);
  std::vector<float> bias(m.data(), m.data() + e);
  for (float& b : bias) b *= static_cast<float>(size);
  return bias;
}

/// Random options that are allowed together.
Options random_options(std::uint64_t n, Index e, Index k) {
  moe::Random random(n, 3);
  const auto often = [&](double share) { return random.uniform() < share; };
  Options o;
  o.score = kFunctions[random.below(4)];
  o.renormalize = often(0.6);
  if (often(0.4)) o.temperature = random.uniform(0.5, 3);
  if (often(0.2)) o.select_by = SelectBy::logits;
  if (often(0.2)) o.select_by = SelectBy::scores;
  if (often(0.5)) o.selection_bias = random_bias(e, n);
  if (often(0.5)) {
    for (const Index groups : {8, 5, 4, 3, 2}) {
      if (e % groups != 0) continue;
      o.num_groups = groups;
      o.top_groups = 1 + static_cast<Index>(random.below(static_cast<std::uint64_t>(groups)));
      while (o.top_groups * (e / groups) < k) ++o.top_groups;
      o.group_score = static_cast<GroupScore>(random.below(3));
      if (o.group_score == GroupScore::top_share_sum && k < o.top_groups) {
        o.group_score = GroupScore::max;
      }
      if (often(0.3)) o.group_mask = GroupMask::zero;
      break;
    }
  }
  if (often(0.3)) o.norm_p = random.uniform(1, 3);
  if (often(0.3)) o.norm_epsilon = random.uniform(0, 0.2);
  if (often(0.3)) o.norm_min = random.uniform(0, 0.8);
  if (often(0.5)) o.scale = random.uniform(0.5, 16);
  o.scale_only_unnormalized = often(0.3);
  o.normalize_single = often(0.3);
  const bool independent =
      o.score == ScoreFunction::sigmoid || o.score == ScoreFunction::sqrt_softplus;
  if (independent && often(0.3)) o.score_epsilon = random.uniform(0, 0.3);
  return o;
}

}  // namespace

TEST_CASE("TopKGate computes its formula at random options and sizes", "[gate][top_k]") {
  constexpr Index kExperts[] = {1, 2, 3, 8, 16, 24, 40, 64, 65, 130, 512};
  for (std::uint64_t n = 0; n < 400; ++n) {
    const Index e = kExperts[n % 11];
    const Index k = n % 7 == 0 ? e : 1 + static_cast<Index>(n / 11) % std::min<Index>(e, 8);
    INFO("options " << n << " E " << e << " K " << k);
    const Options o = random_options(n, e, k);
    check_against_plain(o, k, random_matrix<double>(4, e, n + 1000));
  }
}

TEST_CASE("TopKGate in float agrees with its formula in double", "[gate][top_k]") {
  for (std::uint64_t n = 400; n < 500; ++n) {
    const Index e = n % 2 == 0 ? 8 : 65, k = 1 + static_cast<Index>(n % 3);
    INFO("options " << n << " E " << e << " K " << k);
    // multiples of 1/8: float and double see the same ties
    const Matrix<float> logits = (random_matrix<float>(4, e, n).array() * 8).round().matrix() / 8;
    Options o = random_options(n, e, k);
    o.temperature = 1;
    if (o.select_by == SelectBy::scores || !o.selection_bias.empty() || o.num_groups > 1) continue;
    check_against_plain(o, k, logits);
  }
}

TEST_CASE("TopKGate has the gradient of its differences at random options",
          "[gate][top_k][gradient]") {
  for (std::uint64_t n = 0; n < 150; ++n) {
    const Index e = n % 3 == 0 ? 8 : 5;
    const Index k = n % 5 == 0 ? e : 1 + static_cast<Index>(n % 4);
    INFO("options " << n << " E " << e << " K " << k);
    const TopKGate gate({.num_experts = e, .top_k = k}, random_options(n, e, k));
    check_gate_gradient(gate, random_matrix<double>(3, e, n + 77));
  }
}

TEST_CASE("TopKGate has the right gradient through a layer", "[gate][top_k][gradient]") {
  for (const ScoreFunction score : kFunctions) {
    for (const Index k : {1, 2, 4}) {
      for (const bool renormalize : {false, true}) {
        INFO("score " << static_cast<int>(score) << " K " << k << " " << renormalize);
        check_layer_gradient<TopKGate>({.renormalize = renormalize,
                                        .temperature = 1.3,
                                        .score = score,
                                        .selection_bias = {0.1f, -0.2f, 0.3f, 0.0f},
                                        .norm_epsilon = 1e-3,
                                        .scale = 2.5},
                                       k);
      }
    }
  }
  check_layer_gradient<TopKGate>({.score = ScoreFunction::sigmoid, .weight_on_input = true}, 2);
  check_layer_gradient<TopKGate>({.norm_p = 2}, 2);
  check_layer_gradient<TopKGate>({.norm_min = 0.7}, 2);
  check_layer_gradient<TopKGate>({.num_groups = 2, .group_score = GroupScore::max}, 2);
}

TEST_CASE("TopKGate's gradient below the clamp of the norm treats it as constant",
          "[gate][top_k][gradient]") {
  const TopKGate gate({.num_experts = 4, .top_k = 2},
                      {.score = ScoreFunction::sigmoid, .norm_min = 1.5});
  check_gate_gradient(gate, rows({{-2, -3, -1.5, -4}, {3, 2, 4, 1}}));
}

TEST_CASE("the selection bias moves the choice and never the weights", "[gate][top_k]") {
  // vLLM once put the bias into the weights; the weights here are sigmoids of the plain logits.
  const Matrix<double> logits = rows({{2, 1, 0, -1}});
  const TopKGate gate(
      {.num_experts = 4, .top_k = 2},
      {.renormalize = false, .score = ScoreFunction::sigmoid, .selection_bias = {0, 0, 0, 5}});
  const auto out = route(gate, logits);
  CHECK(experts_of(out.routing) == Experts{3, 0});
  CHECK(out.routing.weight(0, 0) == Approx(1 / (1 + std::exp(1.0))));
  CHECK(out.routing.weight(0, 1) == Approx(1 / (1 + std::exp(-2.0))));
}

TEST_CASE("the selection bias keeps float32, and small updates add up", "[gate][top_k]") {
  // In bfloat16 1 + 1e-3 is 1: updates would be lost, and with them the balance.
  TopKGate gate({.num_experts = 2, .top_k = 1},
                {.score = ScoreFunction::sigmoid, .selection_bias = {1.0f, 1.0f}});
  const Matrix<double> logits = rows({{0.01, 0.0}});
  CHECK(experts_of(route(gate, logits).routing) == Experts{0});
  for (int step = 0; step < 5; ++step) gate.selection_bias()[1] += 1e-3f;
  CHECK(gate.selection_bias()[1] == Approx(1.005));
  CHECK(experts_of(route(gate, logits).routing) == Experts{1});
}

TEST_CASE("masked groups are never chosen, however negative the others", "[gate][top_k]") {
  // transformers #45440: masking with 0.0 lets an expert of a masked group win.
  Options o{.score = ScoreFunction::sigmoid,
            .selection_bias = {-1, -1, -1, -1, -1, -1, -1, -1},
            .num_groups = 4,
            .top_groups = 2,
            .group_score = GroupScore::top2_sum};
  const Matrix<double> logits = rows({{-1, -1, 2, -3, 1, -4, -2, -2}});
  const auto right = route(TopKGate({.num_experts = 8, .top_k = 3}, o), logits);
  // sums of the two best: 0.54, 0.93, 0.75, 0.24 (minus 2): groups 1 and 2
  CHECK(experts_of(right.routing) == Experts{2, 4, 3});
  o.group_mask = GroupMask::zero;  // as the port was before its fix
  const auto old = route(TopKGate({.num_experts = 8, .top_k = 3}, o), logits);
  CHECK(experts_of(old.routing) == Experts{0, 1, 6});
}

TEST_CASE("the three group scores choose different groups", "[gate][top_k]") {
  // groups of four: best 5 | two best 3 + 3 | three best 2.5 + 2.5 + 2.5
  const Matrix<double> logits = rows({{5, -9, -9, -9, 3, 3, -9, -9, 2.5, 2.5, 2.5, -9}});
  const auto first_group = [&](GroupScore score) {
    const TopKGate gate(
        {.num_experts = 12, .top_k = 3},
        {.select_by = SelectBy::logits, .num_groups = 3, .top_groups = 1, .group_score = score});
    return experts_of(route(gate, logits).routing)[0] / 4;
  };
  CHECK(first_group(GroupScore::max) == 0);
  CHECK(first_group(GroupScore::top2_sum) == 1);
  CHECK(first_group(GroupScore::top_share_sum) == 2);
}

TEST_CASE("with K = 1 no score function leaves the router without gradient", "[gate][top_k]") {
  for (const ScoreFunction score : kFunctions) {
    for (const bool renormalize : {false, true}) {
      Options o{.renormalize = renormalize, .score = score};
      TopKGate gate({.num_experts = 3, .top_k = 1}, o);
      auto out = route(gate, rows({{0, 1, 0.5}}));
      const Matrix<double> none = Matrix<double>::Zero(1, 3), one = rows({{1}});
      CHECK(std::abs(gate_gradient(gate, out, one, none)(0, 1)) > 0.05);
      o.normalize_single = true;  // as some models publish: always 1, no gradient
      o.renormalize = true;
      TopKGate forced({.num_experts = 3, .top_k = 1}, o);
      auto constant = route(forced, rows({{0, 1, 0.5}}));
      CHECK(constant.routing.weight(0, 0) == Approx(1));
      CHECK(gate_gradient(forced, constant, one, none).norm() < 1e-12);
    }
  }
}

TEST_CASE("DeepSeek-V2 either normalises or scales", "[gate][top_k]") {
  const Matrix<double> logits = rows({{0, std::log(2.0), std::log(5.0)}});  // p 1/8 2/8 5/8
  const auto weight = [&](bool renormalize, Index k) {
    const TopKGate gate({.num_experts = 3, .top_k = k}, {.renormalize = renormalize,
                                                         .norm_epsilon = 1e-20,
                                                         .scale = 16,
                                                         .scale_only_unnormalized = true});
    return route(gate, logits).routing.weight(0, 0);
  };
  CHECK(weight(true, 2) == Approx(5.0 / 7));
  CHECK(weight(false, 2) == Approx(10));
  CHECK(weight(true, 1) == Approx(10));  // "k > 1 and norm_topk_prob"
}

TEST_CASE("a token whose scores are all tiny is where the epsilons differ", "[gate][top_k]") {
  const Matrix<double> logits = Matrix<double>::Constant(1, 4, -25);
  const double s = 1 / (1 + std::exp(25.0));
  const auto weight = [&](Options o) {
    o.score = ScoreFunction::sigmoid;
    return route(TopKGate({.num_experts = 4, .top_k = 2}, o), logits).routing.weight(0, 0);
  };
  CHECK(weight({}) == Approx(0.5));
  CHECK(weight({.norm_epsilon = 1e-20}) == Approx(0.5));
  CHECK(weight({.norm_epsilon = 1e-9}) == Approx(s / (2 * s + 1e-9)));
  CHECK(weight({.norm_min = 6.103515625e-5}) == Approx(s / 6.103515625e-5));
  CHECK(weight({.renormalize = false, .score_epsilon = 1e-7}) == Approx(s + 1e-7));
}

TEST_CASE("scores that underflow to zero give weight zero and finite gradients", "[gate][top_k]") {
  for (const double epsilon : {0.0, 1e-20}) {
    TopKGate gate({.num_experts = 3, .top_k = 2},
                  {.score = ScoreFunction::sigmoid, .norm_epsilon = epsilon});
    auto out = route(gate, rows({{-900, -1000, -950}}));
    CHECK(out.routing.weight(0, 0) == 0);
    CHECK(out.routing.scores(0, 0) == 0);
    CHECK(gate_gradient(gate, out, rows({{1, 2}}), rows({{1, 2, 3}})).allFinite());
  }
}

// OLMo-core adds 1e-7 to the sigmoid: weights stay away from zero, and what the sigmoid has lost to
// rounding gives no gradient of the wrong sign.
TEST_CASE("a score epsilon keeps weights of vanished sigmoids alike", "[gate][top_k]") {
  const TopKGate gate({.num_experts = 3, .top_k = 2},
                      {.score = ScoreFunction::sigmoid, .score_epsilon = 1e-7});
  for (const double level : {-900.0, -100.0, -40.0, -20.0}) {
    auto out = route(gate, Matrix<float>(Matrix<float>::Constant(1, 3, float(level))));
    CHECK(out.routing.weight(0, 0) == 0.5F);
    CHECK(out.routing.scores(0, 2) == Approx(1.0 / 3));
    const Matrix<float> dweight = Matrix<float>::Identity(1, 2), none = Matrix<float>::Zero(1, 3);
    Matrix<float> dlogits = none;
    gate.backward(std::as_const(out.routing), MatrixView<const float>(dweight),
                  MatrixView<const float>(none), MatrixView<float>(dlogits), out.state);
    CHECK(dlogits.allFinite());
    CHECK(dlogits(0, 0) >= 0);
    CHECK(dlogits(0, 1) <= 0);
  }
}

TEST_CASE("scores of independent functions sum to one for the balance losses", "[gate][top_k]") {
  for (const ScoreFunction score : kFunctions) {
    const TopKGate gate({.num_experts = 65, .top_k = 3}, {.score = score});
    const auto out = route(gate, random_matrix<double>(5, 65, 2));
    for (Index t = 0; t < 5; ++t) CHECK(out.routing.scores.eigen().row(t).sum() == Approx(1));
  }
}

TEST_CASE("no balance loss falls when all sigmoids shrink together", "[gate][top_k]") {
  // Megatron-LM #1545: with 1e-20 added to the sum, logits below -46 made the scores vanish.
  for (const ScoreFunction score : {ScoreFunction::sigmoid, ScoreFunction::sqrt_softplus}) {
    TopKGate gate({.num_experts = 4, .top_k = 2}, {.score = score});
    for (const double level : {0.0, -40.0, -80.0, -300.0}) {
      auto out = route(gate, rows({{level, level, level, level}}));
      for (Index e = 0; e < 4; ++e) CHECK(out.routing.scores(0, e) == Approx(0.25));
      const Matrix<double> gradient =
          gate_gradient(gate, out, rows({{0, 0}}), rows({{1, 1, 1, 1}}));
      CHECK(gradient.norm() < 1e-15);
    }
    const Matrix<float> low = Matrix<float>::Constant(1, 4, -85.0f);
    CHECK(route(gate, low).routing.scores.eigen().sum() == Approx(1));
  }
}

TEST_CASE("ranking by scores sees ties that rounding made, by logits does not", "[gate][top_k]") {
  Matrix<float> logits(1, 3);
  logits << 20.0f, 20.5f, 21.0f;  // every sigmoid rounds to 1
  const auto chosen = [&](SelectBy by) {
    const TopKGate gate({.num_experts = 3, .top_k = 1},
                        {.score = ScoreFunction::sigmoid, .select_by = by});
    return experts_of(route(gate, logits).routing);
  };
  CHECK(chosen(SelectBy::logits) == Experts{2});
  CHECK(chosen(SelectBy::automatic) == Experts{2});
  CHECK(chosen(SelectBy::scores) == Experts{0});
}

TEST_CASE("one NaN logit ranks last under every option", "[gate][top_k]") {
  for (const ScoreFunction score : kFunctions) {
    for (const bool biased : {false, true}) {
      Options o{.score = score, .num_groups = biased ? 2 : 1};
      if (biased) o.selection_bias = {0, 0, 0, 1};
      o.top_groups = o.num_groups;
      const TopKGate gate({.num_experts = 4, .top_k = 4}, o);
      const auto out = route(gate, rows({{1, kNaN, 2, 3}, {1, 0, 2, 3}}));
      const bool whole_row_is_nan = biased && score == ScoreFunction::softmax;
      if (!whole_row_is_nan) CHECK(experts_of(out.routing) == Experts{3, 2, 0, 1});
      CHECK(std::isnan(out.routing.scores(0, 0)));
      CHECK(out.routing.scores.eigen().row(1).allFinite());
      CHECK(out.routing.weight.eigen().row(1).allFinite());
      check_well_formed(out.routing);
    }
  }
}

TEST_CASE("the gate says where its weight goes", "[gate][top_k]") {
  CHECK_FALSE(TopKGate({.num_experts = 2, .top_k = 1}, {}).weight_on_input());
  CHECK(TopKGate({.num_experts = 2, .top_k = 1}, {.weight_on_input = true}).weight_on_input());
}

TEST_CASE("TopKGate refuses options that make no sense", "[gate][top_k][misuse]") {
  const auto sentence = [](Options o, Index k = 2, Index e = 8) {
    return sentence_of([&] { TopKGate({.num_experts = e, .top_k = k}, o); });
  };
  CHECK(sentence({.selection_bias = {1, 2}}) ==
        "moe::TopKGate: selection_bias has 2 values, num_experts is 8");
  CHECK(sentence({.selection_bias = {1, 2, std::numeric_limits<float>::infinity()}}, 1, 3) ==
        "moe::TopKGate: selection_bias contains inf, expected finite values");
  CHECK(sentence({.num_groups = 3}) ==
        "moe::TopKGate: num_groups is 3, expected a divisor of num_experts = 8");
  CHECK(sentence({.num_groups = 0}) == "moe::TopKGate: num_groups is 0, expected at least 1");
  CHECK(sentence({.num_groups = 4, .top_groups = 5}) ==
        "moe::TopKGate: top_groups is 5, expected 1 to num_groups = 4");
  CHECK(sentence({.num_groups = 4, .top_groups = 1}, 3) ==
        "moe::TopKGate: top_groups is 1 groups of 2 experts, expected room for top_k = 3");
  CHECK(sentence({.num_groups = 4, .top_groups = 3, .group_score = GroupScore::top_share_sum}) ==
        "moe::TopKGate: top_k is 2, expected at least top_groups = 3 when groups are scored by "
        "their top_k / top_groups best");
  CHECK(sentence({.norm_p = 0.5}) ==
        "moe::TopKGate: norm_p is 0.500000, expected a finite value of at least 1");
  CHECK(sentence({.norm_epsilon = -1}) ==
        "moe::TopKGate: norm_epsilon is -1.000000, expected a finite value of at least 0");
  CHECK(sentence({.norm_min = kNaN}) ==
        "moe::TopKGate: norm_min is nan, expected a finite value of at least 0");
  CHECK(sentence({.score = ScoreFunction::sigmoid, .score_epsilon = -1}) ==
        "moe::TopKGate: score_epsilon is -1.000000, expected a finite value of at least 0");
  CHECK(sentence({.score_epsilon = 1}) ==
        "moe::TopKGate: score_epsilon is 1.000000, expected 0 unless the score is sigmoid or "
        "sqrt_softplus");
  CHECK(sentence({.scale = 0}) ==
        "moe::TopKGate: scale is 0.000000, expected a finite value other than 0");
}

}  // namespace moe_test
