// A sparse MoE layer in one screen: 8 experts, 2 per token.
#include <cstdio>
#include <moe/moe.hpp>

int main() {
  using Layer = moe::MoeLayer<float, moe::LinearRouter<float>, moe::TopKGate,
                              moe::GatedFfn<float, moe::Silu>>;
  Layer layer({.model_dim = 64, .hidden_dim = 128, .num_experts = 8, .top_k = 2}, /*seed=*/42);

  moe::Matrix<float> x(5, 64), y(5, 64);  // one token per row
  for (moe::Index i = 0; i < x.size(); ++i) x.data()[i] = 0.01f * static_cast<float>(i % 97) - 0.5f;

  Layer::Workspace workspace;  // every intermediate; reuse it, and later calls allocate nothing
  layer.forward(x, y, workspace);

  for (moe::Index t = 0; t < x.rows(); ++t) {
    std::printf("token %td -> expert %d (%.3f), expert %d (%.3f)   y[0] = %+.6f\n", t,
                workspace.routing.expert(t, 0), workspace.routing.weight(t, 0),
                workspace.routing.expert(t, 1), workspace.routing.weight(t, 1), y(t, 0));
  }
}
