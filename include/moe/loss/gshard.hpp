// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// GShard load-balancing loss: coefficient * mean_g E^2 mean_e f_ge P_ge over groups g of tokens.
#pragma once

#include "moe/loss/balance.hpp"

MOE_NAMESPACE_BEGIN

/// f_ge = share of the group's tokens whose first choice (column 0 of routing.expert) is e, before
/// capacity; P_ge = mean score of e in the group. The loss is the mean over groups that hold a real
/// token. Balanced value: coefficient * 1. Lepikhin et al. 2020 (GShard), GLaM, ST-MoE, mesh.
struct GShardLoss {
  double coefficient = 1e-2;
  Index group_size = 0;  ///< consecutive tokens per group; 0: all tokens are one group

  /// Throws std::invalid_argument on a negative group size.
  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    if (group_size < 0) {
      detail::fail("moe::GShardLoss", "group_size is ", group_size, ", expected at least 0");
    }
    const Index size = group_size > 0 ? group_size : std::max<Index>(1, in.tokens());
    const BalanceForm form{.share = ShareOf::first_choices};
    return detail::group_balance(in, gradient, coefficient, form, (in.tokens() + size - 1) / size,
                                 MeanOver::groups, [size](Index t) { return t / size; });
  }
};

MOE_NAMESPACE_END
