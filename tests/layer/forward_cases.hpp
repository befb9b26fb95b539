// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// One random case of a forward, held against the oracle stage by stage.
#pragma once

#include "moe/loss/router_z.hpp"
#include "moe/loss/switch.hpp"
#include "support/catch.hpp"
#include "support/layers.hpp"

namespace moe_test {

/// Number of assignments whose expert, weight or fate is not the oracle's.
template <class S>
Index routing_differences(const moe::Routing<S>& routing, const moe::Plan& plan,
                          const naive::Result& expected, double allowed) {
  Index wrong = 0;
  for (Index t = 0; t < routing.tokens(); ++t) {
    const auto row = static_cast<std::size_t>(t);
    for (Index j = 0; j < routing.top_k(); ++j) {
      const auto a = static_cast<std::size_t>(t * routing.top_k() + j);
      const auto at = static_cast<std::size_t>(j);
      if (expected.chosen[row].empty()) {  // padding
        wrong += routing.expert(t, j) != moe::kNoExpert || routing.weight(t, j) != 0 ||
                 plan.outcome[a] != moe::Outcome::none;
        continue;
      }
      // Where all experts are taken two may be as good as equal, and their order open.
      std::size_t place = 0;
      while (place < expected.chosen[row].size() &&
             routing.expert(t, j) != static_cast<std::int32_t>(expected.chosen[row][place])) {
        ++place;
      }
      if (place == expected.chosen[row].size()) {
        ++wrong;
        continue;
      }
      const auto outcome = expected.kept[row][place] ? moe::Outcome::kept : moe::Outcome::dropped;
      const double off =
          std::abs(static_cast<double>(routing.weight(t, j)) - expected.weight[row][place]);
      wrong += plan.outcome[a] != outcome || !(off <= allowed) ||
               std::abs(expected.weight[row][place] - expected.weight[row][at]) > allowed;
    }
  }
  return wrong;
}

template <class S, class ExpertType>
void check_forward_case(const Case& c) {
  INFO(c);
  using Layer = LayerOf<S, ExpertType>;
  const Layer layer = make_layer<Layer>(c);
  const Matrix<S> x = decided_input(layer, c, 1e-4);
  const std::vector<std::uint8_t> mask = random_mask(c);
  std::vector<bool> padding;
  for (const std::uint8_t real : mask) padding.push_back(real == 0);
  const naive::Result expected = naive::forward(to_naive_layer(layer), to_table(x), padding);
  const Matrix<double> expected_y = to_matrix(expected.y, c.d);
  const double allowed = tolerance<S>(c.d + c.h + c.k + c.e);

  // x and y as blocks of bigger matrices, by turns with plain ones.
  const Index margin = static_cast<Index>(c.seed % 4);
  Framed<S> framed_x(c.t, c.d, margin), framed_y(c.t, c.d, margin);
  framed_x.inner() = x;
  framed_y.inner().setConstant(S(123));
  typename Layer::Workspace workspace;
  layer.forward(framed_x.view(), framed_y.view(), workspace, {.mask = mask});

  CHECK(framed_y.frame_is_whole());
  CHECK(distance(framed_y.inner(), expected_y) <= allowed);
  CHECK(routing_differences(workspace.routing, workspace.plan, expected, allowed) == 0);

  // The training forward is the same function, bit for bit.
  Matrix<S> y = Matrix<S>::Constant(c.t, c.d, S(321));
  typename Layer::Tape tape;
  layer.forward(x, y, tape, {.mask = mask});
  CHECK(same_bits(y, framed_y.inner()));
  const auto switch_value = static_cast<double>(tape.add_loss(moe::SwitchLoss{1}));
  const auto z_value = static_cast<double>(tape.add_loss(moe::RouterZLoss{1}));
  CHECK(switch_value ==
        Approx(naive::switch_loss(to_naive_layer(layer), expected)).epsilon(allowed));
  CHECK(z_value == Approx(naive::router_z_loss(expected)).epsilon(allowed * 4).margin(allowed));
}

}  // namespace moe_test
