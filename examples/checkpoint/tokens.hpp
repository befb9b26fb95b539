// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Tokens from a file, and what a layer made of them to another.
#pragma once

#include <cstdio>
#include <moe/io/safetensors.hpp>
#include <moe/io/safetensors_writer.hpp>
#include <moe/observe/stats.hpp>
#include <string>
#include <vector>

namespace checkpoint {

using moe::Index;

/// x and token_ids of the input file.
struct Input {
  std::string path;
  moe::Matrix<float> x;
  std::vector<std::int64_t> token_ids;

  Input(const std::string& file_path, Index model_dim) : path(file_path) {
    const moe::SafeTensors file(path);
    const moe::TensorInfo& tensor = file.at("x");
    if (tensor.shape.size() != 2 || tensor.cols() != model_dim) {
      moe::SafeTensors::fail(tensor, "is ", moe::shape_text(tensor.shape), ", expected [T, ",
                             model_dim, "]");
    }
    x.resize(tensor.rows(), model_dim);
    file.read("x", moe::MatrixView<float>(x));
    if (!file.contains("token_ids")) return;
    token_ids.resize(static_cast<std::size_t>(x.rows()));
    const moe::TensorInfo& ids = file.at("token_ids", {x.rows()});
    moe::SafeTensors::read(ids, moe::MatrixView<std::int64_t>(token_ids.data(), 1, x.rows()));
  }

  /// For layers that choose experts by them.
  void need_token_ids() const {
    if (!token_ids.empty() || x.rows() == 0) return;
    throw moe::FileError(path + ": has no tensor 'token_ids', by which this layer chooses experts");
  }
};

template <class Workspace>
void write_output(const std::string& path, const moe::Matrix<float>& y, const Workspace& ws) {
  const Index t = y.rows(), e = ws.routing.num_experts(), k = ws.routing.top_k();
  moe::SafeTensorsWriter out(path, {{"y", moe::Dtype::f32, {t, y.cols()}},
                                    {"router_logits", moe::Dtype::f32, {t, e}},
                                    {"expert_ids", moe::Dtype::i32, {t, k}},
                                    {"expert_weights", moe::Dtype::f32, {t, k}}});
  out.write("y", y);
  out.write("router_logits", moe::MatrixView<const float>(ws.logits.data(), t, e));
  out.write("expert_ids", ws.routing.expert);
  out.write("expert_weights", ws.routing.weight);
  out.finish();
}

template <class Workspace>
void print_loads(const Workspace& ws) {
  moe::RoutingStats stats;
  moe::routing_stats(ws.routing, ws.plan, stats);
  std::printf("tokens per expert (variation %.2f):", stats.load_cv);
  for (std::size_t e = 0; e < stats.tokens_per_expert.size(); ++e) {
    if (e % 16 == 0) std::printf("\n%5zu:", e);
    std::printf(" %5td", stats.tokens_per_expert[e]);
  }
  std::printf("\n");
}

}  // namespace checkpoint
