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

  template <class Layer>
  void both(const std::string& family, Layer layer) const {
    load(layer);
    evaluate(family, layer);
    train(family, layer);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("layers of language models agree with PyTorch", "[presets][golden]", float,
                   double) {
  using S = TestType;
  const Checker<S> check;
  check.both("mixtral", moe::MixtralMoe<S>(presets::mixtral_layer<S>(kTop2)));
  check.both("qwen2_moe", moe::Qwen2Moe<S>(presets::qwen2_moe_layer<S>(kTop2)));
  check.both("llama4", moe::Llama4Moe<S>(presets::llama4_layer<S>(kTop1)));
  moe::DeepSeekV3Moe<S> v3(
      presets::deepseek_v3_layer<S>(kTop2, {}, {.n_group = 3, .topk_group = 2}));
  const Matrix<double>& bias = check.golden.at("bias");
  v3.gate().set_selection_bias(std::vector<float>(bias.data(), bias.data() + bias.size()));
  check.both("deepseek_v3", v3);
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

TEST_CASE("layers whose gate needs more than logits start from their presets", "[presets]") {
  const Matrix<float> x = random_matrix<float>(12, 4, 3);
  Matrix<float> y = x;
  const auto run = [&](auto layer, const moe::Batch& batch = {}) {
    typename decltype(layer)::Tape tape;
    const auto step = train_step(layer, x, x, tape, batch);
    CHECK(step.y.allFinite());
    CHECK(step.dx.allFinite());
    CHECK(!step.y.isZero());
  };
  const std::vector<std::int64_t> ids = {0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4};
  moe::HashMoe<float> hash(presets::hash_layer(kTop1, /*vocabulary=*/7));
  run(hash, {.token_ids = ids});
  moe::HashMoe<float>::Workspace workspace;
  hash.forward(x, y, workspace, {.token_ids = ids});
  for (Index t = 0; t < 12; ++t) {
    CHECK(workspace.routing.weight(t, 0) == 1);
    CHECK(workspace.routing.expert(t, 0) == hash.router().table()(ids[std::size_t(t)], 0));
  }
  run(moe::BaseMoe<float>(presets::base_layer(kTop1)));
  run(moe::SBaseMoe<float>(presets::s_base_layer(kTop1)));
  run(moe::ExpertChoiceMoe<float>(presets::expert_choice_layer(kTop2)));
  run(moe::ReMoe<float>(presets::remoe_layer(kTop2)));
  run(moe::GlamMoe<float>(presets::glam_layer(kTop2)));
  run(moe::StMoe<float>(presets::st_moe_layer(kTop2)));
  run(moe::NllbMoe<float>(presets::nllb_layer(kTop2)));
  run(moe::PhiMoe<float>(presets::phi_moe_layer(kTop2)));
  run(moe::VMoe<float>(presets::vmoe_layer(kTop2)));
  run(moe::XMoe<float>(presets::xmoe_layer(kTop1)));
  run(moe::TopPMoe<float>(presets::top_p_layer(kTop1)));
}

}  // namespace moe_test
