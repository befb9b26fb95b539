// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Published checkpoints: a folder with config.json and safetensors -> layers ready to run. Needs
// nlohmann_json.
#pragma once

#include <string>
#include <vector>

#include "moe/io/checkpoint/expert_reader.hpp"
#include "moe/io/checkpoint/families.hpp"
#include "moe/io/checkpoint/layer.hpp"

MOE_NAMESPACE_BEGIN

/// One layer with experts, as the files have it.
struct LayerInfo {
  Index layer = 0;
  std::string block;  ///< such as "model.layers.3.mlp"
  Dims dims;          ///< num_experts: those with weights
  Index zero_experts = 0;
  Index shared_dim = 0;      ///< H of the shared expert, 0 without one
  bool by_token_id = false;  ///< chooses experts by Batch::token_ids, which it needs
  std::string type;          ///< of the experts' weights: "BF16", "F8_E4M3", "MXFP4" ...
  Index parameters = 0;      ///< of the whole block
  Index active = 0;  ///< of them read for one token, none of its experts being a zero expert
  std::size_t bytes = 0;
};

/// An open checkpoint. Only config.json and the headers are read; weights come with load_layer. The
/// const interface may be used by many threads.
class Checkpoint {
 public:
  /// `folder`: with config.json and model.safetensors, its shards and their index, or a single
  /// *.safetensors. Throws FileError when something is missing or damaged, or lists the known
  /// families when this is none of them.
  explicit Checkpoint(const std::filesystem::path& folder)
      : config_(read_json(folder / "config.json"), folder / "config.json"),
        family_(&find_family(config_)),
        num_layers_(family_->num_layers(config_)),
        tensors_(SafeTensors(folder), folder, config_.scale_block()) {
    const std::string method = config_.quantization();
    if (!method.empty() && method != "fp8" && method != "mxfp4") {
      detail::fail_file(config_.path(), "the weights are quantized by ", detail::in_quotes(method),
                        ", expected none, fp8, fbgemm_fp8, compressed-tensors of floats, or mxfp4");
    }
    for (const char* prefix : kPrefixes) {
      prefix_ = prefix;
      for (Index n = 0; n < num_layers_; ++n) {
        if (has_experts(n)) moe_layers_.push_back(n);
      }
      if (!moe_layers_.empty()) return;
    }
    prefix_.clear();
  }

  const CheckpointFamily& family() const { return *family_; }
  const ModelConfig& config() const { return config_; }
  const SafeTensors& files() const { return tensors_.files(); }
  Index num_layers() const { return num_layers_; }
  /// Those with experts; the others are dense.
  const std::vector<Index>& moe_layers() const { return moe_layers_; }

  /// Finds and checks every tensor of the layer without reading it. Throws std::invalid_argument
  /// unless the layer is one of moe_layers(), FileError naming what is missing or misshapen.
  LayerInfo describe(Index layer) const {
    const LayerRecipe r = recipe("moe::Checkpoint::describe", layer, presets::Variant::official);
    LayerInfo info;
    info.layer = layer;
    info.block = block(layer);
    info.dims = r.dims;
    info.zero_experts = r.zero_experts;
    info.shared_dim = r.shared_dim;
    info.by_token_id = !r.token_table.empty();
    const auto add = [&](const WeightPlace& place) {
      if (place.empty()) return Index{0};
      const StoredWeight w = tensors_.find(place);
      if (info.type.empty()) info.type = w.type();
      info.bytes += CheckpointTensors::bytes(w, place);
      info.parameters += place.rows * place.cols;
      return place.rows * place.cols;
    };
    Index one = 0;
    for (Index e = 0; e < r.dims.num_experts; ++e) {
      one = 0;
      visit(r.expert(e), [&](const WeightPlace& place) { one += add(place); });
    }
    visit(r.shared, add);
    for (const auto* place : extras(r)) add(*place);
    const Index idle = std::max<Index>(0, r.dims.num_experts - r.dims.top_k);
    info.active = info.parameters - idle * one;
    return info;
  }

  /// The layer, ready to run. Experts are read and packed one by one: memory is at most that of the
  /// packed layer and of one expert in float32. Throws as describe, before anything large is
  /// allocated, and FileError when the config's numbers do not make a gate.
  CheckpointLayer load_layer(Index layer, const CheckpointOptions& options = {}) const {
    constexpr auto* kWhere = "moe::Checkpoint::load_layer";
    LayerRecipe r = recipe(kWhere, layer, options.variant);
    check(r);
    check_nothing_left(r, block(layer));
    CheckpointLayer::Parts parts;
    parts.gate = make_gate(r);
    parts.router = make_router(r);
    const Index experts = r.dims.num_experts, total = experts + (r.shared_dim > 0 ? 1 : 0);
    detail::ExpertReader reader{tensors_, options, total};
    parts.experts = reader.read(shape_of(r, r.dims.hidden_dim), experts, r.expert);
    parts.zero_experts = r.zero_experts;
    if (r.shared_dim > 0) {
      parts.shared = reader.read(shape_of(r, r.shared_dim), 1,
                                 [&](Index) -> const FfnPlaces& { return r.shared; });
    }
    parts.shared_gate = read_row(r.shared_gate);
    parts.output_bias = read_row(r.output_bias);
    parts.capacity = options.capacity;
    return CheckpointLayer(std::move(parts));
  }

 private:
  /// What multimodal checkpoints put before the names of their language model.
  static constexpr const char* kPrefixes[] = {"", "language_model.", "model.language_model."};

  std::string block(Index layer) const {
    std::string name = family_->block(config_, layer);
    if (prefix_ == "model.language_model." && name.starts_with("model.")) name.erase(0, 6);
    return prefix_ + name;
  }

  /// Any tensor that only a layer with experts has: so that one of them missing is seen later.
  bool has_experts(Index layer) const {
    const std::string start = block(layer);
    for (const char* part :
         {".gate.", ".router", ".experts", ".input_linear", ".mlp1_", ".mlp2_"}) {
      if (tensors_.any_starts_with(start + part)) return true;
    }
    return false;
  }

  LayerRecipe recipe(const char* where, Index layer, presets::Variant variant) const {
    if (!std::binary_search(moe_layers_.begin(), moe_layers_.end(), layer)) {
      std::string known;
      for (const Index n : moe_layers_) known += (known.empty() ? "" : ", ") + std::to_string(n);
      detail::fail(where, "layer ", layer,
                   " has no experts; layers with experts: ", known.empty() ? "none" : known);
    }
    return family_->recipe(config_, layer, block(layer), variant);
  }

  template <class F>
  static void visit(const FfnPlaces& p, F&& f) {
    for (const auto* place : {&p.gate, &p.in, &p.out, &p.b_gate, &p.b_in, &p.b_out}) f(*place);
  }
  static std::array<const WeightPlace*, 5> extras(const LayerRecipe& r) {
    return {&r.router, &r.router_bias, &r.selection_bias, &r.shared_gate, &r.output_bias};
  }

  void check(const LayerRecipe& r) const {
    const auto find = [&](const WeightPlace& place) {
      if (!place.empty()) tensors_.find(place);
    };
    for (const auto* place : extras(r)) find(*place);
    for (Index e = 0; e < r.dims.num_experts; ++e) visit(r.expert(e), find);
    visit(r.shared, find);
    if (!r.token_table.empty()) tensors_.check_integers(r.token_table);
  }

  /// Parts that change every output, and that config.json may fail to mention: a default that the
  /// model's own code fills in, or another generation under the same name.
  void check_nothing_left(const LayerRecipe& r, const std::string& block) const {
    const auto refuse = [&](const std::string& start) {
      if (start.empty() || !tensors_.any_starts_with(start)) return;
      detail::fail_file(config_.path(), "mentions nothing that uses the tensors ",
                        detail::in_quotes(start + "*"), " of these files");
    };
    if (r.shared_dim == 0) {
      refuse(block + ".shared_expert");
      refuse(r.beside);
    }
    if (!r.selection_bias.empty()) return;
    for (const char* bias : {".gate.e_score_correction_bias", ".gate.expert_bias",
                             ".e_score_correction_bias", ".router.e_score_correction_bias"}) {
      refuse(block + bias);
    }
  }

  static FfnShape shape_of(const LayerRecipe& r, Index hidden_dim) {
    return {r.dims.model_dim, hidden_dim, r.activation, r.gated, r.clamped};
  }

  CheckpointRouter make_router(const LayerRecipe& r) const {
    LinearRouter<float> linear;
    linear.weight = read_parameter(r.router);
    if (!r.router_bias.empty()) linear.bias = read_parameter(r.router_bias);
    if (r.token_table.empty()) return linear;
    try {
      return {std::move(linear), r.dims.top_k, tensors_.integers(r.token_table)};
    } catch (const std::invalid_argument& error) {
      detail::fail_file(config_.path(), "the tensor ", detail::in_quotes(r.token_table.name),
                        " is no table of experts: ", error.what());
    }
  }

  CheckpointGate make_gate(LayerRecipe& r) const {
    if (!r.selection_bias.empty()) {
      const RowVector<float> bias = read_row(r.selection_bias);
      std::get<TopKGate::Options>(r.gate).selection_bias.assign(bias.data(),
                                                                bias.data() + bias.size());
    }
    try {
      Dims dims = r.dims;
      dims.num_experts = r.num_choices();
      return {dims, std::move(r.gate)};
    } catch (const std::invalid_argument& error) {
      detail::fail_file(config_.path(), "makes no gate: ", error.what());
    }
  }

  RowVector<float> read_row(const WeightPlace& place) const {
    RowVector<float> row(place.empty() ? 0 : place.cols);
    if (!place.empty()) tensors_.read(place, MatrixView<float>(row.data(), 1, row.size()));
    return row;
  }
  Parameter<float> read_parameter(const WeightPlace& place) const {
    Parameter<float> p(place.rows, place.cols);
    tensors_.read(place, p.value);
    return p;
  }

  ModelConfig config_;
  const CheckpointFamily* family_;
  Index num_layers_;
  CheckpointTensors tensors_;
  std::string prefix_;
  std::vector<Index> moe_layers_;
};

MOE_NAMESPACE_END
