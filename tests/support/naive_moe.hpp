// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The textbook Mixture-of-Experts layer in double precision: the oracle every forward is held
// against. Slow on purpose, as close to the formulas as C++ gets, and no code of moe in it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <optional>
#include <vector>

namespace naive {

using Row = std::vector<double>;
using Table = std::vector<Row>;  // Table[t] is the row of token t

enum class Activation { identity, relu, gelu, gelu_tanh, silu, relu_squared, clamped_swiglu };

struct Expert {
  bool gated = false;
  Activation activation = Activation::identity;
  Table w_gate, w_in, w_out;                    // [H, D], [H, D], [D, H]
  Row b_gate, b_in, b_out;                      // [H], [H], [D]; empty: none
  double alpha = 1.702, limit = 7, offset = 1;  // of clamped_swiglu
};

struct Layer {
  Table router_weight;  // [E, D]
  Row router_bias;      // [E]; empty: none
  double temperature = 1;
  bool renormalize = true;
  std::size_t top_k = 1;
  std::optional<double> capacity_factor;  // empty: nobody is dropped
  std::vector<Expert> experts;            // [E]
};

struct Result {
  Table logits, scores;                          // [T, E]
  std::vector<std::vector<std::size_t>> chosen;  // [T][K], empty for padding
  Table weight;                                  // [T][K]
  std::vector<std::vector<bool>> kept;           // [T][K], false: its expert was full
  Table y;                                       // [T, D]
  // How far the nearest token is from another choice of experts, and from a kink of ReLU.
  double choice_margin = std::numeric_limits<double>::infinity();
  double kink_margin = std::numeric_limits<double>::infinity();
};

inline double activate(Activation activation, double z) {
  switch (activation) {
    case Activation::relu:
      return std::max(z, 0.0);
    case Activation::relu_squared:
      return z > 0 ? z * z : 0;
    case Activation::gelu:
      return z * (1 + std::erf(z / std::sqrt(2.0))) / 2;
    case Activation::gelu_tanh:
      return z / 2 * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (z + 0.044715 * z * z * z)));
    case Activation::silu:
      return z / (1 + std::exp(-z));
    case Activation::identity:
    case Activation::clamped_swiglu:  // of two arguments, see below
      break;
  }
  return z;
}

/// gpt-oss: min(g, limit) sigmoid(alpha min(g, limit)) (clamp(u) + offset).
inline double clamped_swiglu(const Expert& expert, double gate, double up) {
  const double g = std::min(gate, expert.limit);
  const double u = std::max(-expert.limit, std::min(up, expert.limit));
  return g / (1 + std::exp(-expert.alpha * g)) * (u + expert.offset);
}

/// W x + b
inline Row affine(const Table& w, const Row& b, const Row& x) {
  Row out(w.size());
  for (std::size_t j = 0; j < w.size(); ++j) {
    out[j] = std::inner_product(x.begin(), x.end(), w[j].begin(), b.empty() ? 0.0 : b[j]);
  }
  return out;
}

inline Row softmax(const Row& logits, double temperature) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  Row p;
  for (double l : logits) p.push_back(std::exp((l - largest) / temperature));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= sum;
  return p;
}

/// Expert indices, best first, equal ones by index.
inline std::vector<std::size_t> ranking(const Row& logits) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  return order;
}

inline Row expert_output(const Expert& expert, const Row& x, double& kink_margin) {
  Row hidden = affine(expert.w_in, expert.b_in, x);
  Row bent = expert.gated ? affine(expert.w_gate, expert.b_gate, x) : hidden;
  for (std::size_t j = 0; j < hidden.size(); ++j) {
    if (expert.activation == Activation::relu || expert.activation == Activation::relu_squared) {
      kink_margin = std::min(kink_margin, std::abs(bent[j]));
    }
    if (expert.activation == Activation::clamped_swiglu) {
      kink_margin = std::min({kink_margin, std::abs(bent[j] - expert.limit),
                              std::abs(std::abs(hidden[j]) - expert.limit)});
      hidden[j] = clamped_swiglu(expert, bent[j], hidden[j]);
      continue;
    }
    const double a = activate(expert.activation, bent[j]);
    hidden[j] = expert.gated ? a * hidden[j] : a;
  }
  return affine(expert.w_out, expert.b_out, hidden);
}

/// Most tokens an expert takes: ceil(factor * T * K / E), T without padding. The last bits of the
/// product do not decide about a token.
inline double capacity(const Layer& layer, std::size_t real_tokens) {
  if (!layer.capacity_factor) return std::numeric_limits<double>::infinity();
  const double share = *layer.capacity_factor * static_cast<double>(real_tokens * layer.top_k) /
                       static_cast<double>(layer.experts.size());
  return std::ceil(share - 1e-9);
}

inline Result forward(const Layer& layer, const Table& x, const std::vector<bool>& padding = {}) {
  const std::size_t tokens = x.size(), k = layer.top_k;
  Result result;
  result.chosen.resize(tokens);
  result.weight.resize(tokens);
  result.kept.resize(tokens);
  result.y.assign(tokens, Row(layer.experts.front().w_out.size(), 0.0));
  const auto is_padding = [&](std::size_t t) { return !padding.empty() && padding[t]; };

  std::size_t real_tokens = 0;
  for (std::size_t t = 0; t < tokens; ++t) real_tokens += is_padding(t) ? 0 : 1;
  std::vector<double> taken(layer.experts.size(), 0);

  for (std::size_t t = 0; t < tokens; ++t) {
    result.logits.push_back(affine(layer.router_weight, layer.router_bias, x[t]));
    const Row& logits = result.logits[t];
    result.scores.push_back(softmax(logits, layer.temperature));
    const Row& p = result.scores[t];
    if (is_padding(t)) continue;

    const std::vector<std::size_t> order = ranking(logits);
    if (k < order.size()) {
      result.choice_margin =
          std::min(result.choice_margin, logits[order[k - 1]] - logits[order[k]]);
    }
    double sum = 0;
    for (std::size_t j = 0; j < k; ++j) sum += p[order[j]];
    for (std::size_t j = 0; j < k; ++j) {
      const std::size_t e = order[j];
      // One expert: the weight stays p, or the router would learn nothing.
      const double weight = layer.renormalize && k > 1 ? p[e] / sum : p[e];
      const bool kept = taken[e] < capacity(layer, real_tokens);
      result.chosen[t].push_back(e);
      result.weight[t].push_back(weight);
      result.kept[t].push_back(kept);
      if (!kept) continue;
      taken[e] += 1;
      const Row out = expert_output(layer.experts[e], x[t], result.kink_margin);
      for (std::size_t d = 0; d < out.size(); ++d) result.y[t][d] += weight * out[d];
    }
  }
  return result;
}

/// E sum_e f_e P_e: f the share of the choices that name e, P the mean score of e over real tokens.
inline double switch_loss(const Layer& layer, const Result& result) {
  const std::size_t experts = layer.experts.size();
  Row choices(experts, 0.0), score(experts, 0.0);
  double tokens = 0;
  for (std::size_t t = 0; t < result.chosen.size(); ++t) {
    if (result.chosen[t].empty()) continue;
    tokens += 1;
    for (std::size_t e : result.chosen[t]) choices[e] += 1;
    for (std::size_t e = 0; e < experts; ++e) score[e] += result.scores[t][e];
  }
  double sum = 0;
  for (std::size_t e = 0; e < experts && tokens > 0; ++e) {
    sum += choices[e] / (tokens * static_cast<double>(layer.top_k)) * (score[e] / tokens);
  }
  return static_cast<double>(experts) * sum;
}

/// Mean over real tokens of (log sum_e exp l_e)^2.
inline double router_z_loss(const Result& result) {
  double sum = 0, tokens = 0;
  for (std::size_t t = 0; t < result.chosen.size(); ++t) {
    if (result.chosen[t].empty()) continue;
    tokens += 1;
    double total = 0;
    for (double l : result.logits[t]) total += std::exp(l);
    sum += std::log(total) * std::log(total);
  }
  return tokens > 0 ? sum / tokens : 0;
}

}  // namespace naive
