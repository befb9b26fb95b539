// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// libtorch: the eager loop of the usual model code (index_select, linear, index_add_ per expert).
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "peers/glue.hpp"
#include "peers/peers.hpp"

namespace bench {
namespace {

class TorchLoop : public Contestant {
 public:
  explicit TorchLoop(const Problem& problem) : problem_(problem) {
    const Index d = problem.model_dim, h = problem.hidden_dim;
    for (const auto& layer : problem.layers) {
      auto& experts = layers_.emplace_back();
      for (const ExpertWeights& w : layer) {
        experts.push_back({tensor(w.gate, h, d), tensor(w.in, h, d), tensor(w.out, d, h)});
      }
    }
  }

  void set_threads(int count) override { at::set_num_threads(count); }

  void run(const Call& call) override {
    const c10::InferenceMode no_autograd;
    const Groups groups(call, problem_.num_experts, problem_.top_k);
    const at::Tensor x =
        at::from_blob(const_cast<float*>(call.x), {call.tokens, problem_.model_dim})
            .to(value_type());
    at::Tensor y = at::from_blob(call.y, {call.tokens, problem_.model_dim}).zero_();
    for (std::size_t e = 0; e < layers_[call.layer].size(); ++e) {
      const Index first = groups.offset[e], n = groups.offset[e + 1] - first;
      if (n == 0) continue;
      const at::Tensor token = at::from_blob(
          const_cast<Index*>(&groups.token[static_cast<std::size_t>(first)]), {n}, at::kLong);
      const at::Tensor weight = at::from_blob(
          const_cast<float*>(&groups.weight[static_cast<std::size_t>(first)]), {n, 1});
      const at::Tensor out = at::linear(hidden(x.index_select(0, token), layers_[call.layer][e]),
                                        layers_[call.layer][e].out);
      y.index_add_(0, token, out.to(at::kFloat) * weight);
    }
  }

 private:
  struct Expert {
    at::Tensor gate, in, out;
  };

  at::ScalarType value_type() const {
    return problem_.dtype == Dtype::f32 ? at::kFloat : at::kBFloat16;
  }

  at::Tensor tensor(const void* data, Index rows, Index cols) const {
    if (data == nullptr) return {};
    return at::from_blob(const_cast<void*>(data), {rows, cols}, value_type());
  }

  at::Tensor hidden(const at::Tensor& rows, const Expert& expert) const {
    const at::Tensor in = at::linear(rows, expert.in);
    const at::Tensor z = problem_.gated ? at::linear(rows, expert.gate) : in;
    const at::Tensor activated = problem_.act == Act::relu   ? at::relu(z)
                                 : problem_.act == Act::gelu ? at::gelu(z)
                                                             : at::silu(z);
    return problem_.gated ? activated * in : activated;
  }

  Problem problem_;
  std::vector<std::vector<Expert>> layers_;
};

}  // namespace

std::unique_ptr<Contestant> make_torch(const Problem& problem) {
  return std::make_unique<TorchLoop>(problem);
}

}  // namespace bench
