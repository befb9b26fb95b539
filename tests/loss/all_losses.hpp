// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every loss there is, for the tests of what all of them promise.
#pragma once

#include "loss/losses.hpp"
#include "moe/loss/communication_balance.hpp"
#include "moe/loss/device_balance.hpp"
#include "moe/loss/dyn_moe.hpp"
#include "moe/loss/expert_selection.hpp"
#include "moe/loss/global_balance.hpp"
#include "moe/loss/global_entropy.hpp"
#include "moe/loss/gshard.hpp"
#include "moe/loss/importance.hpp"
#include "moe/loss/kl_uniform.hpp"
#include "moe/loss/load.hpp"
#include "moe/loss/local_entropy.hpp"
#include "moe/loss/relu_l1.hpp"
#include "moe/loss/router_z.hpp"
#include "moe/loss/second_place.hpp"
#include "moe/loss/sequence_balance.hpp"
#include "moe/loss/supervised_routing.hpp"
#include "moe/loss/switch.hpp"
#include "moe/loss/weighted_balance.hpp"

namespace moe_test {

/// f(name, loss) for every loss and each form that takes another path, for `tokens` and `experts`.
template <class F>
void for_all_losses(Index tokens, Index experts, F&& f) {
  using namespace moe;  // NOLINT(google-build-using-namespace): names all of it
  f("Switch", SwitchLoss{0.7});
  f("Switch by tokens", SwitchLoss{0.7, {.share = ShareOf::tokens}});
  f("Switch by first choices", SwitchLoss{0.7, {.share = ShareOf::first_choices}});
  f("Switch by scores", SwitchLoss{0.7, {.chosen = ChosenBy::scores}});
  f("Switch normalised", SwitchLoss{0.7, {.scores = ScoresAs::normalized}});
  f("GShard", GShardLoss{0.7, 3});
  std::vector<Index> lengths{tokens / 2, tokens - tokens / 2};
  std::vector<std::int32_t> ids;
  for (Index t = 0; t < tokens; ++t) ids.push_back(static_cast<std::int32_t>(t % 2));
  f("sequence by lengths", SequenceBalanceLoss{.coefficient = 0.7, .lengths = lengths});
  f("sequence by ids",
    SequenceBalanceLoss{.coefficient = 0.7, .ids = ids, .mean = MeanOver::tokens});
  BalanceCounts counts;
  counts.tokens = 5 * experts;
  for (Index e = 0; e < experts; ++e) counts.choices.push_back(e + 3);
  f("global", GlobalBalanceLoss{0.7, &counts});
  std::vector<std::int32_t> device;
  std::vector<double> eta;
  for (Index e = 0; e < experts; ++e) {
    device.push_back(static_cast<std::int32_t>(e % 3));
    eta.push_back(e % 2 == 0 ? 1 : 0.5);
  }
  f("device", DeviceBalanceLoss{0.7, {device, 3}});
  f("communication", CommunicationBalanceLoss{0.7, {device, 3}, 2});
  f("importance of weights", ImportanceLoss{0.7});
  f("importance of scores", ImportanceLoss{0.7, ImportanceLoss::Of::scores});
  f("load", LoadLoss{0.7});
  f("load by V-MoE", LoadLoss{0.7, LoadLoss::Estimate::kth_of_all});
  f("load by count", LoadLoss{0.7, LoadLoss::Estimate::count});
  f("DynMoE", DynMoeLoss{0.7, 1, 0.5});
  f("KL", KlUniformLoss{0.7});
  f("global entropy", GlobalEntropyLoss{0.7});
  f("local entropy", LocalEntropyLoss{0.7});
  f("router z", RouterZLoss{0.7});
  f("second place", SecondPlaceLoss{0.7});
  f("ReLU L1", ReluL1Loss{0.7, 2});
  f("weighted", WeightedBalanceLoss{0.7, eta});
  f("expert selection", ExpertSelectionLoss{0.7});
  Matrix<std::int32_t> labels(tokens, 1);
  for (Index t = 0; t < tokens; ++t)
    labels(t, 0) = static_cast<std::int32_t>(t % (experts + 1)) - 1;
  f("supervised", SupervisedRoutingLoss{0.7, labels});
}

}  // namespace moe_test
