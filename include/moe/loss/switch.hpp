// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Switch load-balancing loss: coefficient * E * sum_e f_e P_e.
#pragma once

#include "moe/loss/balance.hpp"

MOE_NAMESPACE_BEGIN

/// f_e = share of the choices that name expert e, before capacity, as `form` counts them; P_e =
/// mean over tokens of the score of e. Padding counts in neither, f carries no gradient. Per layer:
/// to pool layers as Hugging Face does, see BalanceCounts. Balanced value: coefficient * 1 (with
/// ShareOf::tokens * K). Fedus et al. 2021 (Switch, K = 1); the default for K > 1 is the form
/// divided by K of Megatron and OLMo.
struct SwitchLoss {
  double coefficient = 1e-2;
  BalanceForm form = {};

  template <class S>
  double operator()(const LossInput<S>& in, LossGradient<S>& gradient) const {
    return detail::group_balance(in, gradient, coefficient, form, 1, MeanOver::groups,
                                 [](Index) { return Index{0}; });
  }
};

MOE_NAMESPACE_END
