// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Where the codes of one model part: the tokens for which their presets must give other results.
#include "gate/gate_checks.hpp"
#include "moe/layer/presets.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

namespace presets = moe::presets;
using presets::Variant;

/// The routing of `options` for logits [T, E].
moe::Routing<double> routed(Index k, const moe::TopKGate::Options& options,
                            const Matrix<double>& logits) {
  const moe::TopKGate gate({.num_experts = logits.cols(), .top_k = k}, options);
  return route(gate, logits).routing;
}

double weight_sum(Index k, const moe::TopKGate::Options& options, const Matrix<double>& logits) {
  return routed(k, options, logits).weight.eigen().row(0).sum();
}

const presets::DeepSeekV3Config kOneGroup{.n_group = 1, .topk_group = 1};

}  // namespace

TEST_CASE("a token whose sigmoids nearly vanish tells the epsilons of DeepSeek-V3 apart",
          "[presets]") {
  const Matrix<double> logits = rows({{-60, -61, -62, -63}});
  const double s = moe::sigmoid(-60.0) + moe::sigmoid(-61.0);
  const auto sum = [&](Variant v) {
    return weight_sum(2, presets::deepseek_v3(4, v, kOneGroup), logits);
  };
  CHECK(sum(Variant::official) == Approx(2.5));
  CHECK(sum(Variant::hf) == Approx(2.5 * s / 1e-20).epsilon(1e-5));
  CHECK(sum(Variant::megatron) == sum(Variant::hf));
  CHECK(sum(Variant::llama_cpp) == Approx(2.5 * s / 6.103515625e-5));
  CHECK(sum(Variant::hf) < 1e-4);
  CHECK(sum(Variant::llama_cpp) < 1e-20);
}

TEST_CASE("MiniMax-M2, GLM and DeepSeek-V4 divide as their own codes do", "[presets]") {
  const Matrix<double> logits = rows({{-60, -61, -62, -63}});
  CHECK(weight_sum(2, presets::minimax_m2(4), logits) == Approx(1));
  CHECK(weight_sum(2, presets::minimax_m2(4, Variant::hf), logits) == Approx(1));
  CHECK(weight_sum(2, presets::minimax_m2(4, Variant::megatron), logits) < 1e-4);
  CHECK(weight_sum(2, presets::glm4_moe(4), logits) < 1e-4);
  CHECK(weight_sum(2, presets::deepseek_v4(4), logits) == Approx(2.5));
  CHECK(weight_sum(2, presets::deepseek_v4(4, Variant::llama_cpp), logits) < 1e-7);
}

TEST_CASE("a group mask of zero chooses outside DeepSeek-V3's groups when biases are negative",
          "[presets]") {
  const Matrix<double> logits = rows({{2, 1, 0, -1}});
  presets::DeepSeekV3Config config{.n_group = 2, .topk_group = 1};
  const auto chosen = [&](Variant v) {
    auto options = presets::deepseek_v3(4, v, config);
    options.selection_bias = {-2, -2, -2, -2};  // keys are sigmoid - 2: all negative
    return experts_of(routed(2, options, logits));
  };
  for (const Variant v : {Variant::official, Variant::hf, Variant::llama_cpp, Variant::megatron}) {
    CHECK(chosen(v) == Experts{0, 1});
  }
  config.group_mask = moe::GroupMask::zero;  // HF before transformers#45441
  CHECK(chosen(Variant::hf) == Experts{2, 3});
}

TEST_CASE("DeepSeek-V2's own code normalises or scales, HF only scales, llama.cpp does both",
          "[presets]") {
  const Matrix<double> logits = rows({{2, 1, 0, -1}});
  const double p = weight_sum(2, {.renormalize = false}, logits);
  const auto sum = [&](Variant v, bool norm) {
    return weight_sum(
        2,
        presets::deepseek_v2(
            v,
            {.n_group = 1, .topk_group = 1, .norm_topk_prob = norm, .routed_scaling_factor = 16}),
        logits);
  };
  CHECK(sum(Variant::official, true) == Approx(1));
  CHECK(sum(Variant::official, false) == Approx(16 * p));
  CHECK(sum(Variant::hf, true) == Approx(16 * p));
  CHECK(sum(Variant::hf, false) == Approx(16 * p));
  CHECK(sum(Variant::llama_cpp, true) == Approx(16));
  CHECK(sum(Variant::llama_cpp, false) == Approx(16 * p));
  CHECK(sum(Variant::megatron, true) == Approx(16 * p));
}

TEST_CASE("DeepSeek-V2's groups are scored by their best expert, llama.cpp's by their two best",
          "[presets]") {
  const Matrix<double> logits = rows({{2, -9, 1.9, 1.8}});
  const presets::DeepSeekV2Config config{.n_group = 2, .topk_group = 1};
  const auto chosen = [&](Variant v) {
    return experts_of(routed(2, presets::deepseek_v2(v, config), logits));
  };
  CHECK(chosen(Variant::official) == Experts{0, 1});
  CHECK(chosen(Variant::hf) == Experts{0, 1});
  CHECK(chosen(Variant::llama_cpp) == Experts{2, 3});
  CHECK(chosen(Variant::megatron) == Experts{2, 3});
}

TEST_CASE("llama.cpp normalises the weights of Grok-1 and Phi-3.5, the models do not",
          "[presets]") {
  const Matrix<double> logits = rows({{2, 1, 0, -1}});
  CHECK(weight_sum(2, presets::grok1(), logits) < 0.95);
  CHECK(weight_sum(2, presets::grok1(Variant::llama_cpp), logits) == Approx(1));
  CHECK(weight_sum(2, presets::phi_moe_llama_cpp(), logits) == Approx(1));
  const moe::SparseMixerGate phi({.num_experts = 4, .top_k = 2}, presets::phi_moe());
  CHECK(route(phi, logits).routing.weight.eigen().row(0).sum() == Approx(2));  // each alone
}

TEST_CASE(
    "in training GShard uses a second expert of weight w with probability 2 w, ST-MoE with 5 w",
    "[presets]") {
  const Index tokens = 4000;
  const auto share = [&](const moe::GShardGate::Options& options, double w2) {
    Matrix<double> logits(tokens, 2);
    logits.col(0).setConstant(std::log(1 - w2));
    logits.col(1).setConstant(std::log(w2));
    const moe::GShardGate gate({.num_experts = 2, .top_k = 2}, options);
    const auto out = route(gate, logits, {.seed = 7, .training = true});
    Index used = 0;
    for (Index t = 0; t < tokens; ++t) used += out.routing.expert(t, 1) != moe::kNoExpert;
    return static_cast<double>(used) / static_cast<double>(tokens);
  };
  CHECK(share(presets::gshard(), 0.3) == Approx(0.6).margin(0.03));
  CHECK(share(presets::st_moe(), 0.1) == Approx(0.5).margin(0.03));
  CHECK(share(presets::st_moe(), 0.3) == 1);
  CHECK(share(presets::glam(), 0.01) == 1);
  CHECK(share(presets::nllb(), 0.01) == 1);
}

TEST_CASE("Switch's capacity is a share of the tokens, Hugging Face's a number", "[presets]") {
  const auto capacity = [](const moe::CapacityOptions& c, bool training) {
    return moe::expert_capacity(c, /*tokens=*/800, /*top_k=*/1, /*experts=*/8, training);
  };
  CHECK(capacity(presets::switch_capacity(), true) == 125);
  CHECK(capacity(presets::switch_capacity(), false) == 200);
  CHECK(capacity(presets::switch_capacity(Variant::hf), true) == 64);
  CHECK(capacity(presets::switch_capacity(Variant::hf, 10), false) == 10);
  CHECK(capacity(presets::gshard_capacity(), true) == 200);
  CHECK(capacity(presets::st_moe_capacity(), true) == 125);
  CHECK(capacity(presets::nllb_capacity(), true) == 200);
  CHECK(capacity(presets::nllb_capacity(), false) == 800);
}

TEST_CASE("weights of GLaM and NLLB are normalised over what capacity left", "[presets]") {
  const moe::Dims dims{.model_dim = 4, .hidden_dim = 5, .num_experts = 4, .top_k = 2};
  auto config = presets::glam_layer<double>(dims);
  config.capacity.minimum = 1;
  config.capacity.multiple = 1;
  config.capacity.factor = 0.5;
  const moe::GlamMoe<double> layer(config, 3);
  const Matrix<double> x = random_matrix<double>(8, 4, 5);
  Matrix<double> y = x;
  moe::GlamMoe<double>::Workspace ws;
  layer.forward(x, y, ws);
  std::vector<double> sum(8, 0.0);
  for (std::size_t s = 0; s < ws.plan.token.size(); ++s) {
    sum[static_cast<std::size_t>(ws.plan.token[s])] += ws.slot_weight[static_cast<Index>(s)];
  }
  CHECK(ws.plan.count() < 16);
  for (const double w : sum) CHECK((w == 0 || std::abs(w - 1) < 1e-12));
}

TEST_CASE("the losses of presets have their published values at balance", "[presets]") {
  const moe::Dims dims{.model_dim = 4, .hidden_dim = 5, .num_experts = 4, .top_k = 2};
  moe::MixtralMoe<double> layer(presets::mixtral_layer<double>(dims));
  layer.router().weight.value.setIdentity();
  Matrix<double> x = 1.5 * Matrix<double>::Identity(4, 4), y = x;
  for (Index t = 0; t < 4; ++t) x(t, (t + 1) % 4) = 1;  // token t: expert t, then t + 1
  moe::MixtralMoe<double>::Tape tape;
  layer.forward(x, y, tape);
  CHECK(tape.add_loss(presets::switch_losses().balance) == Approx(1e-2));
  CHECK(tape.add_loss(presets::hf_losses(0.02).balance) == Approx(0.04));  // not divided by K
  CHECK(tape.add_loss(presets::olmoe_losses().balance) == Approx(1e-2));
  CHECK(tape.add_loss(presets::st_moe_losses().z) > 0);
  CHECK(tape.add_loss(presets::sparsely_gated_losses().load) == Approx(0).margin(1e-12));
  CHECK(tape.add_loss(presets::sparsely_gated_losses().importance) == Approx(0).margin(1e-12));
  CHECK(tape.add_loss(presets::vmoe_losses().importance) == Approx(0).margin(1e-12));
  CHECK(tape.add_loss(presets::Losses{}.balance) == 0);
  const std::vector<Index> lengths = {4};
  auto v3 = presets::deepseek_v3_losses();
  v3.sequence.lengths = lengths;
  CHECK(tape.add_loss(v3.sequence) == Approx(1e-4));
  CHECK(v3.bias.rate == 1e-3);
  auto v2 = presets::deepseek_v2_losses();
  v2.sequence.lengths = lengths;
  CHECK(tape.add_loss(v2.sequence) == Approx(3e-3));
}

}  // namespace moe_test
