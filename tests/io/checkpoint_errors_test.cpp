// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What is said of checkpoints that are unknown, incomplete, or made to hurt.
#include "io/checkpoint_case.hpp"
#include "support/catch.hpp"

using namespace moe_test;

namespace {

/// What loading the last layer says; empty when it works.
std::string message(const CheckpointCopy& copy) {
  return message_of<moe::FileError>([&] {
    const moe::Checkpoint checkpoint(copy.folder());
    static_cast<void>(checkpoint.load_layer(checkpoint.moe_layers().back()));
  });
}

bool says(const std::string& message, std::initializer_list<const char*> parts) {
  CAPTURE(message);
  for (const char* part : parts) {
    CAPTURE(part);
    CHECK(message.find(part) != std::string::npos);
  }
  return !message.empty();
}

/// What is said when a key of config.json has this value.
std::string with(const std::string& family, const std::string& key, const moe::Json& value) {
  const CheckpointCopy copy(family);
  moe::Json config = copy.config();
  (config.contains("text_config") ? config["text_config"] : config)[key] = value;
  copy.set_config(config);
  return message(copy);
}

std::string edited(const std::string& family, const std::string& from, const std::string& to) {
  const CheckpointCopy copy(family);
  copy.edit_header(from, to);
  return message(copy);
}

}  // namespace

TEST_CASE("an unknown family lists those that are known", "[io][checkpoint]") {
  CHECK(says(with("mixtral", "model_type", "gpt2"),
             {"config.json", "'gpt2'", "mixtral", "deepseek_v3", "gpt_oss", "grok-1"}));
  CHECK(says(with("mixtral", "model_type", nullptr), {"'model_type' is missing", "mixtral"}));
  CHECK(says(with("mixtral", "model_type", 3), {"'model_type'", "expected a text"}));
}

TEST_CASE("a missing or misshapen tensor is named with what was expected", "[io][checkpoint]") {
  CHECK(says(edited("mixtral", "layers.1.block_sparse_moe.experts.3.w2.weight",
                    "layers.1.block_sparse_moe.experts.3.wX.weight"),
             {"'model.layers.1.block_sparse_moe.experts.3.w2.weight'", "[20, 12]"}));
  CHECK(says(edited("mixtral", "layers.1.block_sparse_moe.gate", "layers.1.block_sparse_moe.gatf"),
             {"'model.layers.1.block_sparse_moe.gate.weight'", "[6, 20]"}));
  CHECK(says(with("mixtral", "intermediate_size", 13),
             {"experts.0.w1.weight", "is [12, 20]", "expected [13, 20]"}));
  CHECK(says(with("mixtral", "num_local_experts", 7), {"gate.weight", "[6, 20]", "[7, 20]"}));
  CHECK(says(with("llama4", "num_local_experts", 5), {"router.weight", "[5, 20]"}));
  CHECK(says(with("qwen2_moe", "shared_expert_intermediate_size", 5),
             {"shared_expert.gate_proj.weight", "[5, 20]"}));
  CHECK(says(with("deepseek_v3", "n_shared_experts", 2), {"shared_experts.gate_proj.weight"}));
  CHECK(says(with("gpt_oss", "intermediate_size", 48), {"gate_up_proj", "expected [4, 96"}));
  CHECK(says(edited("gpt_oss", "down_proj_scales", "down_proj_scalez"),
             {"down_proj_scales", "[4, 64, 1]"}));
  CHECK(says(edited("deepseek_v3", "experts.2.up_proj.weight_scale_inv",
                    "experts.2.up_proj.weight_scale_inw"),
             {"experts.2.up_proj.weight_scale_inv", "[2, 3]"}));
  CHECK(says(edited("mixtral", R"("model.layers.1.block_sparse_moe.gate.weight":{"dtype":"BF16")",
                    R"("model.layers.1.block_sparse_moe.gate.weight":{"dtype": "I16")"),
             {"block_sparse_moe.gate.weight", "I16", "floating-point"}));
}

TEST_CASE("float8 and float4 without fitting scales are named", "[io][checkpoint]") {
  const std::string w1 = "experts.1.w1.weight_scale";
  CHECK(says(edited("mixtral_fp8", w1 + "\"", "experts.1.w1.weight_scalX\""),
             {w1.c_str(), "[1, 1]"}));
  CHECK(says(edited("mixtral_fp8", w1 + R"(":{"dtype":"F32","shape":[1],)",
                    w1 + R"(":{"dtype":"I32","shape":[1],)"),
             {w1.c_str(), "I32", "floating-point scales"}));
  CHECK(says(with("mixtral_fp8", "intermediate_size", 24),
             {"experts.0.w1.weight", "is [12, 20]", "expected [24, 20]"}));
  const std::string up =
      "shared_expert.up_proj.weight_scale";  // [12, 1] -> [1, 12]: columns, not rows
  CHECK(says(edited("llama4_fp8", up + R"(":{"dtype":"BF16","shape":[12,1])",
                    up + R"(":{"dtype":"BF16","shape":[6,2] )"),
             {up.c_str(), "is [6, 2]", "expected [1, 1], [1] or [12, 1]"}));
  const std::string both = "experts.gate_up_proj_scale";
  CHECK(says(edited("llama4_fbgemm", both + R"(":{"dtype":"F32","shape":[4,1,24])",
                    both + R"(":{"dtype":"F32","shape":[4,2,12])"),
             {both.c_str(), "is [4, 2, 12]", "expected [4] or [4, 24]"}));
  const std::string pairs = "ffn.experts.2.w2.scale";
  CHECK(says(edited("deepseek_v4", "layers.1." + pairs, "layers.1.ffn.experts.2.w2.scalf"),
             {"layers.1.ffn.experts.2.w2.scale", "[64, 1]"}));
  CHECK(says(
      edited("deepseek_v4", R"(layers.1.ffn.experts.2.w2.weight":{"dtype":"I8","shape":[64,16])",
             R"(layers.1.ffn.experts.2.w2.weight":{"dtype":"I8","shape":[16,64])"),
      {"experts.2.w2.weight", "is [16, 64]", "expected [64, 16]"}));
  CHECK(says(with("mixtral", "quantization_config",
                  {{"quant_method", "compressed-tensors"}, {"format", "pack-quantized"}}),
             {"'compressed-tensors'", "of floats"}));
}

TEST_CASE("a quantization beside one that is null counts", "[io][checkpoint]") {
  const CheckpointCopy copy("mixtral");
  moe::Json config = copy.config();
  config["compression_config"] = {{"quant_method", "gptq"}};
  config["quantization_config"] = nullptr;
  copy.set_config(config);
  CHECK(says(message(copy), {"'gptq'", "mxfp4"}));
  std::swap(config["compression_config"], config["quantization_config"]);
  copy.set_config(config);
  CHECK(says(message(copy), {"'gptq'", "mxfp4"}));
}

TEST_CASE("a vector in float8 or packed pairs is refused", "[io][checkpoint]") {
  const std::string name = "model.layers.1.mlp.gate.e_score_correction_bias";
  for (const moe::Dtype type : {moe::Dtype::f8_e4m3, moe::Dtype::i8}) {
    const CheckpointCopy copy("deepseek_v3");
    copy.edit_tensors([&](auto& tensors) {
      for (auto& t : tensors) {
        if (t.spec.name == name) t = {{name, type, {8}}, std::string(8, '\0')};
      }
      tensors.push_back({{name + "_scale_inv", moe::Dtype::f32, {2}}, std::string(8, '\0')});
    });
    CHECK(says(message(copy), {name.c_str(), "is a vector of ", "expected F64, F32, F16 or BF16"}));
  }
}

TEST_CASE("a table of experts by token id is checked", "[io][checkpoint]") {
  CHECK(says(with("deepseek_v4_hash", "vocab_size", 12), {"gate.tid2eid", "[11, 3]", "[12, 3]"}));
  CHECK(says(edited("deepseek_v4_hash", "gate.tid2eid", "gate.tid2eix"), {"gate.tid2eid"}));
  CHECK(says(edited("deepseek_v4_hash", R"(tid2eid":{"dtype":"I64")", R"(tid2eid":{"dtype":"F64")"),
             {"gate.tid2eid", "F64", "I64"}));
  CHECK(says(with("deepseek_v4_hash", "num_hash_layers", 0), {"ffn.gate.bias"}));
  const moe::Checkpoint checkpoint(CheckpointCase::root() / "deepseek_v4_hash");
  const moe::CheckpointLayer layer = checkpoint.load_layer(0);
  CHECK(layer.router().as_hash()->vocabulary() == 11);
  moe::Matrix<float> x = moe::Matrix<float>::Ones(2, 64), y(2, 64);
  moe::CheckpointLayer::Workspace workspace;
  const std::vector<std::int64_t> outside = {0, 11};
  CHECK_THROWS_AS(layer.forward(x, y, workspace), std::invalid_argument);
  CHECK_THROWS_AS(layer.forward(x, y, workspace, {.token_ids = outside}), std::invalid_argument);
}

TEST_CASE("the numbers of config.json are checked", "[io][checkpoint]") {
  for (const moe::Json& bad :
       {moe::Json(0), moe::Json(-1), moe::Json(2.5), moe::Json(1e30), moe::Json("6"),
        moe::Json::array({6}), moe::Json(1 << 20), moe::Json(true), moe::Json(nullptr),
        moe::Json(18446744073709551615u)}) {
    CAPTURE(bad.dump());
    CHECK(says(with("mixtral", "num_local_experts", bad), {"'num_local_experts'", "whole number"}));
    CHECK(says(
        with("mixtral", "hidden_size", bad.is_number() && bad == 1 << 20 ? moe::Json(-5) : bad),
        {"'hidden_size'", "whole number"}));
    CHECK(says(with("mixtral", "num_hidden_layers", bad), {"'num_hidden_layers'"}));
  }
  CHECK(says(with("mixtral", "num_experts_per_tok", 7), {"'num_experts_per_tok'", "1 to 6"}));
  CHECK(says(with("mixtral", "hidden_act", "mish"), {"'hidden_act'", "'mish'", "gelu"}));
  CHECK(says(with("qwen2_moe", "norm_topk_prob", 1), {"'norm_topk_prob'", "true or false"}));
  CHECK(says(with("deepseek_v3", "n_group", 3), {"config.json", "num_groups is 3"}));
  CHECK(says(with("deepseek_v3", "routed_scaling_factor", "2"), {"'routed_scaling_factor'"}));
  CHECK(says(with("deepseek_v3", "scoring_func", "softmax"), {"'scoring_func'", "sigmoid"}));
  CHECK(says(with("deepseek_v2", "topk_method", "magic"), {"'topk_method'", "'magic'"}));
  CHECK(says(with("gpt_oss", "swiglu_limit", 0), {"'swiglu_limit'"}));
  CHECK(says(with("nllb_moe", "moe_token_dropout", 1), {"'moe_token_dropout'"}));
  CHECK(says(with("mixtral", "quantization_config", {{"quant_method", "gptq"}}),
             {"'gptq'", "mxfp4"}));
  CHECK(says(with("deepseek_v3", "quantization_config",
                  {{"quant_method", "fp8"}, {"weight_block_size", {0, 16}}}),
             {"'weight_block_size'"}));
  const CheckpointCopy copy("mixtral");
  copy.set_config(moe::Json::array());
  CHECK(says(message(copy), {"config.json", "not a JSON object"}));
}

TEST_CASE("a layer without experts is refused with the list of those that have them",
          "[io][checkpoint]") {
  const moe::Checkpoint checkpoint(CheckpointCase::root() / "deepseek_v3");
  CHECK(checkpoint.num_layers() == 2);
  CHECK(checkpoint.moe_layers() == std::vector<Index>{1});
  for (const Index layer : {Index{-1}, Index{0}, Index{2}}) {
    const auto load = [&] { static_cast<void>(checkpoint.load_layer(layer)); };
    CHECK(says(message_of<std::invalid_argument>(load),
               {std::to_string(layer).c_str(), "layers with experts: 1"}));
  }
  CHECK(says(message_of<moe::FileError>([] { moe::Checkpoint("/nonexistent"); }),
             {"/nonexistent/config.json", "No such file"}));
}

TEST_CASE("no value of any key of config.json does more than throw", "[io][checkpoint]") {
  const std::vector<moe::Json> values = {0,
                                         -1,
                                         1,
                                         2,
                                         7,
                                         1 << 16,
                                         1 << 30,
                                         0.5,
                                         -1e300,
                                         "x",
                                         "softmax",
                                         "relu",
                                         true,
                                         false,
                                         nullptr,
                                         moe::Json::array(),
                                         moe::Json::object()};
  int refused = 0, read = 0;
  for (const std::string& name : CheckpointCase::names()) {
    const CheckpointCopy copy(name);
    const moe::Json original = copy.config();
    const bool nested = original.contains("text_config");
    for (const auto& [key, ignored] : (nested ? original["text_config"] : original).items()) {
      for (const moe::Json& value : values) {
        moe::Json config = original;
        (nested ? config["text_config"] : config)[key] = value;
        copy.set_config(config);
        try {
          const moe::Checkpoint checkpoint(copy.folder());
          for (const Index n : checkpoint.moe_layers()) static_cast<void>(checkpoint.load_layer(n));
          ++read;
        } catch (const moe::FileError&) {
          ++refused;
        }
      }
    }
  }
  CHECK(refused > 1000);
  CHECK(read > 1000);
}
