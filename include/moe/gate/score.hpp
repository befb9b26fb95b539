// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// From logits to scores and from the chosen scores to weights, one token's row at a time, with the
// gradients of both.
#pragma once

#include <cmath>
#include <limits>

#include "moe/gate/routing.hpp"
#include "moe/kernel/kernels.hpp"

MOE_NAMESPACE_BEGIN

/// What a logit becomes. s below is the score of one expert, z = logit / temperature.
enum class ScoreFunction {
  softmax,            ///< s = softmax over all experts, then selection (Switch, Mixtral, Qwen)
  softmax_of_chosen,  ///< selection by logits, then softmax over the chosen (gpt-oss, Granite)
  sigmoid,            ///< s = 1 / (1 + e^-z) (Llama 4, DeepSeek-V3)
  sqrt_softplus,      ///< s = sqrt(log(1 + e^z)) (DeepSeek-V4)
};

/// 1 / (1 + e^-z), from e^-|z|: nothing overflows.
template <class S>
S sigmoid(S z) {
  const S e = std::exp(-std::abs(z));
  return z < 0 ? e / (1 + e) : 1 / (1 + e);
}

template <class S>
S sqrt_softplus(S z) {
  return std::sqrt((z > 0 ? z : S(0)) + std::log1p(std::exp(-std::abs(z))));
}

/// p_e = exp(scale l_e - max) / sum. A NaN anywhere in the row makes the whole row NaN, so that a
/// broken score is seen instead of silently skipped.
template <class S>
void softmax_row(const S* logits, Index n, S scale, S* p) {
  detail::kernels<S>().softmax({logits, n, 1, n, scale, p, n, nullptr});
}

/// Scores of all experts; softmax for softmax_of_chosen too, which is what balance losses see.
template <class S>
void score_row(ScoreFunction function, const S* logits, Index n, S scale, S* s) {
  switch (function) {
    case ScoreFunction::sigmoid:
      detail::kernels<S>().sigmoid(logits, n, scale, s);
      break;
    case ScoreFunction::sqrt_softplus:
      for (Index e = 0; e < n; ++e) s[e] = sqrt_softplus(scale * logits[e]);
      break;
    default:
      softmax_row(logits, n, scale, s);
  }
}

/// The same for all tokens: logits, scores [T, E].
template <class S>
void score_rows(ScoreFunction function, MatrixView<const S> logits, S scale, MatrixView<S> scores) {
  if (function == ScoreFunction::softmax || function == ScoreFunction::softmax_of_chosen) {
    detail::kernels<S>().softmax({logits.data(), logits.stride(), logits.rows(), logits.cols(),
                                  scale, scores.data(), scores.stride(), nullptr});
    return;
  }
  for (Index t = 0; t < logits.rows(); ++t) {
    score_row(function, logits.row(t), logits.cols(), scale, scores.row(t));
  }
}

/// ds/dz of sigmoid or sqrt_softplus, from s alone: s (1 - s), or (1 - e^-s^2) / 2s.
inline double score_slope(ScoreFunction function, double s) {
  if (function == ScoreFunction::sigmoid) return s * (1 - s);
  return s > 0 ? -std::expm1(-s * s) / (2 * s) : 0 * s;
}

/// Makes independent scores a distribution, q_e = s_e / sum s: what balance losses of sigmoid routers
/// are defined on (DeepSeek-V3, Megatron). Raw scores would let a loss be lowered by lowering all of
/// them, and so would the usual 1e-20 added to the sum; zero scores stay zero. Returns the divisor, so
/// that s = q * divisor.
template <class S>
double scores_to_distribution(S* s, Index n) {
  double sum = 0;
  for (Index e = 0; e < n; ++e) sum += static_cast<double>(s[e]);
  if (sum == 0) sum = std::numeric_limits<double>::min();
  for (Index e = 0; e < n; ++e) s[e] = static_cast<S>(static_cast<double>(s[e]) / sum);
  return sum;
}

/// Adds to one token's dlogits, through p = softmax(scale l): dl_e = scale p_e (dp_e - sum_i p_i
/// dp_i), where dp is `dscores` [n] plus `dchosen` [k] at the experts of `chosen` (kNoExpert:
/// none).
template <class S, class D>
void softmax_row_backward(const S* p, Index n, double scale, const S* dscores,
                          const std::int32_t* chosen, const D* dchosen, Index k, S* dlogits) {
  double inner = 0;
  for (Index e = 0; e < n; ++e)
    inner += static_cast<double>(p[e]) * static_cast<double>(dscores[e]);
  for (Index j = 0; j < k; ++j) {
    if (chosen[j] != kNoExpert)
      inner += static_cast<double>(p[chosen[j]]) * static_cast<double>(dchosen[j]);
  }
  for (Index e = 0; e < n; ++e) {
    const double dp = static_cast<double>(dscores[e]) - inner;
    dlogits[e] += static_cast<S>(scale * static_cast<double>(p[e]) * dp);
  }
  for (Index j = 0; j < k; ++j) {
    if (chosen[j] == kNoExpert) continue;
    const double p_j = static_cast<double>(p[chosen[j]]);
    dlogits[chosen[j]] += static_cast<S>(scale * p_j * static_cast<double>(dchosen[j]));
  }
}

/// The same for independent scores made a distribution: q = s / divisor, s = f(scale l) + epsilon.
template <class S, class D>
void scores_row_backward(ScoreFunction function, const S* q, Index n, double divisor, double scale,
                         const S* dscores, const std::int32_t* chosen, const D* dchosen, Index k,
                         S* dlogits, double epsilon = 0) {
  double inner = 0;
  for (Index e = 0; e < n; ++e)
    inner += static_cast<double>(q[e]) * static_cast<double>(dscores[e]);
  const auto slope = [&](Index e) {
    const double s = static_cast<double>(q[e]) * divisor - epsilon;
    return scale * score_slope(function, epsilon > 0 && s < 0 ? 0 : s);
  };
  for (Index e = 0; e < n; ++e) {
    const double dq = static_cast<double>(dscores[e]) - inner;
    dlogits[e] += static_cast<S>(dq == 0 ? 0 : slope(e) / divisor * dq);
  }
  for (Index j = 0; j < k; ++j) {
    if (chosen[j] == kNoExpert) continue;
    dlogits[chosen[j]] += static_cast<S>(slope(chosen[j]) * static_cast<double>(dchosen[j]));
  }
}

/// How the raw scores u of the chosen experts become weights:
///   w_j = scale u_j / (max(|u|_p, least) + epsilon)   when normalised, else   w_j = scale u_j.
/// |u|_p = (sum_j u_j^p)^(1/p) is the sum for p = 1. A norm of zero is lifted to the smallest
/// normal float, so that scores that all underflowed give weights 0 and not NaN.
struct WeightRule {
  bool normalized = false;
  double p = 1;
  double epsilon = 0;
  double least = 0;
  double scale = 1;
  bool constant_norm = false;  ///< the gradient takes the norm for a constant

  double floor() const {
    return std::max(least, static_cast<double>(std::numeric_limits<float>::min()));
  }

  double norm(const double* u, Index k) const {
    double sum = 0;
    for (Index j = 0; j < k; ++j) sum += p == 1 ? u[j] : std::pow(u[j], p);
    return p == 1 ? sum : std::pow(sum, 1 / p);
  }

  template <class S>
  void weights(const double* u, Index k, S* w) const {
    double divisor = 1;
    if (normalized) {
      const double size = norm(u, k);
      divisor = (size < floor() ? floor() : size) + epsilon;  // NaN stays NaN
    }
    for (Index j = 0; j < k; ++j) w[j] = static_cast<S>(scale * (u[j] / divisor));
  }

  /// du_j = scale (dw_j - (sum_i dw_i u_i / divisor) d|u|_p/du_j) / divisor, where
  /// d|u|_p/du_j = (u_j / |u|_p)^(p-1), 0 below the clamp.
  template <class S>
  void gradient(const double* u, const S* dw, Index k, double* du) const {
    const double size = normalized ? norm(u, k) : 1;
    const bool clamped = normalized && size < floor();
    const double divisor = normalized ? (clamped ? floor() : size) + epsilon : 1;
    double mean = 0;
    for (Index j = 0; normalized && !clamped && !constant_norm && j < k; ++j) {
      mean += static_cast<double>(dw[j]) * (u[j] / divisor);
    }
    for (Index j = 0; j < k; ++j) {
      const double bend = p == 1 ? 1 : std::pow(u[j] / size, p - 1);
      du[j] = scale * (static_cast<double>(dw[j]) - (mean == 0 ? 0 : mean * bend)) / divisor;
    }
  }
};

MOE_NAMESPACE_END
