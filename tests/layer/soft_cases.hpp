// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Soft layers for the tests, and the textbook one that they are held against.
#pragma once

#include "layer/shape_cases.hpp"
#include "moe/layer/soft_layer.hpp"

namespace moe_test {

template <class S>
using Soft = moe::SoftLayer<S, moe::GatedFfn<S>>;
template <class S>
using SoftScaling = moe::SoftLayer<S, ScaleExpert<S>>;

using moe::SoftNormalization;
inline constexpr SoftNormalization kNormalizations[] = {
    SoftNormalization::none, SoftNormalization::l2, SoftNormalization::rms};

template <class L>
L make_soft(SoftNormalization normalization, Index d = 5, Index h = 6, Index e = 3, Index slots = 2,
            double noise = 0) {
  L layer({.model_dim = d,
           .hidden_dim = h,
           .num_experts = e,
           .slots = slots,
           .normalization = normalization,
           .noise_stddev = noise},
          11);
  moe::Random random(5);
  layer.visit_parameters([&](std::string_view name, auto& p) {
    if (name.substr(0, 4) != "gain" && name != "scale") return;
    for (Index i = 0; i < p.value.size(); ++i) {  // not 1, so that the tests see them
      p.value.data()[i] += static_cast<typename L::Scalar>(0.4 * random.normal());
    }
  });
  return layer;
}

/// The textbook layer in double: one sequence, rows of `x` without padding.
template <class L>
naive::Table naive_soft(const L& layer, const naive::Table& x) {
  const auto& scores = layer.scores();
  const auto kind = scores.normalization();
  const std::size_t tokens = x.size(), d = static_cast<std::size_t>(layer.model_dim());
  const auto normalized = [&](const naive::Row& row, double scale, const naive::Row& gain) {
    double squares = 0;
    for (const double v : row) squares += v * v;
    naive::Row out = row;
    for (std::size_t i = 0; i < d; ++i) {
      if (kind == SoftNormalization::l2) out[i] *= scale / std::sqrt(squares + 1e-6);
      if (kind == SoftNormalization::rms) {
        out[i] *= gain[i] * std::sqrt(static_cast<double>(d) / squares);
      }
    }
    return out;
  };
  const double scale =
      kind == SoftNormalization::l2 ? static_cast<double>(scores.scale.value(0, 0)) : 1;
  naive::Table unit, source, logits, slots, outputs, y;
  for (const naive::Row& row : x) {
    unit.push_back(normalized(row, 1, to_row(scores.gain_x.value)));
    source.push_back(kind == SoftNormalization::rms ? unit.back() : row);
  }
  naive::Table phi;
  for (const naive::Row& row : to_table(scores.phi.value)) {
    phi.push_back(normalized(row, scale, to_row(scores.gain_phi.value)));
  }
  for (const naive::Row& row : unit) logits.push_back(naive::affine(phi, {}, row));
  double ignored = 0;
  for (std::size_t s = 0; s < phi.size(); ++s) {
    naive::Row column, mean(d, 0.0);
    for (const naive::Row& row : logits) column.push_back(row[s]);
    const naive::Row weight = naive::softmax(column, 1);
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t i = 0; i < d; ++i) mean[i] += weight[t] * source[t][i];
    }
    const auto expert = static_cast<Index>(s) / layer.slots();
    outputs.push_back(naive::expert_output(to_naive_expert(layer.expert(expert)), mean, ignored));
  }
  for (std::size_t t = 0; t < tokens; ++t) {
    const naive::Row weight = naive::softmax(logits[t], 1);
    naive::Row sum(d, 0.0);
    for (std::size_t s = 0; s < phi.size(); ++s) {
      for (std::size_t i = 0; i < d; ++i) sum[i] += weight[s] * outputs[s][i];
    }
    y.push_back(sum);
  }
  return y;
}

}  // namespace moe_test
