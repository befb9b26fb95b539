// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Loaded layers in use: padding, allocations, misuse, variants, progress, and what describe counts.
#include "io/checkpoint_case.hpp"
#include "moe/io/safetensors_writer.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using namespace moe_test;

namespace {

moe::Checkpoint open(const std::string& name) {
  return moe::Checkpoint(CheckpointCase::root() / name);
}

moe::CheckpointLayer load(const std::string& name, const moe::CheckpointOptions& options = {}) {
  const moe::Checkpoint checkpoint = open(name);
  return checkpoint.load_layer(checkpoint.moe_layers().back(), options);
}

// Shared experts, zero experts and an output bias: what a layer adds to the routed experts.
const std::vector<std::string> kKinds = {"qwen2_moe", "longcat_flash", "jetmoe", "llama4",
                                         "mixtral"};

}  // namespace

TEST_CASE("padding is zero, whatever it holds, and changes nobody else", "[io][checkpoint]") {
  for (const std::string& name : kKinds) {
    CAPTURE(name);
    const CheckpointCase c(CheckpointCase::root() / name);
    const moe::CheckpointLayer layer = load(name);
    moe::CheckpointLayer::Workspace workspace;
    moe::Matrix<float> whole(c.x.rows(), c.x.cols()), y = whole, x = c.x;
    layer.forward(c.x, whole, workspace);
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(x.rows()), 1);
    for (const std::size_t t : {std::size_t{0}, std::size_t{4}}) {
      mask[t] = 0;
      x.row(static_cast<Index>(t)).setConstant(std::nanf(""));
    }
    layer.forward(x, y, workspace, {.mask = mask});
    for (Index t = 0; t < x.rows(); ++t) {
      if (mask[static_cast<std::size_t>(t)] == 0) whole.row(t).setZero();
    }
    CHECK(y == whole);
  }
}

TEST_CASE("a loaded layer allocates nothing after the first call", "[io][checkpoint]") {
  for (const std::string& name : kKinds) {
    CAPTURE(name);
    const CheckpointCase c(CheckpointCase::root() / name);
    const moe::CheckpointLayer layer = load(name);
    moe::Matrix<float> y(c.x.rows(), c.x.cols());
    Threads threads(2);
    moe::CheckpointLayer::Workspace workspace{threads};
    layer.forward(c.x, y, workspace);
    CHECK(allocations_in([&] { layer.forward(c.x, y, workspace); }) == 0);
    const moe::MatrixView<const float> x(c.x);
    CHECK(allocations_in([&] {
            layer.forward(x.middle_rows(2, 3), moe::MatrixView<float>(y).middle_rows(2, 3),
                          workspace);
          }) == 0);
    layer.forward(x.middle_rows(0, 0), moe::MatrixView<float>(y).middle_rows(0, 0), workspace);
  }
}

TEST_CASE("a loaded layer refuses matrices that do not fit before it writes", "[io][checkpoint]") {
  const moe::CheckpointLayer layer = load("qwen2_moe");
  moe::CheckpointLayer::Workspace workspace;
  moe::Matrix<float> x = moe::Matrix<float>::Ones(3, 20),
                     y = moe::Matrix<float>::Constant(3, 20, 7);
  moe::Matrix<float> narrow(3, 19), tall(4, 20);
  const std::vector<std::uint8_t> mask(2, 1);
  CHECK_THROWS_AS(layer.forward(narrow, y, workspace), std::invalid_argument);
  CHECK_THROWS_AS(layer.forward(tall, y, workspace), std::invalid_argument);
  CHECK_THROWS_AS(layer.forward(x, y, workspace, {.mask = mask}), std::invalid_argument);
  CHECK_THROWS_AS(layer.forward(x, x, workspace), std::invalid_argument);
  CHECK((y.array() == 7).all());
}

TEST_CASE("parts that do not fit make no layer", "[io][checkpoint]") {
  const auto router = [](Index experts, Index model_dim) {
    moe::LinearRouter<float> linear;
    linear.weight = moe::Parameter<float>(experts, model_dim);
    return moe::CheckpointRouter(std::move(linear));
  };
  const auto parts = [&] {
    moe::CheckpointLayer::Parts p;
    p.router = router(4, 8);
    p.gate = {{8, 16, 4, 2}, moe::TopKGate::Options{}};
    p.experts = moe::PackedFfn<float>({8, 16, moe::Activation::silu, true}, 4);
    return p;
  };
  CHECK_NOTHROW(moe::CheckpointLayer(parts()));
  auto more = parts(), narrow = parts(), shared = parts(), bias = parts(), input = parts();
  more.zero_experts = 1;
  narrow.router = router(4, 7);
  shared.shared = moe::PackedFfn<float>({9, 16, moe::Activation::silu, true}, 1);
  bias.output_bias.resize(9);
  input.zero_experts = 1;
  input.router = router(5, 8);
  input.gate = {{8, 16, 5, 2}, moe::TopKGate::Options{.weight_on_input = true}};
  for (auto* bad : {&more, &narrow, &shared, &bias, &input}) {
    CHECK_THROWS_AS(moe::CheckpointLayer(std::move(*bad)), std::invalid_argument);
  }
}

TEST_CASE("the gate follows the code that was asked for", "[io][checkpoint]") {
  using moe::presets::Variant;
  const auto gate = [](const char* name, Variant variant) {
    return load(name, {.variant = variant}).gate().as_top_k()->options();
  };
  CHECK(load("phimoe").gate().as_sparse_mixer()->options().jitter == 0.2);
  CHECK(load("phimoe", {.variant = Variant::llama_cpp}).gate().as_sparse_mixer() == nullptr);
  CHECK(gate("mixtral", Variant::official).score == moe::ScoreFunction::softmax_of_chosen);
  CHECK(gate("mixtral", Variant::hf).score == moe::ScoreFunction::softmax);
  CHECK(gate("deepseek_v3", Variant::official).norm_epsilon == 0);
  CHECK(gate("deepseek_v3", Variant::hf).norm_epsilon == 1e-20);
  CHECK(gate("deepseek_v3", Variant::llama_cpp).norm_min > 6e-5);
  CHECK(gate("glm4_moe", Variant::official).norm_epsilon == 1e-20);
  CHECK(gate("deepseek_v2", Variant::official).group_score == moe::GroupScore::max);
  CHECK(gate("deepseek_v2", Variant::megatron).group_score == moe::GroupScore::top_share_sum);
  CHECK(gate("llama4", Variant::official).weight_on_input);
}

TEST_CASE("an expert's matrix may have more dimensions of one, on any threads",
          "[io][checkpoint]") {
  const CheckpointCopy copy("mixtral");
  {
    const moe::SafeTensors file(CheckpointCase::root() / "mixtral" / "model.safetensors");
    std::vector<moe::TensorSpec> specs;
    for (const moe::TensorInfo& t : file.tensors()) specs.push_back({t.name, t.dtype, t.shape});
    for (moe::TensorSpec& t : specs) {
      if (t.name.find(".experts.1.") != t.name.npos) t.shape.push_back(1);
    }
    moe::SafeTensorsWriter writer(copy.folder() / "model.safetensors", specs);
    for (const moe::TensorInfo& t : file.tensors()) writer.write(t.name, t.bytes);
    writer.finish();
  }
  const CheckpointCase c(CheckpointCase::root() / "mixtral");
  Threads threads(3);
  const moe::Checkpoint checkpoint(copy.folder());
  const auto layer = checkpoint.load_layer(checkpoint.moe_layers().back(),
                                           {.executor = moe::ExecutorRef(threads)});
  moe::Matrix<float> y(c.x.rows(), c.x.cols()), expected = y;
  moe::CheckpointLayer::Workspace workspace;
  layer.forward(c.x, y, workspace);
  load("mixtral").forward(c.x, expected, workspace);
  CHECK(y == expected);
}

TEST_CASE("what config.json does not mention is not left out in silence", "[io][checkpoint]") {
  const auto message = [](const char* family, const char* key, const moe::Json& value) {
    const CheckpointCopy copy(family);
    moe::Json config = copy.config();
    config.erase(key);
    if (!value.is_null()) config[key] = value;
    copy.set_config(config);
    return message_of<moe::FileError>([&] {
      const moe::Checkpoint checkpoint(copy.folder());
      static_cast<void>(checkpoint.load_layer(checkpoint.moe_layers().back()));
    });
  };
  CHECK(message("deepseek_v3", "n_shared_experts", nullptr).find(".shared_expert") !=
        std::string::npos);
  const std::string beside = "'model.layers.0.shared_mlp*'";  // not in the block
  CHECK(message("granitemoeshared", "shared_intermediate_size", nullptr).find(beside) !=
        std::string::npos);
  CHECK(message("granitemoeshared", "model_type", "granitemoe").find(beside) != std::string::npos);
  // The second generation of Bailing is told from the first by its score function alone.
  CHECK(message("bailing_moe_v2", "score_function", nullptr).find(".gate.expert_bias") !=
        std::string::npos);
  CHECK(message("bailing_moe_v2", "model_type", "bailing_moe_v2").empty());
}

TEST_CASE("DBRX normalises unless it says null", "[io][checkpoint]") {
  const CheckpointCopy copy("dbrx");
  const auto renormalizes = [&] {
    const moe::Checkpoint checkpoint(copy.folder());
    return checkpoint.load_layer(0).gate().as_top_k()->options().renormalize;
  };
  CHECK(renormalizes());
  moe::Json config = copy.config();
  config["ffn_config"]["moe_normalize_expert_weights"] = nullptr;
  copy.set_config(config);
  CHECK(!renormalizes());
}

TEST_CASE("a loaded layer has room for everyone unless it is given a capacity",
          "[io][checkpoint]") {
  const CheckpointCase c(CheckpointCase::root() / "switch_transformers");
  const auto dropped = [&](const moe::CheckpointOptions& options) {
    const moe::CheckpointLayer layer = load("switch_transformers", options);
    moe::CheckpointLayer::Workspace workspace;
    moe::Matrix<float> y(c.x.rows(), c.x.cols());
    layer.forward(c.x, y, workspace);
    return workspace.plan.dropped();
  };
  CHECK(dropped({}) == 0);
  CHECK(dropped({.capacity = moe::presets::switch_capacity(moe::presets::Variant::hf, 1)}) > 0);
}

TEST_CASE("progress counts every expert once", "[io][checkpoint]") {
  for (const auto& [name, total] :
       {std::pair("mixtral", Index{6}), std::pair("qwen2_moe", Index{7})}) {
    std::vector<Index> seen;
    Index last = 0;
    load(name, {.progress = [&](Index done, Index of) {
           seen.push_back(done);
           last = of;
         }});
    CHECK(last == total);
    REQUIRE(static_cast<Index>(seen.size()) == total);
    for (Index i = 0; i < total; ++i) CHECK(seen[static_cast<std::size_t>(i)] == i + 1);
  }
}

TEST_CASE("describe counts what the files hold", "[io][checkpoint]") {
  const moe::LayerInfo mixtral = open("mixtral").describe(1);
  const Index expert = 3 * 12 * 20, router = 6 * 20;
  CHECK(mixtral.block == "model.layers.1.block_sparse_moe");
  CHECK(mixtral.type == "BF16");
  CHECK(mixtral.parameters == 6 * expert + router);
  CHECK(mixtral.active == 2 * expert + router);
  CHECK(mixtral.bytes == static_cast<std::size_t>(2 * mixtral.parameters));

  const moe::LayerInfo v3 = open("deepseek_v3").describe(1);
  const Index one = 3 * 12 * 40;
  CHECK(v3.type == "F8_E4M3");
  CHECK(v3.parameters == 9 * one + 8 * 40 + 8);  // 8 experts, one shared, router, bias
  CHECK(v3.active == 4 * one + 8 * 40 + 8);
  CHECK(v3.bytes == static_cast<std::size_t>(9 * (one + 4 * (6 + 6 + 5)) + 2 * 8 * 40 + 4 * 8));

  const moe::LayerInfo oss = open("gpt_oss").describe(0);
  const Index weights = 3 * 32 * 64, biases = 2 * 32 + 64;
  CHECK(oss.type == "MXFP4");
  CHECK(oss.parameters == 4 * (weights + biases) + 4 * 64 + 4);
  CHECK(oss.bytes ==
        static_cast<std::size_t>(4 * (weights * 17 / 32 + 2 * biases) + 2 * (4 * 64 + 4)));

  const moe::LayerInfo longcat = open("longcat_flash").describe(0);
  CHECK(longcat.zero_experts == 3);
  CHECK(open("granitemoeshared").describe(0).shared_dim == 8);
}
