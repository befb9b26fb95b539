// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Load loss: coefficient * CV^2 over experts of their (smoothly estimated) number of tokens.
#pragma once

#include <cmath>
#include <limits>

#include "moe/loss/cv_squared.hpp"
#include "moe/loss/loss.hpp"

MOE_NAMESPACE_BEGIN

/// load_e = sum over real tokens of the probability that e is among the K largest noisy logits H
/// when its own noise is drawn again: Phi((clean_e - threshold) / stddev_e). Where stddev is 0, the
/// router has no noise, or K = E there is nothing to estimate: 1 if e is chosen, else 0, without
/// gradient. For gates that choose the K largest logits. Balanced value: 0.
struct LoadLoss {
  enum class Estimate {
    /// Threshold: the K-th largest H of the others. Shazeer et al. 2017 (arXiv 1701.06538, eq.
    /// 8-10).
    exclude_own,
    /// Threshold: the K-th largest H of all. V-MoE (Riquelme et al. 2021).
    kth_of_all,
    /// Counts the choices; no gradient.
    count,
  };

  double coefficient = 0.1;
  Estimate estimate = Estimate::exclude_own;
  CvSquared cv = {};

  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    if (in.real_tokens() == 0) return 0;
    const std::span<double> all = in.zeros(2 * in.num_experts());
    const std::span<double> load = all.first(all.size() / 2), chosen = all.last(all.size() / 2);
    add_loads(in, load, chosen);
    const double value = cv(load, coefficient);  // load is now its gradient
    add_gradient<S>(in, load, chosen, gradient);
    return value;
  }

  /// load [E] += the estimate. `chosen` [E]: scratch.
  template <class S>
  void add_loads(const LossInput<S>& in, std::span<double> load, std::span<double> chosen) const {
    for_chances(in, chosen.data(), [&](Index, Index e, const Chance& chance) {
      const auto i = static_cast<std::size_t>(e);
      load[i] += chance.smooth ? std::erfc(-chance.z / std::sqrt(2.0)) / 2 : chosen[i];
    });
  }

  /// From slope [E], the gradient of the loads. With z = (clean_e - H_j) / stddev_e and phi the normal
  /// density, dP_e/dclean_e = phi(z) / stddev_e, dP_e/dH_j = -phi(z) / stddev_e and dP_e/dstddev_e =
  /// -z phi(z) / stddev_e: into noise->dclean, dlogits and noise->dstddev.
  template <class S>
  void add_gradient(const LossInput<S>& in, std::span<const double> slope, std::span<double> chosen,
                    LossGradient<S>& gradient) const {
    for_chances(in, chosen.data(), [&](Index t, Index e, const Chance& chance) {
      if (!chance.smooth) return;
      constexpr double kInverseRootTwoPi = 0.3989422804014326779;
      const double phi = kInverseRootTwoPi * std::exp(-chance.z * chance.z / 2);
      if (phi == 0) return;
      const double part = slope[static_cast<std::size_t>(e)] * phi / chance.stddev;
      in.noise->dclean(t, e) += static_cast<S>(part);
      in.noise->dstddev(t, e) -= static_cast<S>(part * chance.z);
      gradient.dlogits(t, chance.threshold) -= static_cast<S>(part);
    });
  }

 private:
  struct Chance {
    bool smooth = false;
    double z = 0, stddev = 0;
    Index threshold = 0;  ///< the expert whose H it is
  };

  /// f(t, e, chance) for all experts of all real tokens, with chosen [E] set to the choices of t.
  template <class S, class F>
  void for_chances(const LossInput<S>& in, double* chosen, F&& f) const {
    const bool noisy =
        estimate != Estimate::count && in.noise != nullptr && in.noise->clean.rows() == in.tokens();
    in.for_real_tokens([&](Index t) {
      const S* h = in.logits.row(t);
      std::fill_n(chosen, in.num_experts(), 0.0);
      Index last_in = -1, first_out = -1;  // the K-th and the (K + 1)-th largest
      for (Index j = 0; j < in.routing.top_k(); ++j) {
        const Index e = in.routing.expert(t, j);
        if (e == kNoExpert) continue;
        chosen[e] = 1;
        if (last_in < 0 || h[e] < h[last_in]) last_in = e;
      }
      for (Index e = 0; e < in.num_experts(); ++e) {
        if (chosen[e] == 0 && (first_out < 0 || h[e] > h[first_out])) first_out = e;
      }
      for (Index e = 0; e < in.num_experts(); ++e) {
        Chance chance;
        chance.stddev = noisy ? static_cast<double>(in.noise->stddev(t, e)) : 0;
        const bool own = estimate == Estimate::exclude_own && chosen[e] != 0;
        chance.threshold = own ? first_out : last_in;
        // a threshold of -infinity, a chosen expert nobody can reach, leaves nothing to estimate
        chance.smooth = last_in >= 0 && first_out >= 0 && !(chance.stddev <= kNoNoise) &&
                        h[chance.threshold] != -std::numeric_limits<S>::infinity();
        if (chance.smooth) {
          chance.z =
              static_cast<double>(in.noise->clean(t, e) - h[chance.threshold]) / chance.stddev;
        }
        f(t, e, chance);
      }
    });
  }

  /// Deviations below this count as 0: their inverse would leave the range of float.
  static constexpr double kNoNoise = 1e-30;
};

MOE_NAMESPACE_END
