// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The balance losses that the published models were trained with.
#pragma once

#include "moe/loss/bias_update.hpp"
#include "moe/loss/communication_balance.hpp"
#include "moe/loss/device_balance.hpp"
#include "moe/loss/importance.hpp"
#include "moe/loss/load.hpp"
#include "moe/loss/router_z.hpp"
#include "moe/loss/sequence_balance.hpp"
#include "moe/loss/switch.hpp"

MOE_NAMESPACE_BEGIN
namespace presets {

/// A coefficient of 0: not used. Those in use go to tape.add_loss; `sequence`, `device` and
/// `communication` want their batch's sequences or devices first, and `bias` is called on the
/// gate's selection bias after the step.
struct Losses {
  SwitchLoss balance{.coefficient = 0};
  RouterZLoss z{.coefficient = 0};
  ImportanceLoss importance{.coefficient = 0};
  LoadLoss load{.coefficient = 0};
  SequenceBalanceLoss sequence{.coefficient = 0};
  DeviceBalanceLoss device{.coefficient = 0};
  CommunicationBalanceLoss communication{.coefficient = 0};
  BiasUpdate bias{.rate = 0};
};

/// Shazeer et al. 2017 (w_importance and w_load of its language models): 0.1 each.
inline Losses sparsely_gated_losses() {
  return {.importance = {.coefficient = 0.1}, .load = {.coefficient = 0.1}};
}

/// V-MoE: importance of the scores and load, 0.005 each (vmoe_paper/pretrain_imagenet21k.py).
inline Losses vmoe_losses() {
  return {.importance = {.coefficient = 5e-3, .of = ImportanceLoss::Of::scores},
          .load = {.coefficient = 5e-3, .estimate = LoadLoss::Estimate::kth_of_all}};
}

/// GShard, Switch (section 2.2), GLaM and NLLB (fairseq's moe-gate-loss-wt; HF's NllbMoeConfig has
/// 0.001): 0.01 on first choices.
inline Losses switch_losses() {
  return {.balance = {.coefficient = 1e-2, .form = {.share = ShareOf::first_choices}}};
}

/// ST-MoE: Switch's, and a z-loss of 1e-3.
inline Losses st_moe_losses() {
  Losses losses = switch_losses();
  losses.z.coefficient = 1e-3;
  return losses;
}

/// router_aux_loss_coef of a Hugging Face config, in HF's form, which is not divided by K. HF pools
/// all layers: see BalanceCounts for that; here it is per layer. Released configs: Mixtral 0.02,
/// Qwen2-MoE, Qwen3-MoE and Jamba 0.001, DBRX 0.05, gpt-oss 0.9.
inline Losses hf_losses(double router_aux_loss_coef) {
  return {.balance = {.coefficient = router_aux_loss_coef, .form = {.share = ShareOf::tokens}}};
}

/// OLMoE (router_aux_loss_coef of the checkpoint): balance 0.01, divided by K as in its training
/// code (MegaBlocks), and a z-loss.
inline Losses olmoe_losses() {
  return {.balance = {.coefficient = 1e-2}, .z = {.coefficient = 1e-3}};
}

/// DeepSeek-V2 (its section 3.1.2: 0.003, 0.05, 0.02): within sequences, between devices, and of
/// what devices receive.
inline Losses deepseek_v2_losses() {
  return {.sequence = {.coefficient = 3e-3},
          .device = {.coefficient = 0.05},
          .communication = {.coefficient = 0.02}};
}

/// DeepSeek-V3 (its section 4.2: gamma 0.001, alpha 0.0001): the bias update, and a little balance
/// within sequences.
inline Losses deepseek_v3_losses() {
  return {.sequence = {.coefficient = 1e-4,
                       .form = {.chosen = ChosenBy::scores, .scores = ScoresAs::normalized}},
          .bias = {.rate = 1e-3}};
}

}  // namespace presets
MOE_NAMESPACE_END
