// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/loss/device_balance.hpp"

#include <set>

#include "loss/losses.hpp"
#include "moe/loss/communication_balance.hpp"
#include "moe/loss/switch.hpp"

namespace moe_test {
namespace {

/// Experts on 3 devices of unequal size; device 2 may be empty.
std::vector<std::int32_t> devices_for(Index experts) {
  std::vector<std::int32_t> device;
  for (Index e = 0; e < experts; ++e) device.push_back(static_cast<std::int32_t>((e * e) % 5 % 3));
  return device;
}

}  // namespace

TEST_CASE("the device loss is sum over devices of mean f times sum P", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    const auto device = devices_for(c.logits.cols());
    const moe::DeviceBalanceLoss loss{0.3, {device, 3}};
    c.check(loss, [&](const PlainTokens& tokens, double experts) {
      const naive::Row count = choices_of(tokens, experts), p = mean_score(tokens, experts);
      const auto kt = static_cast<double>(tokens.size() * tokens[0].choice.size());
      double sum = 0;
      for (int d = 0; d < 3; ++d) {
        double f = 0, prob = 0, held = 0;
        for (std::size_t e = 0; e < count.size(); ++e) {
          if (device[e] != d) continue;
          f += experts / kt * count[e];
          prob += p[e];
          held += 1;
        }
        if (held > 0) sum += f / held * prob;
      }
      return 0.3 * sum;
    });
  });
}

TEST_CASE("the communication loss counts each token once per device", "[loss]") {
  for_loss_cases([](LossCase<double>& c) {
    const auto device = devices_for(c.logits.cols());
    const moe::CommunicationBalanceLoss loss{0.3, {device, 3}, 2};
    c.check(loss, [&](const PlainTokens& tokens, double experts) {
      const naive::Row p = mean_score(tokens, experts);
      double sum = 0;
      for (int d = 0; d < 3; ++d) {
        double sent = 0, prob = 0;
        for (const PlainToken& token : tokens) {
          std::set<std::int32_t> to;
          for (const std::size_t e : token.choice) to.insert(device[e]);
          sent += static_cast<double>(to.count(d));
        }
        for (std::size_t e = 0; e < p.size(); ++e) prob += device[e] == d ? p[e] : 0;
        sum += 3 / (2 * static_cast<double>(tokens.size())) * sent * prob;
      }
      return 0.3 * sum;
    });
  });
}

TEST_CASE("device losses are their coefficients at balance", "[loss]") {
  LossCase<double> c(Matrix<double>::Zero(8, 8), 2);
  for (Index t = 0; t < 8; ++t) {  // two devices each, every expert twice
    c.routing.expert(t, 0) = static_cast<std::int32_t>(t);
    c.routing.expert(t, 1) = static_cast<std::int32_t>((t + 2) % 8);
  }
  const std::vector<std::int32_t> device{0, 0, 1, 1, 2, 2, 3, 3};
  CHECK(c.value_of(moe::DeviceBalanceLoss{0.3, {device, 4}}) == Approx(0.3));
  CHECK(c.value_of(moe::CommunicationBalanceLoss{0.3, {device, 4}, 2}) == Approx(0.3));
}

TEST_CASE("one device per expert makes the device loss the Switch loss", "[loss]") {
  LossCase<double> c(random_matrix<double>(6, 4, 1), 2);
  const std::vector<std::int32_t> device{2, 0, 3, 1};
  CHECK(c.value_of(moe::DeviceBalanceLoss{0.3, {device, 4}}) ==
        Approx(c.value_of(moe::SwitchLoss{0.3})));
}

TEST_CASE("device maps that do not fit are refused", "[loss]") {
  LossCase<double> c(random_matrix<double>(3, 4, 1), 2);
  const std::vector<std::int32_t> few{0, 1, 0}, large{0, 1, 2, 0}, good{0, 1, 1, 0};
  const auto device = [&](const std::vector<std::int32_t>& map, Index count) {
    return sentence_of([&] { c.value_of(moe::DeviceBalanceLoss{1, {map, count}}); });
  };
  CHECK(device(few, 2) ==
        "moe::DeviceBalanceLoss: the device map has 3 values, the number of experts is 4");
  CHECK(device(large, 2) == "moe::DeviceBalanceLoss: a device is 2, expected 0 to 1");
  CHECK(device(good, 0) ==
        "moe::DeviceBalanceLoss: the number of devices is 0, expected at least 1");
  CHECK(sentence_of([&] {
          c.value_of(moe::CommunicationBalanceLoss{1, {good, 2}, 0});
        }) == "moe::CommunicationBalanceLoss: max_devices is 0, expected at least 1");
}

}  // namespace moe_test
