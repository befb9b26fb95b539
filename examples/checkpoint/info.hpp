// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What a checkpoint holds, as a page of text: only headers are read.
#pragma once

#include <algorithm>
#include <cstdio>
#include <moe/io/checkpoint.hpp>
#include <string>
#include <vector>

#include "../text/format.hpp"

namespace checkpoint {

using moe::Index;

/// 46702792704 -> "46.70 billion".
inline std::string amount(double value) {
  if (value >= 1e9) return text::format("%.2f billion", value / 1e9);
  if (value >= 1e6) return text::format("%.2f million", value / 1e6);
  return text::format("%.0f", value);
}

/// 93405585408 -> "93.41 GB".
inline std::string size(double bytes) {
  if (bytes >= 1e9) return text::format("%.2f GB", bytes / 1e9);
  if (bytes >= 1e6) return text::format("%.2f MB", bytes / 1e6);
  return text::format("%.1f KB", bytes / 1e3);
}

/// Weights that a tensor holds: none when it holds the scales of others, or numbers of experts.
inline Index weights_in(const moe::TensorInfo& tensor) {
  using moe::Dtype;
  const std::string_view name = tensor.name;
  for (const char* end : {"_scale_inv", "_scale", ".scale", "_scales", ".scales"}) {
    if (name.ends_with(end)) return 0;
  }
  if (tensor.dtype == Dtype::i64 || tensor.dtype == Dtype::i32) return 0;
  const bool pairs = tensor.dtype == Dtype::i8 || tensor.dtype == Dtype::u8;  // of float4
  return pairs ? 2 * tensor.size() : tensor.size();
}

inline void print_info(const moe::Checkpoint& checkpoint) {
  const auto& layers = checkpoint.moe_layers();
  double parameters = 0, bytes = 0;
  for (const moe::TensorInfo& tensor : checkpoint.files().tensors()) {
    parameters += static_cast<double>(weights_in(tensor));
    bytes += static_cast<double>(tensor.bytes.size());
  }
  double active = parameters;
  std::vector<moe::LayerInfo> infos;
  std::size_t width = 5;
  for (const Index layer : layers) {
    infos.push_back(checkpoint.describe(layer));
    width = std::max(width, infos.back().block.size());
  }
  const int block = static_cast<int>(width);
  std::string rows;
  for (const moe::LayerInfo& i : infos) {
    active -= static_cast<double>(i.parameters - i.active);
    const std::string zero = i.zero_experts > 0 ? text::format("+%td", i.zero_experts) : "";
    rows +=
        text::format("%5td  %-*s %8s %4td %6td %6td %7td  %-8s %15s %15s %10s\n", i.layer, block,
                     i.block.c_str(), (std::to_string(i.dims.num_experts) + zero).c_str(),
                     i.dims.top_k, i.dims.model_dim, i.dims.hidden_dim, i.shared_dim,
                     i.type.c_str(), text::grouped(i.parameters).c_str(),
                     text::grouped(i.active).c_str(), size(static_cast<double>(i.bytes)).c_str());
  }
  std::printf("family      %s\n", std::string(checkpoint.family().name).c_str());
  std::printf("layers      %td, with experts: %zu\n", checkpoint.num_layers(), layers.size());
  std::printf("parameters  %s, for one token: %s\n", amount(parameters).c_str(),
              amount(active).c_str());
  std::printf("bytes       %s in %zu file%s\n\n", size(bytes).c_str(),
              checkpoint.files().files().size(), checkpoint.files().files().size() == 1 ? "" : "s");
  std::printf("%5s  %-*s %8s %4s %6s %6s %7s  %-8s %15s %15s %10s\n%s", "layer", block, "block",
              "experts", "K", "D", "H", "shared", "type", "parameters", "for one token", "bytes",
              rows.c_str());
}

}  // namespace checkpoint
