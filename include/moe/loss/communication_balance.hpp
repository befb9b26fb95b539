// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// DeepSeek-V2's communication balance loss: coefficient * sum_d f''_d P''_d over devices d.
#pragma once

#include "moe/loss/device_balance.hpp"

MOE_NAMESPACE_BEGIN

/// coefficient * sum_d f''_d P''_d with f''_d = D / (M T) * (tokens that go to device d), each
/// token once per device, and P''_d = sum over the experts of d of P_e. Balances what devices
/// receive, where a token goes to at most M of them. Balanced value: coefficient * 1 when each
/// token goes to exactly M. DeepSeek-V2 (arXiv 2405.04434, eq. 29-31).
struct CommunicationBalanceLoss {
  double coefficient = 0.02;
  DeviceMap devices = {};
  Index max_devices = 3;  ///< M, of the device-limited routing
  ScoresAs scores = ScoresAs::given;

  /// Throws std::invalid_argument when the device map does not fit or M is below 1.
  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    constexpr auto* kWhere = "moe::CommunicationBalanceLoss";
    devices.check(kWhere, in.num_experts());
    detail::check_positive(kWhere, "max_devices", max_devices);
    const auto tokens = static_cast<double>(in.real_tokens());
    if (tokens == 0) return 0;
    const std::span<double> all = in.zeros(in.num_experts() + 2 * devices.count);
    double* slope = all.data();
    double* sent = slope + in.num_experts();  // [D], then the last token (+ 1) sent to each device
    double* last = sent + devices.count;
    in.for_real_tokens([&](Index t) {
      detail::for_choices(in, t, {}, [&](Index e) {
        const Index d = devices.of(e);
        const auto mark = static_cast<double>(t + 1);
        sent[d] += last[d] == mark ? 0 : 1;
        last[d] = mark;
      });
    });
    const double scale = coefficient * static_cast<double>(devices.count) /
                         (static_cast<double>(max_devices) * tokens * tokens);
    for (Index e = 0; e < in.num_experts(); ++e) slope[e] = scale * sent[devices.of(e)];
    return detail::add_scores(in, slope, scores, gradient);
  }
};

MOE_NAMESPACE_END
