// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Bugs that other projects had, as tests that this library passes: those that no other test file
// names. The others, by the words to search tests/ for:
//   transformers#45120 double softmax · #28021 softmax of the chosen · #43688 without 1/K ·
//   #28255 layers pooled · #45440, #45441 group mask 0 · #36730 dropped tokens passed through ·
//   Switch's cumsum over the batch · Megatron-LM#7213 micro-batch tokens · #1513 counts after
//   capacity · #1545 1e-20 hack · #1984 padding counted · Automodel#1408 no gradient at the gate ·
//   FastMoE (column 0, atomics, 2 w2) · vmoe#218 and davidmrau#9 NaN of CV^2 and of the load ·
//   lucidrains (shape of the threshold) · jitter in place · epsilons of tiny sums ·
//   the shared expert's sigmoid on the shared output alone
// transformers#48205 and Megatron-LM#7452 lose gradients between processes; here is one process, and
// what they have in common with it, experts without rows, is tested below.
#include "gate/every_gate.hpp"
#include "moe/layer/presets.hpp"
#include "moe/loss/bias_update.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

namespace presets = moe::presets;
const moe::Dims kDims{.model_dim = 4, .hidden_dim = 5, .num_experts = 6, .top_k = 2};
const moe::Dims kTop1{.model_dim = 4, .hidden_dim = 5, .num_experts = 6, .top_k = 1};

}  // namespace

// DeepSpeed#8620, lucidrains: the second expert is sampled at evaluation too.
TEST_CASE("evaluation draws nothing: no seed changes it", "[bug][presets]") {
  const Matrix<float> x = random_matrix<float>(20, 4, 3);
  const auto run = [&](const auto& layer) {
    typename std::remove_cvref_t<decltype(layer)>::Workspace workspace;
    Matrix<float> first(20, 4), second(20, 4);
    layer.forward(x, first, workspace, {.seed = 1});
    layer.forward(x, second, workspace, {.seed = 2, .step = 9, .first_token = 7});
    CHECK(same_bits(first, second));
  };
  run(moe::GShardMoe<float>(presets::gshard_layer(kDims)));
  run(moe::StMoe<float>(presets::st_moe_layer(kDims)));
  run(moe::NllbMoe<float>(presets::nllb_layer(kDims)));
  run(moe::SwitchMoe<float>(presets::switch_layer(kTop1)));
  run(moe::SparselyGatedMoe<float>(presets::sparsely_gated_layer(kDims)));
  run(moe::VMoe<float>(presets::vmoe_layer(kDims)));
  run(moe::PhiMoe<float>(presets::phi_moe_layer(kDims)));
  auto sampling = presets::gshard_layer(kDims);
  sampling.gate.policy = moe::SecondExpert::sampling;
  run(moe::GShardMoe<float>(sampling));
}

// DeepSpeed: logits += gumbel changed what the losses saw; HF NLLB does the same.
TEST_CASE("a gate that draws leaves the logits as they are", "[bug][gate]") {
  moe::GShardMoe<double>::Config config = presets::gshard_layer<double>(kDims);
  config.gate.policy = moe::SecondExpert::sampling;
  moe::GShardMoe<double> layer(config);
  const Matrix<double> x = random_matrix<double>(20, 4, 3);
  Matrix<double> y = x;
  moe::GShardMoe<double>::Tape tape;
  layer.forward(x, y, tape, {.seed = 5});
  const Matrix<double> clean = x * layer.router().weight.value.transpose();
  const MatrixView<double> seen(tape.logits.data(), 20, 6);
  CHECK(distance(seen, clean) < 1e-14);
}

// Megatron-LM#1617: padding an expert up to its capacity took tokens that never chose it.
TEST_CASE("an expert computes no token that did not choose it, however empty it is",
          "[bug][plan]") {
  const Matrix<double> logits = random_matrix<double>(30, 6, 5);
  const auto out = route(moe::TopKGate({.num_experts = 6, .top_k = 2}, {}), logits);
  for (const auto formula : {moe::CapacityFormula::lingvo, moe::CapacityFormula::deepspeed,
                             moe::CapacityFormula::vmoe, moe::CapacityFormula::mesh}) {
    moe::Plan plan;
    make_plan(out.routing, {.factor = 1, .formula = formula}, {}, plan);
    for (Index e = 0; e < 6; ++e) {
      CHECK(plan.load(e) <= plan.demanded[static_cast<std::size_t>(e)]);
      for (auto s = plan.offset[std::size_t(e)]; s < plan.offset[std::size_t(e) + 1]; ++s) {
        const Experts chosen = experts_of(out.routing, plan.token[static_cast<std::size_t>(s)]);
        CHECK(std::find(chosen.begin(), chosen.end(), static_cast<int>(e)) != chosen.end());
      }
    }
  }
}

// Megatron-LM#1984, #2121, #6111, #6114: padding counted, and a padding mask beside a bias broke.
TEST_CASE("padding moves neither the bias nor the losses of a biased gate", "[bug][gate]") {
  const Matrix<double> real = random_matrix<double>(7, 4, 3);
  Matrix<double> padded = Matrix<double>::Constant(12, 4, 9);
  const std::vector<std::uint8_t> mask = {1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1, 0};
  for (Index t = 0, i = 0; t < 12; ++t) {
    if (mask[static_cast<std::size_t>(t)] != 0) padded.row(t) = real.row(i++);
  }
  using Layer = moe::TopKMoe<double>;  // the routed part of DeepSeek-V3's
  Layer layer(presets::deepseek_v3_layer<double>(kDims, {}, {.n_group = 3, .topk_group = 2}).layer);
  std::vector<float> biases[2];
  double losses[2];
  for (const std::size_t round : {0u, 1u}) {
    layer.gate().set_selection_bias(std::vector<float>(6, 0.25F));
    Layer::Tape tape;
    const Matrix<double>& x = round == 0 ? real : padded;
    Matrix<double> y = x;
    layer.forward(x, y, tape, {.mask = round == 0 ? std::span<const std::uint8_t>{} : mask});
    losses[round] = tape.add_loss(moe::SwitchLoss{1}) + tape.add_loss(moe::RouterZLoss{1});
    moe::BiasUpdate{}(layer.gate().selection_bias(), tape.plan.demanded);
    const auto bias = layer.gate().selection_bias();
    biases[round].assign(bias.begin(), bias.end());
  }
  CHECK(biases[0] == biases[1]);
  CHECK(losses[0] == Approx(losses[1]).epsilon(1e-14));
}

// vLLM#12002 weighed by the biased score; #23640 kept the bias in bfloat16.
TEST_CASE("the selection bias is in no weight, and keeps steps of 1e-3", "[bug][gate]") {
  const Matrix<double> logits = random_matrix<double>(20, 6, 4);
  auto options = presets::deepseek_v3(6, {}, {.n_group = 1, .topk_group = 1});
  const std::vector<float> bias = {3, 3.001F, 3.002F, -2, -2.001F, 0};
  options.selection_bias = bias;
  const auto out = route(moe::TopKGate({.num_experts = 6, .top_k = 2}, options), logits);
  for (Index t = 0; t < 20; ++t) {
    const auto chosen = experts_of(out.routing, t);
    double sum = 0;
    for (const int e : chosen) sum += 1 / (1 + std::exp(-logits(t, e)));
    for (Index j = 0; j < 2; ++j) {
      const double s = 1 / (1 + std::exp(-logits(t, chosen[static_cast<std::size_t>(j)])));
      CHECK(out.routing.weight(t, j) == Approx(2.5 * s / sum));
    }
  }
  // bfloat16 has 8 bits: 3 + 0.001 would be 3
  const moe::TopKGate even({.num_experts = 6, .top_k = 2}, options);
  CHECK(experts_of(route(even, Matrix<double>(Matrix<double>::Zero(1, 6))).routing) ==
        Experts{2, 1});
}

// ik_llama.cpp ignores DeepSeek's group limit.
TEST_CASE("no token leaves its groups", "[bug][gate]") {
  const Matrix<double> logits = random_matrix<double>(200, 12, 4);
  for (const auto v : {presets::Variant::official, presets::Variant::hf,
                       presets::Variant::llama_cpp, presets::Variant::megatron}) {
    const moe::TopKGate gates[] = {
        {{.num_experts = 12, .top_k = 4}, presets::deepseek_v2(v, {.n_group = 4, .topk_group = 2})},
        {{.num_experts = 12, .top_k = 4},
         presets::deepseek_v3(12, v, {.n_group = 4, .topk_group = 2})}};
    for (const moe::TopKGate& gate : gates) {
      const auto out = route(gate, logits);
      for (Index t = 0; t < 200; ++t) {
        std::vector<int> groups;
        for (const int e : experts_of(out.routing, t)) groups.push_back(e / 3);
        std::sort(groups.begin(), groups.end());
        CHECK(std::unique(groups.begin(), groups.end()) - groups.begin() <= 2);
      }
    }
  }
}

// torchtitan counts twice under activation checkpointing.
TEST_CASE("counting everything twice moves the bias as counting it once", "[bug][loss]") {
  const std::vector<std::int32_t> once = {3, 0, 5, 4}, twice = {6, 0, 10, 8};
  for (const auto rule : {moe::BiasRule::sign, moe::BiasRule::centered_sign}) {
    std::vector<float> a(4, 0.1F), b = a;
    moe::BiasUpdate{.rule = rule}(std::span<float>(a), once);
    moe::BiasUpdate{.rule = rule}(std::span<float>(b), twice);
    CHECK(a == b);
  }
}

// transformers#45621, #48205, #32283: experts without tokens got uninitialised or lost gradients.
TEST_CASE("an expert without tokens has gradients of exactly zero, whatever memory held",
          "[bug][layer]") {
  moe::MixtralMoe<float> layer(presets::mixtral_layer(kDims), 3);
  const Matrix<float> x = random_matrix<float>(20, 4, 3);
  moe::MixtralMoe<float>::Tape tape;
  Step<float> step = train_step(layer, x, x, tape);  // fills the tape's memory
  layer.router().weight.value.setZero();             // ties: experts 0 and 1 take all
  layer.visit_parameters([](std::string_view, auto& p) { p.grad.setConstant(77); });
  step = train_step(layer, x, x, tape);
  for (const auto& [name, gradient] : step.gradient) {
    INFO(name);
    CHECK(gradient.allFinite());
    if (name.rfind("experts.", 0) != 0) continue;
    CHECK(gradient.isZero(0) == (name[8] != '0' && name[8] != '1'));
  }
}

// Megatron's sigmoid path is not normalised when K = 1 while it is when K > 1: here by name.
TEST_CASE("with K = 1 a normalising gate keeps the score, so that the router learns",
          "[bug][gate]") {
  for (const auto score : {moe::ScoreFunction::softmax, moe::ScoreFunction::sigmoid,
                           moe::ScoreFunction::sqrt_softplus}) {
    moe::TopKGate gate({.num_experts = 4, .top_k = 1}, {.renormalize = true, .score = score});
    auto out = route(gate, rows({{1, 0, -1, 0.5}}));
    CHECK(out.routing.weight(0, 0) != 1);
    const Matrix<double> none = Matrix<double>::Zero(1, 4);
    CHECK(gate_gradient(gate, out, rows({{1}}), none).norm() > 0.01);
  }
}

// HF's DeepSeek-V2 router returned weights scattered over all experts, [T, E] instead of [T, K].
TEMPLATE_TEST_CASE("weight j of a token is that of its choice j", "[bug][gate]", MOE_TEST_GATES) {
  const auto gate = make_gate<TestType>(2, 6);
  const auto out = route(gate, random_matrix<double>(9, 6, 3), {.seed = 1, .training = true});
  CHECK(out.routing.weight.cols() == gate.top_k());
  for (Index t = 0; t < 9; ++t) {
    for (Index j = 0; j < gate.top_k(); ++j) {
      CHECK((out.routing.weight(t, j) > 0) == (out.routing.expert(t, j) != moe::kNoExpert));
    }
  }
}

}  // namespace moe_test
