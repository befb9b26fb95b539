// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// DeepSeek-V2's device-level balance loss: coefficient * sum_d f'_d P'_d over devices d.
#pragma once

#include "moe/loss/balance.hpp"

MOE_NAMESPACE_BEGIN

/// Which device holds which expert: [E], values in [0, count).
struct DeviceMap {
  std::span<const std::int32_t> device = {};
  Index count = 0;  ///< D, devices

  Index of(Index e) const { return device[static_cast<std::size_t>(e)]; }

  void check(std::string_view function, Index experts) const {
    detail::check_positive(function, "the number of devices", count);
    detail::check_size(function, "the device map", std::ssize(device), "values",
                       "the number of experts", experts);
    for (const std::int32_t d : device) {
      if (d < 0 || d >= count) {
        detail::fail(function, "a device is ", d, ", expected 0 to ", count - 1);
      }
    }
  }
};

/// coefficient * sum_d f'_d P'_d with f'_d = mean over the experts e of device d of
/// f_e = E * (choices of e) / (all choices), and P'_d = sum over them of P_e = mean score of e.
/// Balances computation between devices. Balanced value: coefficient * 1 when every device holds an
/// expert. DeepSeek-V2 (arXiv 2405.04434, eq. 26-28).
struct DeviceBalanceLoss {
  double coefficient = 0.05;
  DeviceMap devices = {};
  ScoresAs scores = ScoresAs::given;

  /// Throws std::invalid_argument when the device map does not fit.
  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    devices.check("moe::DeviceBalanceLoss", in.num_experts());
    const Index experts = in.num_experts();
    const std::span<double> all = in.zeros(experts + 2 * devices.count);
    double* slope = all.data();
    double* f = slope + experts;  // [D], then the number of experts of each device
    double* held = f + devices.count;
    const double total = detail::count_choices(in, {}, slope);
    if (total == 0) return 0;
    for (Index e = 0; e < experts; ++e) {
      f[devices.of(e)] += slope[e];
      held[devices.of(e)] += 1;
    }
    const double scale = coefficient * static_cast<double>(experts) /
                         (total * static_cast<double>(in.real_tokens()));
    for (Index e = 0; e < experts; ++e) {
      slope[e] = scale * f[devices.of(e)] / held[devices.of(e)];
    }
    return detail::add_scores(in, slope, scores, gradient);
  }
};

MOE_NAMESPACE_END
