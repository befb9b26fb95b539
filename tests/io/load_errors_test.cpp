// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Files that do not fit what is to be loaded: the message says what, and nothing is changed.
#include "io/round_trip.hpp"
#include "moe/expert/any_of.hpp"
#include "moe/expert/identity.hpp"
#include "moe/gate/sinkhorn.hpp"
#include "moe/io/layer_file.hpp"
#include "moe/layer/moe_layer.hpp"
#include "moe/loss/relu_l1.hpp"
#include "moe/router/cosine.hpp"
#include "moe/router/hash.hpp"
#include "moe/router/logit_cap.hpp"
#include "moe/router/mlp.hpp"

using moe_test::message_of;
using moe_test::TemporaryFolder;

namespace {

using Layer = moe::MoeLayer<float>;

Layer::Config small() {
  return {.model_dim = 3,
          .hidden_dim = 5,
          .num_experts = 4,
          .top_k = 2,
          .gate = {.selection_bias = std::vector<float>(4, 0.5f)}};
}

/// All parameters, and the gate's state, as one sum.
double sum_of(Layer& layer) {
  double sum = layer.gate().options().temperature;
  for (const float b : layer.gate().selection_bias()) sum += b;
  layer.visit_parameters(
      [&](std::string_view, auto& p) { sum += static_cast<double>(p.value.cwiseAbs().sum()); });
  return sum;
}

/// Loading `path` into a layer of `config` must fail with this, and leave the layer alone.
void check_refused(const std::filesystem::path& path, const Layer::Config& config,
                   const std::string& expected, const moe::LoadOptions& options = {}) {
  Layer layer(config, 99);
  const double before = sum_of(layer);
  const std::string message =
      message_of<moe::FileError>([&] { moe::load_layer_into(path, layer, options); });
  CHECK_THAT(message, ContainsSubstring(path.string() + ": "));
  CHECK_THAT(message, ContainsSubstring(expected));
  CHECK(sum_of(layer) == before);
}

/// The same file with one text in its header replaced by another as long.
std::filesystem::path altered(const TemporaryFolder& folder, const std::filesystem::path& path,
                              const std::string& from, const std::string& to) {
  std::string bytes = moe_test::file_bytes(path);
  const std::size_t at = bytes.find(from);
  REQUIRE(at != bytes.npos);
  REQUIRE(from.size() == to.size());
  return folder.write("altered.safetensors", bytes.replace(at, from.size(), to));
}

/// A saved layer with this router, its option `name` made hostile: refused for `tensor`, which would
/// be as large.
template <class Router>
void check_router_size(const std::string& name, typename Router::Options options,
                       const std::string& tensor) {
  using L = moe::MoeLayer<float, Router>;
  const TemporaryFolder folder;
  const auto path = folder / "layer.safetensors";
  L layer({.model_dim = 3, .hidden_dim = 5, .num_experts = 4, .top_k = 2, .router = options});
  moe::save_layer(path, layer);
  moe::load_layer<L>(path);
  for (const moe::Index size :
       {moe::Index{7}, moe::Index{1} << 36, std::numeric_limits<moe::Index>::max()}) {
    const auto bad =
        moe_test::with_description(path, folder / "bad.safetensors", [&](moe::Json& about) {
          about.at(moe::Json::json_pointer("/parts/layer/config/router/" + name)) = size;
        });
    INFO(name << " " << size);
    CHECK_THAT(message_of<moe::FileError>([&] { moe::load_layer<L>(bad); }),
               ContainsSubstring(bad.string() + ": tensor 'layer.router." + tensor + "' is ["));
  }
}

}  // namespace

TEST_CASE("a layer of another kind or size is refused before anything is written") {
  const TemporaryFolder folder;
  const auto path = folder / "layer.safetensors";
  Layer saved(small(), 1);
  moe::save_layer(path, saved);
  Layer same(small(), 99);
  moe::load_layer_into(path, same);
  CHECK(sum_of(same) == sum_of(saved));

  auto wider = small();
  wider.hidden_dim = 6;
  check_refused(path, wider, "layer.config.experts.0.hidden_dim is 5, expected 6");
  const moe::LoadOptions lax{.same_config = false};
  check_refused(path, wider, "tensor 'layer.experts.0.w_gate' is [5, 3], expected [6, 3]", lax);
  auto fewer = small();
  fewer.num_experts = 3;
  fewer.gate.selection_bias.clear();
  check_refused(path, fewer, "tensor 'layer.router.weight' is [4, 3], expected [3, 3]", lax);
  auto biased = small();
  biased.expert.bias = true;
  check_refused(path, biased, "layer.config.experts.0.bias is false, expected true");
  check_refused(path, biased, "has no tensor 'layer.experts.0.b_", lax);
  auto unbiased = small();
  unbiased.gate.selection_bias.clear();
  check_refused(path, unbiased, "tensor 'layer.gate.selection_bias' is [4], expected [0]");
  auto other = small();
  other.gate.score = moe::ScoreFunction::sigmoid;
  check_refused(path, other, "layer.config.gate.score is \"softmax\", expected \"sigmoid\"");
  Layer taken(other, 99);  // the same tensors: the caller may insist
  moe::load_layer_into(path, taken, lax);
  CHECK(sum_of(taken) == sum_of(saved));
  CHECK(taken.gate().options().score == moe::ScoreFunction::sigmoid);

  moe::MoeLayer<double> wide({.model_dim = 3, .hidden_dim = 5, .num_experts = 4, .top_k = 2});
  CHECK_THAT(message_of<moe::FileError>([&] { moe::load_layer_into(path, wide); }),
             ContainsSubstring("layer.type is \"MoeLayer<float, LinearRouter<float>"));
  CHECK_THAT(message_of<moe::FileError>([&] { moe::load_layer_into(path, wide, lax); }),
             ContainsSubstring("tensor 'layer.router.weight' is F32 [4, 3], expected F64"));
}

TEST_CASE("tensors without a place are named") {
  const TemporaryFolder folder;
  const auto path = folder / "layer.safetensors";
  auto config = small();
  config.router.bias = true;
  Layer saved(config, 1);
  moe::save_layer(path, saved);
  check_refused(path, small(), "tensor 'layer.router.bias' [1, 4] has no place in 'layer'",
                {.same_config = false});
}

TEST_CASE("state that a part cannot be given is refused") {
  const TemporaryFolder folder;
  const auto path = folder / "layer.safetensors";
  auto config = small();
  Layer saved(config, 1);
  saved.gate().selection_bias()[2] = std::numeric_limits<float>::quiet_NaN();
  moe::save_layer(path, saved);
  check_refused(path, small(), "tensor 'layer.gate.selection_bias' cannot be taken: moe::TopKGate");

  moe::ReluL1Controller controller{.lambda = -1};
  moe::SavedState().add("l1", controller).save(path);
  controller.lambda = 2;
  CHECK_THAT(
      message_of<moe::FileError>([&] { moe::SavedState().add("l1", controller).load(path); }),
      ContainsSubstring("tensor 'l1.lambda' cannot be taken"));
  CHECK(controller.lambda == 2);
}

TEST_CASE("a hostile configuration is refused without a hostile allocation") {
  const TemporaryFolder folder;
  const auto path = folder / "layer.safetensors";
  auto config = small();
  config.model_dim = 10;
  Layer saved(config, 1);
  moe::save_layer(path, saved);
  const auto check = [&](const std::string& from, const std::string& to,
                         const std::string& expected) {
    const auto bad = altered(folder, path, from, to);
    const std::string message = message_of<moe::FileError>([&] { moe::load_layer<Layer>(bad); });
    INFO(to);
    CHECK_THAT(message, ContainsSubstring(bad.string() + ": "));
    CHECK_THAT(message, ContainsSubstring(expected));
  };
  check(R"(\"model_dim\":10)", R"(\"model_dim\":99)",
        "tensor 'layer.experts.0.w_gate' is [5, 10], expected [5, 99]");
  check(R"(\"model_dim\":10)", R"(\"model_dim\":-1)", "layer.model_dim is -1, expected at least 0");
  check(R"(\"model_dim\":10)", R"(\"model_dim\":00)", "bad JSON");
  check(R"(\"model_dim\":10)", R"(\"model_dim\":1.)", "bad JSON");
  check(R"(\"model_dim\":10)", R"(\"model_dim\":[])", "layer.model_dim is [], expected an integer");
  check(R"(\"top_k\":2)", R"(\"top_k\":9)", "the layer's configuration is wrong");
  check(R"(\"scale\":1.0)", R"(\"scale\":0.0)", "the layer's configuration is wrong");
  check(R"(\"scale\":1.0)", R"(\"scalf\":1.0)", "layer.gate has 'scalf', which this version");
  check(R"(\"score\":\"softmax\")", R"(\"score\":\"softmix\")", "expected a name of ScoreFunction");
  check(R"(\"score\":\"softmax\")", R"(\"top_k\":\"softmax\")", "which this version does not know");
  check(R"(\"type\":\"MoeLayer)", R"(\"type\":\"XoeLayer)", "the layer is 'XoeLayer<float");
  check(R"(\"type\":\"MoeLayer)", R"(\"type\":\"\\u001B[)", "the layer is '\\x1b[<float");
  check(R"(\"format\":1)", R"(\"format\":2)", "has format 2, this version reads up to 1");
  check(R"(\"format\":1)", R"(\"formal\":1)", "has no format number");
  check(R"(\"parts\":)", R"(\"ports\":)", "lists no parts");
  check(R"("moe":)", R"("mor":)", "has no metadata 'moe'");
  check(R"("layer.router.weight")", R"("layer.router.wEight")", "has no tensor");
}

TEST_CASE("a hostile size among a router's options is refused before the router is made") {
  using Mlp = moe::MlpRouter<float>;
  check_router_size<Mlp>("hidden_dim", {.hidden_dim = 6}, "w_in");
  check_router_size<moe::LogitCap<Mlp>>("base/hidden_dim", {.base = {.hidden_dim = 6}}, "w_in");
  check_router_size<moe::CosineRouter<float>>("projection_dim", {.projection_dim = 6},
                                              "projection");
  check_router_size<moe::HashRouter<moe::UniformRouter<float>>>(
      "vocabulary", {.vocabulary = 9, .seed = std::uint64_t{1} << 63}, "table");
}

TEST_CASE("a layer without weights is not made of millions of parts that a short text asks for") {
  using L = moe::MoeLayer<float, moe::UniformRouter<float>, moe::TopKGate,
                          moe::AnyOf<float, moe::IdentityExpert<float>>>;
  const TemporaryFolder folder;
  const auto path = folder / "layer.safetensors";
  moe::ExpertMix<moe::AnyOf<float, moe::IdentityExpert<float>>> mix;
  mix.add<moe::IdentityExpert<float>>(2);
  L layer({.model_dim = 3, .hidden_dim = 1, .num_experts = 2, .top_k = 1, .expert = mix});
  moe::save_layer(path, layer);
  CHECK(moe::load_layer<L>(path).num_experts() == 2);
  const auto bad = moe_test::with_description(path, folder / "bad", [](moe::Json& about) {
    about["parts"]["layer"]["config"]["num_experts"] = moe::Index{1} << 40;
  });
  CHECK_THAT(message_of<moe::FileError>([&] { moe::load_layer<L>(bad); }),
             ContainsSubstring("layer.num_experts is 1099511627776, the file has 1 values"));
}

TEST_CASE("a gate's limits may be larger than the file") {
  using L = moe::MoeLayer<float, moe::LinearRouter<float>, moe::SinkhornGate>;
  const TemporaryFolder folder;
  L layer({.model_dim = 2,
           .hidden_dim = 2,
           .num_experts = 2,
           .top_k = 1,
           .gate = {.max_iterations = 1'000'000}});
  moe::save_layer(folder / "layer.safetensors", layer);
  CHECK(moe::load_layer<L>(folder / "layer.safetensors").gate().options().max_iterations ==
        1'000'000);
}

TEST_CASE("names of parts are checked, and parts that are not there are named") {
  const TemporaryFolder folder;
  const auto path = folder / "state.safetensors";
  moe::Index step = 7;
  moe::SavedState state;
  state.add("step", step);
  CHECK_THROWS_WITH(state.add("step", step),
                    ContainsSubstring("the name 'step' is empty, has a dot"));
  CHECK_THROWS_AS(state.add("a.b", step), std::invalid_argument);
  CHECK_THROWS_AS(state.add("", step), std::invalid_argument);
  state.save(path);
  double rate = 3;
  CHECK_THAT(message_of<moe::FileError>([&] { moe::SavedState().add("rate", rate).load(path); }),
             ContainsSubstring("has no part 'rate'"));
  CHECK_THAT(message_of<moe::FileError>([&] { moe::SavedState().add("step", rate).load(path); }),
             ContainsSubstring("step.type is"));
  bool flag = false;
  CHECK_THAT(message_of<moe::FileError>(
                 [&] { moe::SavedState().add("step", flag).load(path, {.same_config = false}); }),
             ContainsSubstring("tensor 'step' is I64 [], expected BOOL"));
  CHECK(rate == 3);
}
