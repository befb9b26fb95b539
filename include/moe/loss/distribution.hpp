// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What losses on p = softmax(logits) share; always over experts, in double, whatever the gate does.
#pragma once

#include <cmath>

#include "moe/loss/loss.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// log sum_i exp l_i over n values that lie `stride` apart and for which use(i); -infinity when all
/// of them are.
template <class S, class Use>
double log_sum_exp(const S* l, Index n, Index stride, Use&& use) {
  double largest = -std::numeric_limits<double>::infinity(), sum = 0;
  for (Index i = 0; i < n; ++i) {
    if (use(i)) largest = std::max(largest, static_cast<double>(l[i * stride]));
  }
  for (Index i = 0; i < n; ++i) {
    const auto value = static_cast<double>(l[i * stride]);
    if (use(i) && value != largest) sum += std::exp(value - largest);
    if (use(i) && value == largest) sum += 1;  // not infinity - infinity
  }
  return largest + std::log(sum);
}

/// p = softmax(l), with one exponential per value; returns log sum_i exp l_i.
template <class S>
double softmax_of(const S* l, std::span<double> p) {
  const double largest = static_cast<double>(*std::max_element(l, l + p.size()));
  double sum = 0;
  for (std::size_t e = 0; e < p.size(); ++e) {
    p[e] = std::exp(static_cast<double>(l[e]) - largest);
    sum += p[e];
  }
  for (double& v : p) v /= sum;
  return largest + std::log(sum);
}

/// x log x, 0 at 0.
inline double x_log_x(double x) { return x > 0 ? x * std::log(x) : x * 0; }

/// mean [E] += mean over `tokens` real tokens of softmax(l_t). p [E]: scratch.
template <class S>
void add_mean_distribution(const LossInput<S>& in, double tokens, std::span<double> mean,
                           std::span<double> p) {
  in.for_real_tokens([&](Index t) {
    softmax_of(in.logits.row(t), p);
    for (std::size_t e = 0; e < mean.size(); ++e) mean[e] += p[e] / tokens;
  });
}

/// Gradient of a loss whose slope with respect to every real token's p_te is slope_e:
/// dl_te += p_te (slope_e - sum_j p_tj slope_j). p [E]: scratch.
template <class S>
void add_softmax_gradient(const LossInput<S>& in, std::span<const double> slope,
                          std::span<double> p, LossGradient<S>& gradient) {
  in.for_real_tokens([&](Index t) {
    softmax_of(in.logits.row(t), p);
    double mean = 0;
    for (std::size_t e = 0; e < slope.size(); ++e) mean += p[e] * slope[e];
    S* dl = gradient.dlogits.row(t);
    for (std::size_t e = 0; e < slope.size(); ++e) {
      dl[e] += static_cast<S>(p[e] * (slope[e] - mean));
    }
  });
}

/// sum_e P_e log P_e, replacing P by coefficient * log P_e / tokens: its slope for each token, up
/// to a constant that the softmax gradient removes. An expert nobody can reach (P_e = 0) has slope
/// 0.
inline double negative_entropy(std::span<double> p, double coefficient, double tokens) {
  double value = 0;
  for (double& x : p) {
    value += x_log_x(x);
    x = x > 0 ? coefficient * std::log(x) / tokens : x * 0;
  }
  return value;
}

}  // namespace detail
MOE_NAMESPACE_END
