// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A training step of every layer of presets/classic, each made by its preset in one line, against
// PyTorch: noise, draws, drops and balanced assignments included; see
// tests/golden/make_classic_golden.py.
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
  Golden golden = read_golden("preset_classic.txt");
  double allowed = std::is_same_v<S, double> ? 1e-11 : tolerance<S>(60);
  std::vector<std::int64_t> ids = integers<std::int64_t>("ids");

  Matrix<S> at(const std::string& name) const { return golden.at(name).template cast<S>(); }

  template <class I>
  std::vector<I> integers(const std::string& name) const {
    const Matrix<double>& m = golden.at(name);
    std::vector<I> all;
    for (Index i = 0; i < m.size(); ++i) all.push_back(static_cast<I>(m.data()[i]));
    return all;
  }

  template <class Layer>
  void operator()(const std::string& family, Layer layer) const {
    INFO(family);
    layer.visit_parameters([&](std::string_view name, auto& p) {
      const Matrix<S> value = at(std::string(name));
      REQUIRE(value.rows() == p.value.rows());
      REQUIRE(value.cols() == p.value.cols());
      p.value = value;
    });
    const moe::Batch batch{.token_ids = ids, .seed = 7, .step = 3, .first_token = 40};
    const Step<S> step = train_step(layer, at("x"), at("dy"), batch);
    CHECK(distance(step.y, golden.at(family + ".y")) <= allowed);
    CHECK(distance(step.dx, golden.at(family + ".dx")) <= allowed);
    for (const auto& [name, gradient] : step.gradient) {
      INFO(name);
      CHECK(distance(gradient, golden.at(family + "." + name)) <= allowed);
    }
  }
};

}  // namespace

TEMPLATE_TEST_CASE("layers with capacity train as PyTorch does, noise and drops included",
                   "[presets][golden]", float, double) {
  using S = TestType;
  const Checker<S> check;
  check("switch", moe::SwitchMoe<S>(presets::switch_layer<S>(kTop1)));
  check("gshard", moe::GShardMoe<S>(presets::gshard_layer<S>(kTop2)));
  check("st_moe", moe::StMoe<S>(presets::st_moe_layer<S>(kTop2)));
  check("glam", moe::GlamMoe<S>(presets::glam_layer<S>(kTop2)));
  check("nllb", moe::NllbMoe<S>(presets::nllb_layer<S>(kTop2)));
  check("vmoe", moe::VMoe<S>(presets::vmoe_layer<S>(kTop2)));
}

TEMPLATE_TEST_CASE("layers with gates of their own train as PyTorch does", "[presets][golden]",
                   float, double) {
  using S = TestType;
  const Checker<S> check;
  check("sparsely_gated", moe::SparselyGatedMoe<S>(presets::sparsely_gated_layer<S>(kTop2)));
  auto hash = presets::hash_layer<S>(kTop1, /*vocabulary=*/7);
  hash.router.table = check.template integers<std::int32_t>("table");
  check("hash", moe::HashMoe<S>(hash));
  check("base", moe::BaseMoe<S>(presets::base_layer<S>(kTop1)));
  check("s_base", moe::SBaseMoe<S>(presets::s_base_layer<S>(kTop1)));
  check("expert_choice", moe::ExpertChoiceMoe<S>(presets::expert_choice_layer<S>(kTop2)));
  check("remoe", moe::ReMoe<S>(presets::remoe_layer<S>(kTop2)));
  check("xmoe", moe::XMoe<S>(presets::xmoe_layer<S>(kTop1)));
  check("top_p", moe::TopPMoe<S>(presets::top_p_layer<S>(kTop1)));
  check("phi_moe", moe::PhiMoe<S>(presets::phi_moe_layer<S>(kTop2, {}, /*jitter=*/0.2)));
}

}  // namespace moe_test
