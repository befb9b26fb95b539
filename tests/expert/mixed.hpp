// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Layers whose experts are of several kinds, and what they compute by the book.
#pragma once

#include "moe/expert/any_of.hpp"
#include "moe/expert/constant.hpp"
#include "moe/expert/identity.hpp"
#include "moe/expert/zero.hpp"
#include "moe/layer/moe_layer.hpp"
#include "support/trained.hpp"

namespace moe_test {

/// An expert of a user's own: y = scale * x, scale [1, D].
template <class S>
struct DiagonalExpert {
  using State = moe::NoState;

  DiagonalExpert(const moe::Dims& dims, moe::NoOptions, moe::Random& random)
      : scale(1, dims.model_dim) {
    scale.init_uniform(random, 1);
  }
  void forward(MatrixView<const S> in, MatrixView<S> out, State&) const {
    out.eigen() = in.eigen().array().rowwise() * scale.value.row(0).array();
  }
  void backward(MatrixView<const S> in, MatrixView<const S> dout, MatrixView<S> din, State&) {
    scale.ensure_grad();
    scale.grad += (in.eigen().array() * dout.eigen().array()).colwise().sum().matrix();
    din.eigen() = dout.eigen().array().rowwise() * scale.value.row(0).array();
  }
  template <class F>
  void visit_parameters(F&& f) {
    f("scale", scale);
  }

  moe::Parameter<S> scale;
};

template <class S>
using Any = moe::AnyOf<S, moe::GatedFfn<S>, moe::Ffn<S, moe::Gelu>,
                       moe::GatedFfn<S, moe::ClampedSilu>, moe::IdentityExpert<S>,
                       moe::ZeroExpert<S>, moe::ConstantExpert<S>, DiagonalExpert<S>>;
template <class S>
using MixedLayer = LayerOf<S, Any<S>>;

/// Twelve experts: runs of FFNs, neighbours of other widths and kinds, all other kinds between.
template <class S>
moe::ExpertMix<Any<S>> every_kind() {
  moe::ExpertMix<Any<S>> mix;
  mix.template add<moe::IdentityExpert<S>>(1)
      .template add<moe::GatedFfn<S>>(2)
      .template add<moe::GatedFfn<S>>(1, {.bias = true}, 9)
      .template add<DiagonalExpert<S>>(2)
      .template add<moe::Ffn<S, moe::Gelu>>(2, {.bias = true})
      .template add<moe::ZeroExpert<S>>(1)
      .template add<moe::ConstantExpert<S>>(1)
      .template add<moe::IdentityExpert<S>>(1)
      .template add<moe::GatedFfn<S, moe::ClampedSilu>>(1,
                                                        {.bias = true, .clamped = {.limit = 0.5}});
  return mix;
}

/// c.e must be the number of experts of the mix.
template <class S>
MixedLayer<S> make_mixed_layer(const Case& c, const moe::ExpertMix<Any<S>>& mix,
                               bool weight_on_input = false) {
  typename MixedLayer<S>::Config config{
      .model_dim = c.d, .hidden_dim = c.h, .num_experts = c.e, .top_k = c.k};
  config.router.bias = c.router_bias;
  config.gate = {.renormalize = c.renormalize, .weight_on_input = weight_on_input};
  config.expert = mix;
  config.capacity.factor = c.capacity;
  MixedLayer<S> layer(config, c.seed);
  if (c.flooded) layer.router().bias.value(0, c.e / 2) += 20;
  return layer;
}

/// What one expert makes of a row; `kink` as in naive::expert_output.
template <class S>
naive::Row output_of(const Any<S>& any, const naive::Row& x, double& kink) {
  return any.visit([&]<class K>(const K& expert) -> naive::Row {
    naive::Row y = x;
    if constexpr (std::same_as<K, moe::ZeroExpert<S>>) {
      std::fill(y.begin(), y.end(), 0.0);
    } else if constexpr (std::same_as<K, DiagonalExpert<S>>) {
      for (std::size_t d = 0; d < y.size(); ++d) {
        y[d] *= static_cast<double>(expert.scale.value(0, static_cast<Index>(d)));
      }
    } else if constexpr (std::same_as<K, moe::ConstantExpert<S>>) {
      const naive::Row share = naive::softmax(naive::affine(to_table(expert.mix.value), {}, x), 1);
      const naive::Row v = to_row(expert.constant.value);
      for (std::size_t d = 0; d < y.size(); ++d) y[d] = share[0] * x[d] + share[1] * v[d];
    } else if constexpr (!std::same_as<K, moe::IdentityExpert<S>>) {
      y = naive::expert_output(to_naive_expert(expert), x, kink);
    }
    return y;
  });
}

/// y [T, D] from the layer's own routing and plan.
template <class S, class RouteStateType>
Matrix<double> mixed_output(const MixedLayer<S>& layer, const Matrix<S>& x,
                            const RouteStateType& state) {
  Matrix<double> y = Matrix<double>::Zero(x.rows(), x.cols());
  double kink = 1;
  const bool on_input = weight_on(layer.gate()) == moe::WeightOn::input;
  for (Index a = 0; a < x.rows() * layer.top_k(); ++a) {
    const Index e = state.plan.expert_of(a), t = a / layer.top_k();
    if (e == moe::kNoExpert) continue;
    const auto weight = static_cast<double>(state.routing.weight(t, a % layer.top_k()));
    naive::Row row(x.row(t).begin(), x.row(t).end());
    for (double& value : row) value *= on_input ? weight : 1;
    const naive::Row out = output_of(layer.expert(e), row, kink);
    for (Index d = 0; d < x.cols(); ++d) {
      y(t, d) += (on_input ? 1 : weight) * out[static_cast<std::size_t>(d)];
    }
  }
  return y;
}

/// Random tokens whose choice of experts, and whose clamped gates, are not nearly undecided.
template <class S>
Matrix<S> decided_mixed_input(const MixedLayer<S>& layer, const Case& c, double margin) {
  Matrix<S> x(c.t, c.d), y(1, c.d);
  typename MixedLayer<S>::Workspace workspace;
  for (Index t = 0; t < c.t; ++t) {
    for (std::uint64_t draw = 0; draw < 1000; ++draw) {
      const Matrix<S> row =
          random_matrix<S>(1, c.d, c.seed * 1000003 + static_cast<std::uint64_t>(t) * 1009 + draw);
      x.row(t) = row;
      layer.forward(row, y, workspace);
      std::vector<S> logits(workspace.logits.data(), workspace.logits.data() + c.e);
      std::sort(logits.begin(), logits.end(), std::greater<S>());
      const auto k = static_cast<std::size_t>(c.k);
      double kink = 1;
      for (Index e = 0; e < c.e; ++e) {
        output_of(layer.expert(e), naive::Row(row.data(), row.data() + c.d), kink);
      }
      const bool decided = c.k == c.e || logits[k - 1] - logits[k] > margin;
      if (decided && kink > margin) break;
    }
  }
  return x;
}

}  // namespace moe_test
