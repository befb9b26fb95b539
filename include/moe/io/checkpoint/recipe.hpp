// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What a checkpoint family says of one of its layers: where each weight lies, and what to build.
#pragma once

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "moe/gate/sparse_mixer.hpp"
#include "moe/gate/top_k.hpp"
#include "moe/io/checkpoint/config.hpp"
#include "moe/layer/presets/variant.hpp"

MOE_NAMESPACE_BEGIN

/// A matrix [rows, cols] inside a tensor: value (r, c) is the tensor's element
/// first + r * row_step + c * col_step. An empty name: there is none.
struct WeightPlace {
  std::string name;
  std::vector<Index> shape;  ///< that the tensor must have; dimensions of 1 do not count
  Index rows = 0, cols = 0;
  Index first = 0, row_step = 0, col_step = 1;

  bool empty() const { return name.empty(); }
};

/// The parts of one expert; gate and the biases may be absent.
struct FfnPlaces {
  WeightPlace gate;  ///< [H, D]
  WeightPlace in;    ///< [H, D]
  WeightPlace out;   ///< [D, H]
  WeightPlace b_gate, b_in, b_out;
};

/// One layer, as a family describes it.
struct LayerRecipe {
  Dims dims;  ///< num_experts: those with weights
  Activation activation = Activation::silu;
  bool gated = true;
  ClampedSwiglu clamped{};

  WeightPlace router;       ///< [num_experts + zero_experts, D]
  WeightPlace router_bias;  ///< the same number
  WeightPlace token_table;  ///< [V, K] whole numbers: the experts of each token id, if these choose
  WeightPlace selection_bias;  ///< the same number, into TopKGate::Options
  std::variant<TopKGate::Options, SparseMixerGate::Options> gate;

  std::function<FfnPlaces(Index expert)> expert;
  Index zero_experts = 0;   ///< numbered after the others; they return x
  Index shared_dim = 0;     ///< H of the shared expert, 0 without one
  FfnPlaces shared;         ///< all shared experts side by side, as one
  std::string beside;       ///< where shared experts stand that are not in the block, else empty
  WeightPlace shared_gate;  ///< [1, D]: the shared expert's weight is sigmoid(x g^T)
  WeightPlace output_bias;  ///< [D], added to y once

  /// Of the gate and the router.
  Index num_choices() const { return dims.num_experts + zero_experts; }
};

/// A family of checkpoints: config.json's model_type and how its layers are found and read.
struct CheckpointFamily {
  std::string_view name;
  std::vector<std::string_view> model_types;
  Index (*num_layers)(const ModelConfig&);
  /// Where the layer's MoE block stands if it has one, such as "model.layers.3.mlp".
  std::string (*block)(const ModelConfig&, Index layer);
  /// `block`: as above, behind whatever prefix the checkpoint has.
  LayerRecipe (*recipe)(const ModelConfig&, Index layer, const std::string& block,
                        presets::Variant);
};

namespace detail {

/// A tensor [rows, cols], whole.
inline WeightPlace whole(std::string name, Index rows, Index cols) {
  return {std::move(name), {rows, cols}, rows, cols, 0, cols, 1};
}
/// A tensor [n] as one row.
inline WeightPlace whole(std::string name, Index n) {
  return {std::move(name), {n}, 1, n, 0, n, 1};
}

struct FfnNames {
  std::string_view gate, in, out;  ///< gate empty: not gated
};
inline constexpr FfnNames kProjections = {"gate_proj", "up_proj", "down_proj"};
inline constexpr FfnNames kW123 = {"w1", "w3", "w2"};

/// "<prefix>.<name>.weight" [out, in] each, and ".bias".
inline FfnPlaces separate_ffn(const std::string& prefix, const FfnNames& names, Index d, Index h,
                              bool bias = false) {
  const auto tensor = [&](std::string_view name, const char* end) {
    return prefix + "." + std::string(name) + end;
  };
  FfnPlaces p;
  if (!names.gate.empty()) p.gate = whole(tensor(names.gate, ".weight"), h, d);
  p.in = whole(tensor(names.in, ".weight"), h, d);
  p.out = whole(tensor(names.out, ".weight"), d, h);
  if (!bias) return p;
  if (!names.gate.empty()) p.b_gate = whole(tensor(names.gate, ".bias"), h);
  p.b_in = whole(tensor(names.in, ".bias"), h);
  p.b_out = whole(tensor(names.out, ".bias"), d);
  return p;
}

/// Experts one by one: "<block>.experts.<e>.<name>.weight".
inline std::function<FfnPlaces(Index)> separate_experts(const std::string& block,
                                                        const FfnNames& names, const Dims& dims,
                                                        bool bias = false) {
  return [=](Index e) {
    return separate_ffn(block + ".experts." + std::to_string(e), names, dims.model_dim,
                        dims.hidden_dim, bias);
  };
}

/// How the gate and up rows of a fused tensor of 2 H follow one another.
enum class FusedOrder { halves, interleaved };

/// Expert e of gate_up [E, 2 H, D] and down [E, D, H], or transposed: [E, D, 2 H] and [E, H, D].
inline FfnPlaces fused_ffn(const std::string& gate_up, const std::string& down, const Dims& dims,
                           Index e, FusedOrder order, bool transposed) {
  const Index d = dims.model_dim, h = dims.hidden_dim, n = dims.num_experts;
  const bool halves = order == FusedOrder::halves;
  const Index step = halves ? 1 : 2, up = halves ? h : 1;  // in units of one gate or up row
  FfnPlaces p;
  if (transposed) {
    p.gate = {gate_up, {n, d, 2 * h}, h, d, e * 2 * h * d, step, 2 * h};
    p.out = {down, {n, h, d}, d, h, e * h * d, 1, d};
  } else {
    p.gate = {gate_up, {n, 2 * h, d}, h, d, e * 2 * h * d, step * d, 1};
    p.out = {down, {n, d, h}, d, h, e * h * d, h, 1};
  }
  p.in = p.gate;
  p.in.first += transposed ? up : up * d;
  return p;
}

/// "model.layers.<n><end>", what most models have.
template <const char* kEnd>
std::string llama_block(const ModelConfig&, Index layer) {
  return "model.layers." + std::to_string(layer) + kEnd;
}
inline constexpr char kMlp[] = ".mlp", kSparseMoe[] = ".block_sparse_moe",
                      kFeedForward[] = ".feed_forward", kMoeBlock[] = ".moe_block";

inline Index num_hidden_layers(const ModelConfig& config) {
  return config.layers("num_hidden_layers");
}

/// K, at most the number of choices.
inline Index top_k(const ModelConfig& config, const std::string& key, Index choices) {
  return config.count(key, 1, choices);
}

}  // namespace detail
MOE_NAMESPACE_END
