// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Capacity rules against dense one-hot implementations in PyTorch, from logits to their gradient:
// tests/golden/make_router_golden.py.
#include "support/golden.hpp"
#include "moe/gate/top_k.hpp"
#include "moe/plan/slot_weight.hpp"
#include "support/catch.hpp"

namespace moe_test {
namespace {

void check_golden(const std::string& name, Index k, moe::CapacityOptions options) {
  INFO(name);
  const Golden golden = read_golden("capacity_" + name + ".txt");
  const Matrix<double>& logits = golden.at("logits");
  const Matrix<double>& value = golden.at("value");
  const Index t_count = logits.rows(), e_count = logits.cols();
  options.factor = golden.at("capacity")(0, 0);
  options.formula = moe::CapacityFormula::fixed;

  const moe::TopKGate gate({.num_experts = e_count, .top_k = k}, {.renormalize = false});
  moe::TopKGate::State state;
  moe::Routing<double> routing;
  routing.resize(t_count, k, e_count);
  gate.forward<double>(logits, routing, {}, state);
  moe::Plan plan;
  make_plan(routing, options, {}, plan);
  std::vector<double> weight(static_cast<std::size_t>(plan.count())), dslot(weight.size());
  gather_slot_weights<double>(routing, plan, weight);

  double loss = 0;
  for (Index a = 0; a < t_count * k; ++a) {
    const std::int32_t e = plan.expert_of(a);
    CHECK(e == golden.at("expert").data()[a]);
    if (e < 0) continue;
    const auto s = static_cast<std::size_t>(plan.slot[static_cast<std::size_t>(a)]);
    CHECK(weight[s] == Approx(golden.at("weight").data()[a]).epsilon(1e-13));
    dslot[s] = value(a / k, e);
    loss += weight[s] * dslot[s];
  }
  CHECK(loss == Approx(golden.at("loss")(0, 0)).epsilon(1e-12));

  Matrix<double> dweight = Matrix<double>::Zero(t_count, k);
  Matrix<double> dscores = Matrix<double>::Zero(t_count, e_count), dlogits = dscores;
  scatter_slot_weights<double>(routing, plan, dslot, dweight, dscores);
  gate.backward<double>(routing, dweight, dscores, dlogits, state);
  CHECK(distance(dlogits, golden.at("dlogits")) < 1e-13);
}

}  // namespace

TEST_CASE("capacity rules agree with PyTorch, from logits to their gradient", "[plan][golden]") {
  using moe::DropOrder;
  check_golden("position", 2, {});
  check_golden("gshard", 2, {.order = DropOrder::choice, .renormalize_kept = true});
  check_golden("batch_priority", 2, {.order = DropOrder::batch_priority, .renormalize_kept = true});
  check_golden("score", 2, {.order = DropOrder::score});
  check_golden("ntlb", 1, {.overflow = moe::Overflow::next_best});
}

}  // namespace moe_test
