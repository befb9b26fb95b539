// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What every gate must stand: odd sizes, NaN, padding, floods, no tokens, any split of the batch, no
// allocation in the steady state.
#include "gate/every_gate.hpp"
#include "support/allocations.hpp"

namespace moe_test {
namespace {

template <class S>
bool same_rows(const moe::Routing<S>& a, Index t, const moe::Routing<S>& b, Index u) {
  return same_bits(a.weight.eigen().row(t), b.weight.eigen().row(u)) &&
         same_bits(a.scores.eigen().row(t), b.scores.eigen().row(u)) &&
         same_bits(a.expert.eigen().row(t), b.expert.eigen().row(u));
}

}  // namespace

TEMPLATE_TEST_CASE("every gate is a gate at any size", "[gate][every_gate]", MOE_TEST_GATES) {
  static_assert(moe::Gate<TestType, double>);
  for (const Index e : {2, 3, 65, 512}) {
    for (const Index k : {Index{1}, Index{2}, e}) {
      const auto gate = make_gate<TestType>(k, e);
      for (const Index t : {0, 1, 9}) {
        for (const bool training : {false, true}) {
          const auto out =
              route(gate, random_matrix<double>(t, e, 7), {.seed = 1, .training = training});
          check_well_formed(out.routing);
          CHECK(out.routing.weight.eigen().allFinite());
          CHECK(out.routing.scores.eigen().allFinite());
        }
      }
    }
  }
}

TEMPLATE_TEST_CASE("no gate's gradient is NaN when every token floods one expert",
                   "[gate][every_gate]", MOE_TEST_GATES) {
  for (const double flood : {30.0, 500.0, 1e6}) {
    auto gate = make_gate<TestType>(2, 6);
    Matrix<double> logits = random_matrix<double>(10, 6, 7);
    logits.col(4).array() += flood;
    auto out = route(gate, logits, {.training = true});
    check_well_formed(out.routing);
    CHECK(out.routing.weight.eigen().allFinite());
    CHECK(gate_gradient(gate, out, random_matrix<double>(10, gate.top_k(), 1),
                        random_matrix<double>(10, 6, 2))
              .allFinite());
    logits.setConstant(-flood);  // and when no expert is wanted, all equally
    route(gate, logits, {.training = true}, out);
    check_well_formed(out.routing);
    CHECK(out.routing.weight.eigen().allFinite());
    CHECK(gate_gradient(gate, out, random_matrix<double>(10, gate.top_k(), 1),
                        random_matrix<double>(10, 6, 2))
              .allFinite());
  }
}

TEMPLATE_TEST_CASE("a NaN token changes no other token", "[gate][every_gate]", MOE_TEST_GATES) {
  auto gate = make_gate<TestType>(2, 5);
  Matrix<double> logits = random_matrix<double>(9, 5, 7);
  logits.row(4).setConstant(kNaN);
  const Batch batch{.seed = 2, .training = true};
  auto out = route(gate, logits, batch);
  check_well_formed(out.routing);
  Matrix<double> gradient = gate_gradient(gate, out, random_matrix<double>(9, gate.top_k(), 1),
                                          random_matrix<double>(9, 5, 2));
  for (Index t = 0; t < 9; ++t) {
    if (t == 4) continue;
    CHECK(out.routing.weight.eigen().row(t).allFinite());
    CHECK(out.routing.scores.eigen().row(t).allFinite());
    CHECK(gradient.row(t).allFinite());
  }
  if (kCouplesTokens<TestType>) return;
  Matrix<double> other = logits;
  other.row(4).setConstant(1);
  const auto clean = route(gate, other, batch);
  for (Index t = 0; t < 9; ++t) {
    if (t != 4) CHECK(same_rows(out.routing, t, clean.routing, t));
  }
}

TEMPLATE_TEST_CASE("what stands in padding matters to nobody", "[gate][every_gate]",
                   MOE_TEST_GATES) {
  auto gate = make_gate<TestType>(2, 5);
  const std::vector<std::uint8_t> mask = {1, 0, 1, 1, 0, 0, 1, 1, 0};
  const Batch batch{.mask = mask, .seed = 3, .training = true};
  const Matrix<double> clean = random_matrix<double>(9, 5, 7);
  auto expected = route(gate, clean, batch);
  for (const double rubbish : {0.0, 1e4, -kInfinity, kInfinity, kNaN}) {
    Matrix<double> logits = clean;
    for (const Index t : {1, 4, 5, 8}) logits.row(t).setConstant(rubbish);
    logits(4, 2) = 3;
    auto out = route(gate, logits, batch);
    for (Index t = 0; t < 9; ++t) CHECK(same_rows(out.routing, t, expected.routing, t));
    const Matrix<double> gradient =
        gate_gradient(gate, out, random_matrix<double>(9, gate.top_k(), 1),
                      Matrix<double>(Matrix<double>::Zero(9, 5)));
    CHECK(gradient.allFinite());
    for (const Index t : {1, 4, 5, 8}) CHECK(gradient.row(t).norm() < 1e-15);
  }
  const std::vector<std::uint8_t> nobody(9, 0);
  const auto out = route(gate, clean, {.mask = nobody, .training = true});
  for (Index t = 0; t < 9; ++t) CHECK(experts_of(out.routing, t).empty());
}

TEMPLATE_TEST_CASE("a token's choice and weights are the same in any split of the batch",
                   "[gate][every_gate]", MOE_TEST_GATES) {
  const Matrix<double> logits = random_matrix<double>(30, 6, 7);
  auto gate = make_gate<TestType>(2, 6);
  for (const bool training : {false, true}) {
    if (std::is_same_v<TestType, moe::ExpertChoiceGate>) continue;
    if (training && kCouplesTokens<TestType>) continue;
    Batch batch{.seed = 3, .step = 5, .first_token = 1000, .training = training};
    const auto whole = route(gate, logits, batch);
    for (const Index size : {1, 4, 17}) {
      for (Index first = 0; first < 30; first += size) {
        const Index count = std::min<Index>(size, 30 - first);
        batch.first_token = 1000 + first;
        const auto part = route(gate, Matrix<double>(logits.middleRows(first, count)), batch);
        for (Index t = 0; t < count; ++t) {
          CHECK(same_rows(part.routing, t, whole.routing, first + t));
        }
      }
    }
  }
}

TEMPLATE_TEST_CASE("the same seed gives the same routing, and rubbish in the state does not matter",
                   "[gate][every_gate]", MOE_TEST_GATES) {
  const auto gate = make_gate<TestType>(2, 6);
  const Matrix<double> logits = random_matrix<double>(30, 6, 7);
  const Batch batch{.seed = 11, .step = 2, .training = true};
  const auto expected = route(gate, logits, batch);
  Routed<TestType, double> used;
  route(gate, random_matrix<double>(64, 6, 8), {.seed = 5, .training = true}, used);
  route(gate, logits, batch, used);
  for (Index t = 0; t < 30; ++t) CHECK(same_rows(used.routing, t, expected.routing, t));
}

#if MOE_TEST_COUNTS_ALLOCATIONS
TEMPLATE_TEST_CASE("no gate allocates from the second call on", "[gate][every_gate]",
                   MOE_TEST_GATES) {
  auto gate = make_gate<TestType>(2, 6);
  const Matrix<double> logits = random_matrix<double>(30, 6, 7);
  const Matrix<double> dweight = random_matrix<double>(30, gate.top_k(), 1);
  const Matrix<double> dscores = random_matrix<double>(30, 6, 2);
  Matrix<double> dlogits = dscores;
  std::vector<std::uint8_t> mask(30, 0);
  mask[3] = mask[4] = 1;
  Routed<TestType, double> out;
  const auto call = [&](Index tokens) {
    const Batch batch{.mask = std::span(mask).first(static_cast<std::size_t>(tokens)),
                      .training = true};
    const auto top = [&](const Matrix<double>& m) {
      return MatrixView<const double>(m).middle_rows(0, tokens);
    };
    out.routing.resize(tokens, gate.top_k(), 6);
    gate.forward(top(logits), out.routing, batch, out.state);
    gate.backward(std::as_const(out.routing), top(dweight), top(dscores),
                  MatrixView<double>(dlogits).middle_rows(0, tokens), out.state);
    if constexpr (requires { gate.observe(top(logits), batch); }) {
      gate.observe(top(logits), batch);
      gate.update();
    }
  };
  call(30);  // mostly padding: what the next call has more of must be thought of
  std::fill(mask.begin(), mask.end(), std::uint8_t{1});
  CHECK(allocations_in([&] { call(30); }) == 0);
  CHECK(allocations_in([&] { call(7); }) == 0);
}
#endif

TEMPLATE_TEST_CASE("every gate trains a layer in float", "[gate][every_gate]", moe::TopKGate,
                   moe::GShardGate, moe::SparseMixerGate, moe::ExpertChoiceGate, moe::TopPGate,
                   moe::MinPGate, moe::TopAnyGate<float>, moe::ReluGate, moe::SinkhornGate,
                   moe::AuctionGate, moe::QuantileGate, moe::DenseGate) {
  using Layer = moe::MoeLayer<float, moe::LinearRouter<float>, TestType, moe::GatedFfn<float>>;
  const Index k = std::is_same_v<TestType, moe::AuctionGate> ? 1 : 2;
  Layer layer({.model_dim = 6, .hidden_dim = 5, .num_experts = 4, .top_k = k}, 3);
  const Matrix<float> x = random_matrix<float>(12, 6, 1), dy = random_matrix<float>(12, 6, 2);
  const std::vector<std::uint8_t> mask = {1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1};
  Matrix<float> y(12, 6), dx(12, 6);
  typename Layer::Tape tape;
  layer.forward(x, y, tape, {.mask = mask, .seed = 4});
  CHECK(std::isfinite(tape.add_loss(moe::SwitchLoss{0.1})));
  layer.backward(dy, dx, tape);
  CHECK(y.allFinite());
  CHECK(dx.allFinite());
  CHECK(dx.norm() > 0);
  CHECK(y.row(3).isZero(0));
  CHECK(dx.row(8).isZero(0));
  layer.visit_parameters([&](std::string_view name, auto& p) {
    INFO(name);
    CHECK(p.grad.allFinite());
    if (name == "router.weight") CHECK(p.grad.norm() > 0);
  });
}

}  // namespace moe_test
