// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What every router must stand: any size, ties, NaN, padding, no allocations, float and double.
#include "router/every_router.hpp"

#include <map>

#include "support/allocations.hpp"

namespace moe_test {

TEMPLATE_TEST_CASE("every router trains in a layer of any size", "[router]", EVERY_ROUTER) {
  using Router = typename TestType::template Router<float>;
  using Layer = moe::MoeLayer<float, Router>;
  struct Sizes {
    Index t, d, e, k;
  };
  for (const Sizes n :
       {Sizes{0, 3, 4, 2}, {1, 1, 1, 1}, {5, 3, 4, 4}, {9, 7, 65, 1}, {9, 5, 512, 3}}) {
    INFO("T " << n.t << " D " << n.d << " E " << n.e << " K " << n.k);
    Layer layer({.model_dim = n.d,
                 .hidden_dim = 3,
                 .num_experts = n.e,
                 .top_k = n.k,
                 .router = TestType::template options<float>()});
    const Matrix<float> x = random_matrix<float>(n.t, n.d, 1);
    const std::vector<std::int64_t> token_ids = ids(n.t);
    Matrix<float> y(n.t, n.d), dx(n.t, n.d);
    typename Layer::Tape tape;
    layer.forward(x, y, tape, {.token_ids = token_ids, .seed = 3});
    const double loss = tape.add_loss(moe::SwitchLoss{0.1}) + tape.add_loss(moe::RouterZLoss{0.1});
    CHECK(std::isfinite(loss));
    layer.backward(y, dx, tape);
    CHECK(y.allFinite());
    CHECK(dx.allFinite());
    CHECK(tape.plan.count() == n.t * n.k);
    layer.visit_parameters([](std::string_view, auto& p) { CHECK(p.grad.allFinite()); });
  }
}

TEMPLATE_TEST_CASE("every router meets ties with the lowest experts", "[router]", EVERY_ROUTER) {
  // All parameters zero and no noise: all logits are alike, but for a hash table.
  using Router = typename TestType::template Router<double>;
  moe::MoeLayer<double, Router> layer({.model_dim = 5,
                                       .hidden_dim = 3,
                                       .num_experts = 65,
                                       .top_k = 3,
                                       .router = TestType::template options<double>()});
  layer.router().visit_parameters([](std::string_view, auto& p) { p.value.setZero(); });
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  const std::vector<std::int64_t> token_ids = ids(6);
  Matrix<double> y(6, 5);
  typename decltype(layer)::Workspace ws;
  layer.forward(x, y, ws, {.token_ids = token_ids});
  for (Index t = 0; t < 6; ++t) {
    for (Index j = 0; j < 3; ++j) {
      CHECK(ws.routing.weight(t, j) == Approx(1.0 / 3));
      if (j > 0) CHECK(ws.routing.expert(t, j) > ws.routing.expert(t, j - 1));
      if (!TestType::kHash) CHECK(ws.routing.expert(t, j) == j);
    }
  }
}

TEMPLATE_TEST_CASE("every router ignores padding, whatever stands in it", "[router]",
                   EVERY_ROUTER) {
  using Layer = moe::MoeLayer<float, typename TestType::template Router<float>>;
  const std::vector<std::uint8_t> mask{1, 0, 1, 1, 0, 1};
  std::vector<std::int64_t> token_ids = ids(6);
  Matrix<float> results[2][3];
  for (const std::size_t round : {0u, 1u}) {
    Layer layer({.model_dim = 5,
                 .hidden_dim = 3,
                 .num_experts = 4,
                 .top_k = 2,
                 .router = TestType::template options<float>()},
                4);
    Matrix<float> x = random_matrix<float>(6, 5, 1), y(6, 5), dx(6, 5);
    if (round == 1) {
      for (const Index t : {1, 4}) {
        x.row(t).setConstant(std::numeric_limits<float>::quiet_NaN());
        token_ids[static_cast<std::size_t>(t)] = -99;
      }
    }
    typename Layer::Tape tape;
    const moe::Batch batch{.mask = mask, .token_ids = token_ids, .seed = 5};
    layer.forward(x, y, tape, batch);
    const double loss = tape.add_loss(moe::SwitchLoss{0.1}) + tape.add_loss(moe::RouterZLoss{0.1});
    CHECK(std::isfinite(loss));
    layer.backward(random_matrix<float>(6, 5, 2), dx, tape);
    CHECK(y.row(1).isZero(0));
    CHECK(dx.row(4).isZero(0));
    std::vector<float> gradients;
    layer.visit_parameters([&](std::string_view, auto& p) {
      gradients.insert(gradients.end(), p.grad.data(), p.grad.data() + p.grad.size());
    });
    results[round][0] = y;
    results[round][1] = dx;
    results[round][2] = Eigen::Map<Matrix<float>>(gradients.data(), 1, std::ssize(gradients));
  }
  for (const std::size_t i : {0u, 1u, 2u}) CHECK(same_bits(results[0][i], results[1][i]));
}

TEMPLATE_TEST_CASE("every router keeps a NaN token to itself", "[router]", EVERY_ROUTER) {
  using Layer = moe::MoeLayer<float, typename TestType::template Router<float>>;
  const Layer layer({.model_dim = 5,
                     .hidden_dim = 3,
                     .num_experts = 4,
                     .top_k = 2,
                     .router = TestType::template options<float>()},
                    4);
  Matrix<float> x = random_matrix<float>(6, 5, 1), before(6, 5), after(6, 5);
  const std::vector<std::int64_t> token_ids = ids(6);
  const moe::Batch batch{.token_ids = token_ids, .seed = 5};
  typename Layer::Tape tape;
  layer.forward(x, before, tape, batch);
  x(3, 2) = std::numeric_limits<float>::quiet_NaN();
  layer.forward(x, after, tape, batch);
  CHECK(same_bits(after.topRows(3), before.topRows(3)));
  CHECK(same_bits(after.bottomRows(2), before.bottomRows(2)));
  CHECK(after.row(3).array().isNaN().all());
}

TEMPLATE_TEST_CASE("every router is alike in float and in double", "[router]", EVERY_ROUTER) {
  const Dims dims{.model_dim = 33, .hidden_dim = 1, .num_experts = 17, .top_k = 2};
  auto narrow = make_router<typename TestType::template Router<float>>(
      dims, TestType::template options<float>());
  auto wide = make_router<typename TestType::template Router<double>>(
      dims, TestType::template options<double>());
  std::map<std::string, Matrix<float>> values;
  narrow.visit_parameters([&](std::string_view n, auto& p) { values[std::string(n)] = p.value; });
  wide.visit_parameters([&](std::string_view n, auto& p) {
    p.value = values.at(std::string(n)).template cast<double>();
  });
  const Matrix<float> x = random_matrix<float>(21, 33, 1);
  const std::vector<std::int64_t> token_ids = ids(21);
  const Batch batch{.token_ids = token_ids, .seed = 4, .training = true};
  const Matrix<float> a = logits_of(narrow, x, batch);
  const Matrix<double> b = logits_of(wide, Matrix<double>(x.cast<double>()), batch);
  Index wrong = 0;
  for (Index i = 0; i < a.size(); ++i) {
    const double u = a.data()[i], v = b.data()[i];
    wrong += u != v && !(std::abs(u - v) <= 3e-5 * std::max(1.0, std::abs(v)));
  }
  CHECK(wrong == 0);
}

TEMPLATE_TEST_CASE("every router gives the same bits on any threads and batch split", "[router]",
                   EVERY_ROUTER) {
  auto router = make_router<typename TestType::template Router<float>>(
      {.model_dim = 33, .hidden_dim = 1, .num_experts = 65, .top_k = 2},
      TestType::template options<float>());
  shake(router);
  const std::vector<std::int64_t> token_ids = ids(101);
  check_any_threads_any_split(
      router, random_matrix<float>(101, 33, 1),
      {.token_ids = token_ids, .seed = 4, .step = 2, .first_token = 9, .training = true});
}

#if MOE_TEST_COUNTS_ALLOCATIONS
TEMPLATE_TEST_CASE("every router allocates nothing from the second call on", "[router]",
                   EVERY_ROUTER) {
  auto router = make_router<typename TestType::template Router<float>>(
      {.model_dim = 33, .hidden_dim = 1, .num_experts = 65, .top_k = 2},
      TestType::template options<float>());
  const Matrix<float> x = random_matrix<float>(21, 33, 1),
                      dlogits = random_matrix<float>(21, 65, 2);
  Matrix<float> logits(21, 65), dx = Matrix<float>::Zero(21, 33);
  const std::vector<std::int64_t> token_ids = ids(21);
  typename decltype(router)::State state;
  const auto call = [&] {
    router.forward(x, logits, {.token_ids = token_ids, .seed = 4, .training = true}, state, {});
    router.backward(x, dlogits, dx, state, {});
  };
  call();
  CHECK(allocations_in(call) == 0);
}
#endif

TEST_CASE("one expert can be flooded through any router", "[router]") {
  using Layer = moe::MoeLayer<float, moe::InputJitter<moe::LearnedNoise<Linear<float>>>>;
  Layer layer({.model_dim = 5,
               .hidden_dim = 3,
               .num_experts = 65,
               .top_k = 1,
               .router = {.base = {.base = {.bias = true}}},
               .capacity = {.factor = 1}});
  layer.router().base.base.bias.value(0, 40) = 50;
  const Matrix<float> x = random_matrix<float>(130, 5, 1);
  Matrix<float> y(130, 5), dx(130, 5);
  Layer::Tape tape;
  layer.forward(x, y, tape, {.seed = 1});
  CHECK(tape.plan.demanded[40] == 130);
  CHECK(tape.plan.load(40) == 2);
  CHECK(tape.plan.dropped() == 128);
  CHECK(std::isfinite(tape.add_loss(moe::SwitchLoss{})));
  layer.backward(y, dx, tape);
  CHECK(dx.allFinite());
}

TEST_CASE("a temperature that anneals reaches the gate of any router", "[router]") {
  using Layer = moe::MoeLayer<double, moe::CosineRouter<double>>;
  Layer layer({.model_dim = 5, .hidden_dim = 3, .num_experts = 4, .top_k = 2});
  const moe::TemperatureAnnealing annealing{.start = 4, .end = 0.5, .steps = 10};
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  Matrix<double> y(6, 5);
  Layer::Workspace ws;
  double last = 0;
  for (const Index step : {0, 5, 10}) {
    layer.gate().set_temperature(annealing.at(step));
    layer.forward(x, y, ws);
    CHECK(ws.routing.weight(0, 0) > last);  // sharper and sharper
    last = ws.routing.weight(0, 0);
  }
}

}  // namespace moe_test
