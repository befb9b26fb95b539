// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The gates of published families against PyTorch, values and gradients: tests/golden/gates.txt.
#include "support/golden.hpp"

#include "gate/gate_checks.hpp"
#include "moe/gate/expert_choice.hpp"
#include "moe/gate/gshard.hpp"
#include "moe/gate/relu.hpp"
#include "moe/gate/sinkhorn.hpp"
#include "moe/gate/sparse_mixer.hpp"
#include "moe/gate/top_any.hpp"
#include "moe/gate/top_k.hpp"
#include "moe/gate/top_p.hpp"

namespace moe_test {
namespace {

using moe::GroupMask;
using moe::GroupScore;
using moe::ScoreFunction;
using moe::TopKGate;

constexpr Index kExperts = 12;

/// Runs `gate` on the golden logits in S and compares everything.
template <class S, class G>
void check(const Golden& golden, const std::string& name, G gate, bool training = false) {
  INFO(name);
  const Matrix<S> logits = golden.at(name == "phi_mixer" ? "close" : "logits").template cast<S>();
  const Matrix<double>& expert = golden.at(name + ".expert");
  const Index t_count = logits.rows(), k = gate.top_k();
  REQUIRE(expert.cols() == k);
  auto out = route(gate, logits, {.training = training});
  CHECK(distance(Matrix<double>(out.routing.expert.eigen().template cast<double>()), expert) == 0);
  const double allowed = 4 * tolerance<S>(kExperts);
  CHECK(distance(out.routing.weight, golden.at(name + ".weight")) <= allowed);
  CHECK(distance(out.routing.scores, golden.at(name + ".scores")) <= allowed);
  const Matrix<S> dweight = golden.at("dweight").leftCols(k).template cast<S>();
  const Matrix<S> dscores = golden.at("dscores").template cast<S>();
  Matrix<S> dlogits = Matrix<S>::Zero(t_count, kExperts);
  gate.backward(std::as_const(out.routing), MatrixView<const S>(dweight),
                MatrixView<const S>(dscores), MatrixView<S>(dlogits), out.state);
  CHECK(distance(dlogits, golden.at(name + ".dlogits")) <= allowed);
  if constexpr (requires { gate.threshold; }) {
    CHECK(distance(gate.threshold.grad, golden.at(name + ".dthreshold")) <= allowed);
  }
}

template <class S>
void check_all() {
  const Golden golden = read_golden("gates.txt");
  const auto vector_of = [&](const char* name) {
    const Matrix<double>& m = golden.at(name);
    return std::vector<float>(m.data(), m.data() + m.size());
  };
  const std::vector<float> bias = vector_of("bias"), low = vector_of("low");
  const auto top_k = [&](const char* name, Index k, const TopKGate::Options& options) {
    check<S>(golden, name, TopKGate({.num_experts = kExperts, .top_k = k}, options));
  };
  constexpr auto kOfChosen = ScoreFunction::softmax_of_chosen;
  constexpr auto kSigmoid = ScoreFunction::sigmoid;
  constexpr auto kSqrtSoftplus = ScoreFunction::sqrt_softplus;
  constexpr double kSmallestHalf = 6.103515625e-5;

  top_k("switch", 1, {});
  top_k("mixtral", 2, {});
  top_k("qwen3", 4, {});
  top_k("olmoe", 4, {.renormalize = false});
  top_k("dbrx_1", 4, {.norm_p = 1});
  top_k("dbrx_2", 4, {.norm_p = 2});
  top_k("ernie", 3, {.selection_bias = bias, .norm_min = 0.4});
  top_k("longcat", 3, {.renormalize = false, .selection_bias = bias, .scale = 6});
  top_k("gpt_oss", 4, {.score = kOfChosen});
  top_k("llama4", 1, {.score = kSigmoid, .weight_on_input = true});
  for (const bool norm : {false, true}) {
    top_k(norm ? "deepseek_v2_norm" : "deepseek_v2", 3,
          {.renormalize = norm,
           .num_groups = 4,
           .top_groups = 2,
           .group_score = GroupScore::max,
           .group_mask = GroupMask::zero,
           .norm_epsilon = 1e-20,
           .scale = 16,
           .scale_only_unnormalized = true});
  }
  const auto v3 = [&](const char* name, double epsilon, GroupMask mask,
                      const std::vector<float>& b) {
    top_k(name, 4,
          {.score = kSigmoid,
           .selection_bias = b,
           .num_groups = 4,
           .top_groups = 2,
           .group_score = GroupScore::top2_sum,
           .group_mask = mask,
           .norm_epsilon = epsilon,
           .scale = 2.5});
  };
  v3("deepseek_v3", 0, GroupMask::minus_infinity, bias);
  v3("deepseek_v3_hf", 1e-20, GroupMask::minus_infinity, bias);
  v3("deepseek_v3_hf_old", 1e-20, GroupMask::zero, low);
  top_k("deepseek_v4", 3,
        {.score = kSqrtSoftplus, .selection_bias = bias, .norm_epsilon = 1e-20, .scale = 1.5});
  top_k("deepseek_v4_llama_cpp", 3,
        {.score = kSqrtSoftplus, .selection_bias = bias, .norm_min = kSmallestHalf, .scale = 2.5});
  top_k("minimax_m2", 4, {.score = kSigmoid, .selection_bias = bias});
  top_k("torchtitan", 3,
        {.score = kSigmoid, .selection_bias = bias, .norm_epsilon = 1e-20, .scale = 2});
  top_k("megatron_sigmoid_top_1", 1,
        {.score = kSigmoid, .selection_bias = bias, .norm_epsilon = 1e-20});
  for (const bool pre : {false, true}) {
    top_k(pre ? "megatron_pre_softmax" : "megatron_post_softmax", 4,
          {.renormalize = false,
           .score = pre ? ScoreFunction::softmax : kOfChosen,
           .num_groups = 4,
           .top_groups = 2,
           .group_score = GroupScore::top_share_sum,
           .scale = 1.5});
  }
  top_k("llama_cpp", 2, {.norm_min = kSmallestHalf});

  const auto gshard = [&](const char* name, double threshold,
                          moe::GShardGate::Renormalize renormalize) {
    check<S>(golden, name,
             moe::GShardGate({.num_experts = kExperts, .top_k = 2},
                             {.evaluation_policy = moe::SecondExpert::threshold,
                              .threshold = threshold,
                              .renormalize = renormalize}));
  };
  gshard("mesh_threshold", 0.35, moe::GShardGate::Renormalize::before);
  gshard("lingvo_threshold", 0.12, moe::GShardGate::Renormalize::after);
  const Dims two{.num_experts = kExperts, .top_k = 2}, one{.num_experts = kExperts, .top_k = 1};
  check<S>(golden, "phi_mixer", moe::SparseMixerGate(two, {.jitter = 0.2}));
  check<S>(golden, "expert_choice", moe::ExpertChoiceGate(two, {}));
  check<S>(golden, "mesh_expert_choice",
           moe::ExpertChoiceGate(one, {.softmax = moe::ExpertChoiceGate::Softmax::over_tokens,
                                       .min_capacity = 2,
                                       .average_experts = true}));
  check<S>(golden, "remoe", moe::ReluGate(two, {}));
  check<S>(golden, "top_p", moe::TopPGate(one, {.top_p = 0.6}));
  moe::TopAnyGate<S> any(one, {});
  any.threshold.value = golden.at("threshold").template cast<S>();
  check<S>(golden, "dynmoe", any, /*training=*/true);
  check<S>(golden, "sinkhorn_1", moe::SinkhornGate(one, {}), /*training=*/true);
  check<S>(golden, "sinkhorn_3", moe::SinkhornGate({.num_experts = kExperts, .top_k = 3}, {}),
           /*training=*/true);
}

}  // namespace

TEST_CASE("the gates of published families agree with PyTorch", "[gate][golden]") {
  check_all<double>();
  check_all<float>();
}

}  // namespace moe_test
