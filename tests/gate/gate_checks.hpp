// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What every gate must pass, and how tests run one alone.
#pragma once

#include <vector>

#include "moe/expert/ffn.hpp"
#include "moe/layer/moe_layer.hpp"
#include "moe/loss/switch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

namespace moe_test {

using moe::Batch;
using moe::Dims;

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A routing with the state that its backward needs.
template <class G, class S>
struct Routed {
  moe::Routing<S> routing;
  typename G::State state;
};

/// The gate's forward into memory full of rubbish, padding cleared as the layer does.
template <class G, class S>
void route(const G& gate, const Matrix<S>& logits, const Batch& batch, Routed<G, S>& out) {
  out.routing.resize(logits.rows(), gate.top_k(), logits.cols());
  out.routing.expert.eigen().setConstant(-77);
  out.routing.weight.eigen().setConstant(S(77));
  out.routing.scores.eigen().setConstant(S(77));
  const Matrix<S> before = logits;
  gate.forward(MatrixView<const S>(logits), out.routing, batch, out.state);
  REQUIRE(same_bits(logits, before));
  out.routing.clear_padding(batch);
}
template <class G, class S>
Routed<G, S> route(const G& gate, const Matrix<S>& logits, const Batch& batch = {}) {
  Routed<G, S> out;
  route(gate, logits, batch, out);
  return out;
}

inline Matrix<double> rows(std::initializer_list<std::initializer_list<double>> values) {
  Matrix<double> m(static_cast<Index>(values.size()), static_cast<Index>(values.begin()->size()));
  Index t = 0;
  for (const auto& row : values) std::copy(row.begin(), row.end(), m.row(t++).data());
  return m;
}

/// The chosen experts of token t, empty places left out.
template <class S>
std::vector<int> experts_of(const moe::Routing<S>& routing, Index t = 0) {
  std::vector<int> list;
  for (Index j = 0; j < routing.top_k(); ++j) {
    if (routing.expert(t, j) != moe::kNoExpert) list.push_back(routing.expert(t, j));
  }
  return list;
}
using Experts = std::vector<int>;

/// Weights by expert, [T, E], 0 where not chosen.
template <class S>
Matrix<double> weights_by_expert(const moe::Routing<S>& routing) {
  Matrix<double> w = Matrix<double>::Zero(routing.tokens(), routing.num_experts());
  for (Index t = 0; t < routing.tokens(); ++t) {
    for (Index j = 0; j < routing.top_k(); ++j) {
      const auto e = routing.expert(t, j);
      if (e != moe::kNoExpert) w(t, e) += static_cast<double>(routing.weight(t, j));
    }
  }
  return w;
}

/// Every place holds an expert once or nobody with weight 0.
template <class S>
void check_well_formed(const moe::Routing<S>& routing) {
  Index wrong = 0;
  for (Index t = 0; t < routing.tokens(); ++t) {
    std::vector<bool> seen(static_cast<std::size_t>(routing.num_experts()), false);
    for (Index j = 0; j < routing.top_k(); ++j) {
      const auto e = routing.expert(t, j);
      if (e == moe::kNoExpert) {
        wrong += routing.weight(t, j) != 0;
        continue;
      }
      const bool in_range = e >= 0 && e < routing.num_experts();
      wrong += !in_range || seen[static_cast<std::size_t>(e)];
      if (in_range) seen[static_cast<std::size_t>(e)] = true;
    }
  }
  CHECK(wrong == 0);
}

/// dlogits of one backward of <weight, dweight> + <scores, dscores>.
template <class G>
Matrix<double> gate_gradient(G& gate, Routed<G, double>& out, const Matrix<double>& dweight,
                             const Matrix<double>& dscores) {
  const Matrix<double> start = random_matrix<double>(dscores.rows(), dscores.cols(), 6);
  Matrix<double> dlogits = start;
  gate.backward(std::as_const(out.routing), MatrixView<const double>(dweight),
                MatrixView<const double>(dscores), MatrixView<double>(dlogits), out.state);
  return dlogits - start;
}

/// Differences of the gate alone: through its weights and through its scores.
template <class G>
void check_gate_gradient(G gate, Matrix<double> logits, const Batch& batch = {}) {
  const Matrix<double> dweight = random_matrix<double>(logits.rows(), gate.top_k(), 4);
  const Matrix<double> dscores = random_matrix<double>(logits.rows(), logits.cols(), 5);
  auto out = route(gate, logits, batch);
  const Matrix<double> gradient = gate_gradient(gate, out, dweight, dscores);
  check_gradient("logits", logits, gradient, [&] {
    route(gate, logits, batch, out);
    return out.routing.weight.eigen().cwiseProduct(dweight).sum() +
           out.routing.scores.eigen().cwiseProduct(dscores).sum();
  });
}

/// Differences of <y, dy> plus a balance loss through a layer around the gate, at x and at every
/// parameter, on a training tape. `seed` must give tokens no choice of which hangs by a difference.
template <class G>
void check_layer_gradient(const typename G::Options& options, Index k, const Batch& batch = {},
                          Index experts = 4, std::uint64_t seed = 21) {
  using Layer = moe::MoeLayer<double, moe::LinearRouter<double>, G, moe::GatedFfn<double>>;
  constexpr Index kTokens = 7, kDim = 5;
  Layer layer({.model_dim = kDim,
               .hidden_dim = 3,
               .num_experts = experts,
               .top_k = k,
               .router = {.bias = true},
               .gate = options},
              seed);
  layer.router().weight.value *= 3;
  Matrix<double> x = random_matrix<double>(kTokens, kDim, seed + 1), y(kTokens, kDim);
  const Matrix<double> dy = random_matrix<double>(kTokens, kDim, seed + 2);
  typename Layer::Tape tape;
  const auto loss = [&] {
    layer.forward(x, y, tape, batch);
    return y.cwiseProduct(dy).sum() + tape.add_loss(moe::SwitchLoss{0.3});
  };
  moe::zero_grad(layer);
  loss();
  Matrix<double> dx(kTokens, kDim);
  layer.backward(dy, dx, tape);
  check_gradient("x", x, dx, loss);
  layer.visit_parameters([&](std::string_view name, auto& p) {
    if (name.starts_with("experts") || name.starts_with("gate")) return;
    const Matrix<double> gradient = p.grad;
    check_gradient(std::string(name), p.value, gradient, loss);
  });
}

}  // namespace moe_test
