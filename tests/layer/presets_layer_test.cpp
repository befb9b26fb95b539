// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers of famous models, each made by its preset in one line, against PyTorch: output and every
// gradient; see tests/golden/make_preset_golden.py.
#include <vector>

#include "moe/layer/presets.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

namespace presets = moe::presets;

const moe::Dims kTop1{.model_dim = 4, .hidden_dim = 5, .num_experts = 6, .top_k = 1};
const moe::Dims kTop2{.model_dim = 4, .hidden_dim = 5, .num_experts = 6, .top_k = 2};

template <class S>
struct Checker {
  Golden golden = read_golden("preset_layers.txt");
  double allowed = std::is_same_v<S, double> ? 1e-11 : tolerance<S>(60);

  Matrix<S> at(const std::string& name) const { return golden.at(name).template cast<S>(); }

  /// Gives the layer the file's weights, the same for every family.
  template <class Layer>
  void load(Layer& layer) const {
    std::size_t loaded = 0;
    layer.visit_parameters([&](std::string_view name, auto& p) {
      if (golden.count(std::string(name)) == 0) return;
      const Matrix<S> value = at(std::string(name));
      REQUIRE(value.rows() == p.value.rows());
      REQUIRE(value.cols() == p.value.cols());
      p.value = value;
      ++loaded;
    });
    CHECK(loaded >= 1 + 2 * 6);
  }

  /// The forward without a tape.
  template <class Layer>
  void evaluate(const std::string& family, const Layer& layer) const {
    INFO(family);
    const Matrix<S> x = at("x");
    Matrix<S> y(x.rows(), x.cols());
    typename Layer::Workspace workspace;
    layer.forward(x, y, workspace);
    CHECK(distance(y, golden.at(family + ".y")) <= allowed);
  }

  /// A training step: y, dx and the gradients of the router and of all experts.
  template <class Layer>
  void train(const std::string& family, Layer& layer) const {
    INFO(family);
    const Step<S> step = train_step(layer, at("x"), at("dy"));
    CHECK(distance(step.y, golden.at(family + ".y")) <= allowed);
    CHECK(distance(step.dx, golden.at(family + ".dx")) <= allowed);
    for (const auto& [name, gradient] : step.gradient) {
      INFO(name);
      if (golden.count(name) == 0) continue;  // the noise's own weights
      CHECK(distance(gradient, golden.at(family + "." + name)) <= allowed);
    }
  }

  /// Of a layer with a shared expert the routed part; the whole is in presets_kinds_test.cpp.
  template <class Layer>
  void both(const std::string& family, Layer layer) const {
    if constexpr (requires { layer.shared_expert(); }) {
      both(family, layer.layer());
    } else {
      load(layer);
      evaluate(family, layer);
      train(family, layer);
    }
  }

  /// As a checkpoint would: the preset's layer, then its selection bias.
  template <class Layer>
  void biased(const std::string& family, Layer layer) const {
    if constexpr (requires { layer.shared_expert(); })
      return biased(family, layer.layer());
    else
      return biased_routed(family, std::move(layer));
  }
  template <class Layer>
  void biased_routed(const std::string& family, Layer layer) const {
    const Matrix<double>& bias = golden.at("bias");
    REQUIRE(std::ssize(layer.gate().selection_bias()) == bias.size());
    layer.gate().set_selection_bias(std::vector<float>(bias.data(), bias.data() + bias.size()));
    both(family, std::move(layer));
  }
};

}  // namespace

// Families of one formula share a vector.
TEMPLATE_TEST_CASE("layers of softmax-gated language models agree with PyTorch",
                   "[presets][golden]", float, double) {
  using S = TestType;
  const Checker<S> check;
  check.both("mixtral", moe::MixtralMoe<S>(presets::mixtral_layer<S>(kTop2)));
  check.both("mixtral", moe::Qwen3Moe<S>(presets::qwen3_moe_layer<S>(kTop2)));
  check.both("mixtral", moe::GraniteMoe<S>(presets::granite_moe_layer<S>(kTop2)));
  check.both("mixtral", moe::DbrxMoe<S>(presets::dbrx_layer<S>(kTop2)));
  check.both("dbrx_2", moe::DbrxMoe<S>(presets::dbrx_layer<S>(kTop2, {}, 2)));
  check.both("qwen2_moe", moe::Qwen2Moe<S>(presets::qwen2_moe_layer<S>(kTop2)));
  check.both("qwen2_moe", moe::OlmoeMoe<S>(presets::olmoe_layer<S>(kTop2)));
  check.both("qwen2_moe", moe::JambaMoe<S>(presets::jamba_layer<S>(kTop2)));
  check.both("grok1", moe::Grok1Moe<S>(presets::grok1_layer<S>(kTop2)));
  check.biased("ernie45_moe", moe::Ernie45Moe<S>(presets::ernie45_moe_layer<S>(kTop2, {}, 0.4)));
  check.both("deepseek_v2", moe::DeepSeekV2Moe<S>(presets::deepseek_v2_layer<S>(
                                kTop2, {}, {.n_group = 3, .topk_group = 2})));
  check.both("deepseek_v2_norm",
             moe::DeepSeekV2Moe<S>(presets::deepseek_v2_layer<S>(
                 kTop2, {}, {.n_group = 3, .topk_group = 2, .norm_topk_prob = true})));
}

TEMPLATE_TEST_CASE("layers of sigmoid-gated language models agree with PyTorch",
                   "[presets][golden]", float, double) {
  using S = TestType;
  const Checker<S> check;
  check.both("llama4", moe::Llama4Moe<S>(presets::llama4_layer<S>(kTop1)));
  check.biased("deepseek_v3", moe::DeepSeekV3Moe<S>(presets::deepseek_v3_layer<S>(
                                  kTop2, {}, {.n_group = 3, .topk_group = 2})));
  check.biased("glm4_moe", moe::Glm4Moe<S>(presets::glm4_moe_layer<S>(kTop2)));
  check.biased("glm4_moe", moe::Dots1Moe<S>(presets::dots1_layer<S>(kTop2)));
  check.biased("kimi_k2", moe::KimiK2Moe<S>(presets::kimi_k2_layer<S>(kTop2)));
  check.biased("minimax_m2", moe::MiniMaxM2Moe<S>(presets::minimax_m2_layer<S>(kTop2)));
}

TEMPLATE_TEST_CASE("a Phi layer evaluates as PyTorch does", "[presets][golden]", float, double) {
  using S = TestType;
  moe::PhiMoe<S> layer(presets::phi_moe_layer<S>(kTop2, {}, /*router_jitter_noise=*/0.2));
  const Checker<S> check;
  check.load(layer);
  check.evaluate("phi_moe", layer);
}

TEMPLATE_TEST_CASE("Switch and GShard layers agree with PyTorch, drops included",
                   "[presets][golden]", float, double) {
  using S = TestType;
  const Checker<S> check;
  auto config = presets::switch_layer<S>(kTop1);
  config.router.epsilon = 0;               // the jitter is drawn
  config.capacity.evaluation_factor = {};  // and evaluation has more room
  check.both("switch", moe::SwitchMoe<S>(config));
  auto gshard = presets::gshard_layer<S>(kTop2);
  gshard.gate.policy = moe::SecondExpert::all;  // the second expert is drawn
  check.both("gshard", moe::GShardMoe<S>(gshard));
}

TEMPLATE_TEST_CASE("a layer of Shazeer 2017 agrees with PyTorch where its noise is off",
                   "[presets][golden]", float, double) {
  using S = TestType;
  auto config = presets::sparsely_gated_layer<S>(kTop2);
  moe::SparselyGatedMoe<S> fresh(config);
  CHECK(fresh.router().base.weight.value.isZero(0));
  CHECK(fresh.router().noise_weight.value.isZero(0));
  const Checker<S> check;
  check.load(fresh);
  check.evaluate("sparsely_gated", fresh);

  config.router.floor = 0;
  moe::SparselyGatedMoe<S> layer(config);
  check.load(layer);
  layer.router().noise_weight.value.col(0).setConstant(-1000);  // x is 1 there: softplus is 0
  check.train("sparsely_gated", layer);
}

TEST_CASE("a hash layer's preset draws a table of its own", "[presets]") {
  const std::vector<std::int64_t> ids = {0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4};
  const Matrix<float> x = random_matrix<float>(12, 4, 3);
  Matrix<float> y = x;
  moe::HashMoe<float> hash(presets::hash_layer(kTop1, /*vocabulary=*/7));
  moe::HashMoe<float>::Workspace workspace;
  hash.forward(x, y, workspace, {.token_ids = ids});
  for (Index t = 0; t < 12; ++t) {
    CHECK(workspace.routing.weight(t, 0) == 1);
    CHECK(workspace.routing.expert(t, 0) == hash.router().table()(ids[std::size_t(t)], 0));
  }
}

}  // namespace moe_test
