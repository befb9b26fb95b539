// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every preset's gate against the code it follows, written in PyTorch: choices, weights and the
// gradient to the logits; see tests/golden/make_preset_golden.py.
#include "gate/gate_checks.hpp"
#include "moe/layer/presets.hpp"
#include "support/golden.hpp"

namespace moe_test {
namespace {

namespace presets = moe::presets;
using presets::Variant;

constexpr Index kExperts = 12;

/// The golden file, and what it is compared with.
template <class S>
struct Checker {
  Golden golden = read_golden("preset_gates.txt");
  double allowed = std::is_same_v<S, double> ? 1e-11 : 4 * tolerance<S>(kExperts);

  std::vector<float> bias(const std::string& name) const {
    const Matrix<double>& m = golden.at(name);
    return std::vector<float>(m.data(), m.data() + m.size());
  }

  template <class G>
  void gate(const std::string& name, const G& g) const {
    INFO(name);
    const bool close = name == "phi_moe.official";
    const Matrix<S> logits = golden.at(close ? "close" : "logits").template cast<S>();
    const Index k = g.top_k();
    auto out = route(g, logits);
    CHECK(distance(Matrix<double>(out.routing.expert.eigen().template cast<double>()),
                   golden.at(name + ".expert")) == 0);
    CHECK(distance(out.routing.weight, golden.at(name + ".weight")) <= allowed);
    const Matrix<S> dweight = golden.at("dweight").leftCols(k).template cast<S>();
    const Matrix<S> dscores = Matrix<S>::Zero(logits.rows(), kExperts);
    Matrix<S> dlogits = dscores;
    g.backward(std::as_const(out.routing), MatrixView<const S>(dweight),
               MatrixView<const S>(dscores), MatrixView<S>(dlogits), out.state);
    CHECK(distance(dlogits, golden.at(name + ".dlogits")) <= allowed);
  }

  template <class G = moe::TopKGate>
  void operator()(const std::string& name, Index k, const typename G::Options& options) const {
    gate(name, G({.num_experts = kExperts, .top_k = k}, options));
  }

  /// As a checkpoint would: the preset's options, then its bias.
  void biased(const std::string& name, Index k, const moe::TopKGate::Options& options,
              const std::string& which = "bias") const {
    moe::TopKGate g({.num_experts = kExperts, .top_k = k}, options);
    REQUIRE(g.selection_bias().size() == kExperts);
    g.set_selection_bias(bias(which));
    gate(name, g);
  }
};

constexpr Variant kOfficial = Variant::official, kHf = Variant::hf, kLlama = Variant::llama_cpp,
                  kMegatron = Variant::megatron;

}  // namespace

TEMPLATE_TEST_CASE("presets of softmax gates agree with the codes they follow", "[presets][golden]",
                   float, double) {
  const Checker<TestType> check;
  check("mixtral.official", 2, presets::mixtral());
  check("mixtral.hf", 2, presets::mixtral(kHf));
  check("mixtral.llama_cpp", 2, presets::mixtral(kLlama));
  check("mixtral.megatron", 2, presets::mixtral(kMegatron));
  for (const Variant v : {kOfficial, kHf}) {
    check("qwen2_moe.official", 4, presets::qwen2_moe(v));
    check("qwen3_moe.official", 4, presets::qwen3_moe(v));
    check("olmoe.official", 4, presets::olmoe(v));
    check("granite_moe.official", 4, presets::granite_moe(v));
    check("grok1.official", 2, presets::grok1(v));
    check("dbrx.official", 4, presets::dbrx(v));
    check("dbrx_2.official", 4, presets::dbrx(v, 2));
    check("dbrx_none.official", 4, presets::dbrx(v, 0));
  }
  check("qwen2_moe.llama_cpp", 4, presets::qwen2_moe(kLlama));
  check("qwen2_moe.megatron", 4, presets::qwen2_moe(kMegatron));
  check("qwen3_moe.llama_cpp", 4, presets::qwen2_moe(kLlama, /*norm_topk_prob=*/true));
  check("qwen3_moe.llama_cpp", 4, presets::qwen3_moe(kLlama));
  check("qwen3_moe.megatron", 4, presets::qwen3_moe(kMegatron));
  check("dbrx.llama_cpp", 4, presets::dbrx(kLlama));
  check("jamba.official", 2, presets::jamba());
  check("jamba.llama_cpp", 2, presets::jamba(kLlama));
  check("granite_moe.llama_cpp", 4, presets::granite_moe(kLlama));
  check("gpt_oss.official", 4, presets::gpt_oss());
  check("gpt_oss.llama_cpp", 4, presets::gpt_oss(kLlama));
  check("grok1.llama_cpp", 2, presets::grok1(kLlama));
  check("phi_moe_llama_cpp.official", 2, presets::phi_moe_llama_cpp());
  check.biased("ernie45_moe.official", 3, presets::ernie45_moe(kExperts, kOfficial, 0.4));
  check.biased("ernie45_moe.llama_cpp", 3, presets::ernie45_moe(kExperts, kLlama, 0.4));
  check.biased("longcat.official", 3, presets::longcat(kExperts));
}

TEMPLATE_TEST_CASE("the DeepSeek-V2 presets agree with the codes they follow", "[presets][golden]",
                   float, double) {
  const Checker<TestType> check;
  for (const bool norm : {false, true}) {
    const presets::DeepSeekV2Config config{.n_group = 4, .topk_group = 2, .norm_topk_prob = norm};
    const std::string name = norm ? "deepseek_v2_norm" : "deepseek_v2";
    check(name + ".official", 4, presets::deepseek_v2(kOfficial, config));
    check(name + ".hf", 4, presets::deepseek_v2(kHf, config));
    check(name + ".llama_cpp", 4, presets::deepseek_v2(kLlama, config));
    check("deepseek_v2.megatron", 4, presets::deepseek_v2(kMegatron, config));
  }
}

TEMPLATE_TEST_CASE("presets of sigmoid gates agree with the codes they follow", "[presets][golden]",
                   float, double) {
  const Checker<TestType> check;
  presets::DeepSeekV3Config v3{.n_group = 4, .topk_group = 2};
  check.biased("deepseek_v3.official", 4, presets::deepseek_v3(kExperts, kOfficial, v3));
  check.biased("deepseek_v3.hf", 4, presets::deepseek_v3(kExperts, kHf, v3));
  check.biased("deepseek_v3.llama_cpp", 4, presets::deepseek_v3(kExperts, kLlama, v3));
  check.biased("deepseek_v3.megatron", 4, presets::deepseek_v3(kExperts, kMegatron, v3));
  check.biased("deepseek_v3_low.official", 4, presets::deepseek_v3(kExperts, kOfficial, v3), "low");
  v3.group_mask = moe::GroupMask::zero;
  check.biased("deepseek_v3_low.hf", 4, presets::deepseek_v3(kExperts, kHf, v3), "low");
  for (const Variant v : {kOfficial, kHf, kMegatron}) {
    check.biased("glm4_moe.official", 4, presets::glm4_moe(kExperts, v));
    check.biased("dots1.official", 3, presets::dots1(kExperts, v));
    check.biased("kimi_k2.official", 4, presets::kimi_k2(kExperts, v));
  }
  check.biased("glm4_moe.llama_cpp", 4, presets::glm4_moe(kExperts, kLlama));
  check.biased("deepseek_v4.official", 3, presets::deepseek_v4(kExperts));
  check.biased("deepseek_v4.official", 3, presets::deepseek_v4(kExperts, kHf));
  check.biased("deepseek_v4.llama_cpp", 3, presets::deepseek_v4(kExperts, kLlama));
  check.biased("deepseek_v4.megatron", 3, presets::deepseek_v4(kExperts, kMegatron));
  check.biased("minimax_m2.official", 4, presets::minimax_m2(kExperts));
  check.biased("minimax_m2.official", 4, presets::minimax_m2(kExperts, kHf));
  check.biased("minimax_m2.llama_cpp", 4, presets::minimax_m2(kExperts, kLlama));
  check.biased("minimax_m2.megatron", 4, presets::minimax_m2(kExperts, kMegatron));
  check.biased("torchtitan.official", 3, presets::torchtitan(kExperts, true, 2));
  check.biased("olmo_core.official", 3, presets::olmo_core(kExperts));
  check.biased("olmo_core_2.official", 3, presets::olmo_core(kExperts, 2));
  for (const Variant v : {kOfficial, kHf, kLlama, kMegatron}) {
    check("llama4.official", 1, presets::llama4(v));
  }
}

TEMPLATE_TEST_CASE("presets of the classic gates agree with their formulas", "[presets][golden]",
                   float, double) {
  const Checker<TestType> check;
  const moe::Dims dims{8, 8, kExperts, 1};
  check("switch_transformer.official", 1, presets::switch_transformer());
  check("sparsely_gated.official", 4, presets::sparsely_gated());
  check.template operator()<moe::GShardGate>("gshard.official", 2, presets::gshard());
  check.template operator()<moe::GShardGate>("st_moe.official", 2, presets::st_moe());
  check.template operator()<moe::GShardGate>("glam.official", 2, presets::glam());
  check.template operator()<moe::GShardGate>("nllb.official", 2, presets::nllb());
  check.template operator()<moe::SparseMixerGate>("phi_moe.official", 2,
                                                  presets::phi_moe(kOfficial, 0.2));
  check.template operator()<moe::AuctionGate>("base.official", 1, presets::base_layer(dims).gate);
  check.template operator()<moe::SinkhornGate>("s_base.official", 1,
                                               presets::s_base_layer(dims).gate);
  check.template operator()<moe::ReluGate>("remoe.official", 2, presets::remoe_layer(dims).gate);
  check.template operator()<moe::ExpertChoiceGate>("expert_choice.official", 1,
                                                   presets::expert_choice_layer(dims).gate);
  check.template operator()<moe::TopPGate>("top_p.official", 1, presets::top_p_layer(dims).gate);
  check("vmoe.official", 2, presets::vmoe_layer(dims).gate);
  check("xmoe.official", 1, presets::xmoe_layer(dims).gate);
}

}  // namespace moe_test
