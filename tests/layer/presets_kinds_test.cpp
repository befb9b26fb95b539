// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers of published models with shared experts, experts of several kinds or a clamped SwiGLU, each
// made by its preset in one line, against PyTorch: output and every gradient; see
// tests/golden/make_kinds_golden.py.
#include "moe/layer/presets/kinds_layers.hpp"
#include "moe/layer/presets/latent_layers.hpp"
#include "moe/layer/presets/shared_layers.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

namespace presets = moe::presets;

const moe::Dims kTop1{.model_dim = 4, .hidden_dim = 5, .num_experts = 6, .top_k = 1};
const moe::Dims kTop2{.model_dim = 4, .hidden_dim = 5, .num_experts = 6, .top_k = 2};
const moe::Dims kTop3{.model_dim = 4, .hidden_dim = 5, .num_experts = 6, .top_k = 3};

template <class S>
struct Checker {
  Golden golden = read_golden("preset_kinds.txt");
  double allowed = std::is_same_v<S, double> ? 1e-11 : tolerance<S>(100);

  Matrix<S> at(const std::string& name) const { return golden.at(name).template cast<S>(); }

  /// Every weight of the layer from the file; a preset without one of the family's parts would fail
  /// in y, one with a part more finds no gradient.
  template <class Layer>
  void operator()(const std::string& family, Layer layer) const {
    INFO(family);
    layer.visit_parameters([&](std::string_view name, auto& p) {
      const Matrix<S> value = at(in_file(family, name));
      INFO(name);
      REQUIRE(value.rows() == p.value.rows());
      REQUIRE(value.cols() == p.value.cols());
      p.value = value;
    });
    if constexpr (requires { layer.layer(); }) {
      load_bias(layer.layer());
    } else {
      load_bias(layer);
    }
    Matrix<S> y(10, 4);
    typename Layer::Workspace workspace;
    layer.forward(at("x"), y, workspace);
    CHECK(distance(y, golden.at(family + ".y")) <= allowed);
    const Step<S> step = train_step(layer, at("x"), at("dy"));
    CHECK(same_bits(step.y, y));
    CHECK(distance(step.dx, golden.at(family + ".dx")) <= allowed);
    for (const auto& [name, gradient] : step.gradient) {
      INFO(name);
      CHECK(distance(gradient, golden.at(family + "." + in_file(family, name))) <= allowed);
    }
  }

  /// The narrower experts of a latent layer have names of their own in the file.
  static std::string in_file(const std::string& family, std::string_view name) {
    const bool narrow = family == "nemotron" && name.rfind("experts.", 0) == 0;
    return narrow ? "latent" + std::string(name.substr(7)) : std::string(name);
  }

  template <class Layer>
  void load_bias(Layer& layer) const {
    if (layer.gate().selection_bias().empty()) return;
    const Matrix<double>& bias = golden.at("bias");
    layer.gate().set_selection_bias(std::vector<float>(bias.data(), bias.data() + bias.size()));
  }
};

}  // namespace

TEMPLATE_TEST_CASE("layers with shared experts agree with PyTorch", "[presets][golden]", float,
                   double) {
  using S = TestType;
  const Checker<S> check;
  // The file's shared expert is twice as wide as the others.
  const moe::presets::DeepSeekV3Config plain{.n_group = 1, .topk_group = 1, .n_shared_experts = 2};
  check("qwen2_moe", moe::Qwen2Moe<S>(presets::qwen2_moe_layer<S>(kTop2, {}, false, 10)));
  check("ernie45_moe", moe::Ernie45Moe<S>(presets::ernie45_moe_layer<S>(kTop2, {}, 0.4)));
  check("deepseek_v2", moe::DeepSeekV2Moe<S>(presets::deepseek_v2_layer<S>(
                           kTop2, {}, {.n_group = 3, .topk_group = 2})));
  check("deepseek_v3", moe::DeepSeekV3Moe<S>(presets::deepseek_v3_layer<S>(
                           kTop2, {}, {.n_group = 3, .topk_group = 2, .n_shared_experts = 2})));
  check("glm4_moe", moe::Glm4Moe<S>(presets::glm4_moe_layer<S>(kTop2, {}, plain)));
  check("glm4_moe", moe::Dots1Moe<S>(presets::dots1_layer<S>(kTop2)));
  auto llama4 = presets::llama4_layer<S>(kTop1);
  llama4.hidden_dim = 10;
  check("llama4", moe::Llama4Moe<S>(llama4));
}

TEMPLATE_TEST_CASE("layers of clamped SwiGLU experts agree with PyTorch", "[presets][golden]",
                   float, double) {
  using S = TestType;
  const Checker<S> check;
  check("gpt_oss", moe::GptOssMoe<S>(presets::gpt_oss_layer<S>(kTop2)));
  check("deepseek_v4",
        moe::DeepSeekV4Moe<S>(presets::deepseek_v4_layer<S>(kTop2, {}, 2.5, /*swiglu_limit=*/0.5,
                                                            /*n_shared_experts=*/2)));
}

TEMPLATE_TEST_CASE("layers of experts of several kinds agree with PyTorch", "[presets][golden]",
                   float, double) {
  using S = TestType;
  const Checker<S> check;
  check("longcat", moe::LongCatMoe<S>(presets::longcat_layer<S>(kTop3, {}, /*zero_experts=*/2)));
  check("moe_plus_plus", moe::MoePlusPlus<S>(presets::moe_plus_plus_layer<S>(
                             kTop2, {}, {.capacity_factor = std::nullopt})));
}

TEMPLATE_TEST_CASE("a latent layer agrees with PyTorch", "[presets][golden]", float, double) {
  using S = TestType;
  const Checker<S> check;
  check("nemotron", moe::NemotronMoe<S>(presets::nemotron_layer<S>(kTop2, /*latent_dim=*/3,
                                                                   /*shared_hidden_dim=*/10)));
}

TEST_CASE("MoE++'s balance and capacities aim at the same loads", "[presets]") {
  // The loss is at its least for a given sum of loads where eta f is the same for all: the capacities'
  // own ratio. 12 FFNs and 4 others.
  const presets::MoePlusPlusConfig config{.tau = 0.25, .capacity_factor = 1.0};
  const std::vector<double> eta = presets::moe_plus_plus_eta(16, config);
  CHECK(std::count(eta.begin(), eta.end(), 1.0) == 12);
  const auto layer = presets::moe_plus_plus_layer<float>(
      {.model_dim = 4, .hidden_dim = 4, .num_experts = 16, .top_k = 2}, {}, config);
  std::vector<Index> limit;
  moe::expert_capacities(layer.capacity, 700, 2, 16, true, limit);
  for (std::size_t e = 0; e < 16; ++e) {
    CHECK(static_cast<double>(limit[e]) * eta[e] == Approx(static_cast<double>(limit[15]) * 0.25));
  }
  CHECK(std::accumulate(limit.begin(), limit.end(), Index{0}) == 1400);
}

}  // namespace moe_test
