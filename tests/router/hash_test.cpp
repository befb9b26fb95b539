// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/router/hash.hpp"

#include <set>

#include "router/router_checks.hpp"

namespace moe_test {
namespace {

using Plain = moe::HashRouter<moe::UniformRouter<double>>;
using Weighted = moe::HashRouter<moe::LinearRouter<double>>;
constexpr Dims kDims{.model_dim = 5, .hidden_dim = 3, .num_experts = 4, .top_k = 2};
const std::vector<std::int32_t> kTable{0, 1, 3, 2, 1, 3};  // of 3 ids
const std::vector<std::int64_t> kIds{2, 0, 1, 1, 0, 2};
constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("a hash router keeps the logits of the table's experts alone", "[router][hash]") {
  const auto router = make_router<Weighted>(kDims, {.vocabulary = 3, .table = kTable});
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  const Matrix<double> logits = logits_of(router, x, {.token_ids = kIds});
  for (Index t = 0; t < 6; ++t) {
    for (Index e = 0; e < 4; ++e) {
      const std::int64_t id = kIds[static_cast<std::size_t>(t)];
      const bool named = router.table()(id, 0) == e || router.table()(id, 1) == e;
      const double plain = x.row(t).dot(router.base.weight.value.row(e));
      if (named) CHECK(logits(t, e) == Approx(plain));
      if (!named) CHECK(logits(t, e) == -kInfinity);
    }
  }
}

TEST_CASE("a hash layer routes by id with equal weights", "[router][hash]") {
  for (const Index k : {1, 2, 4}) {
    using Layer = moe::MoeLayer<double, Plain>;
    const Layer layer({.model_dim = 5,
                       .hidden_dim = 3,
                       .num_experts = 4,
                       .top_k = k,
                       .router = {.vocabulary = 9}});
    const std::vector<std::int64_t> ids{8, 0, 3, 8, 8};
    Layer::Workspace ws;
    Matrix<double> x = random_matrix<double>(5, 5, 1), y(5, 5);
    layer.forward(x, y, ws, {.token_ids = ids});
    for (Index t = 0; t < 5; ++t) {
      const std::int32_t* row = layer.router().table().row(ids[static_cast<std::size_t>(t)]);
      const std::set<std::int32_t> expected(row, row + k);
      const std::int32_t* chosen = ws.routing.expert.row(t);
      CHECK(std::set<std::int32_t>(chosen, chosen + k) == expected);
      for (Index j = 0; j < k; ++j) {
        CHECK(ws.routing.weight(t, j) == Approx(1 / static_cast<double>(k)));
      }
    }
  }
}

TEST_CASE("a table with gate weights weighs its experts by their scores alone", "[router][hash]") {
  using Layer = moe::MoeLayer<double, Weighted>;
  Layer layer({.model_dim = 5,
               .hidden_dim = 3,
               .num_experts = 4,
               .top_k = 2,
               .router = {.vocabulary = 3, .table = kTable}});
  shake(layer);
  const Matrix<double> x = random_matrix<double>(6, 5, 1);
  Layer::Workspace ws;
  Matrix<double> y(6, 5);
  layer.forward(x, y, ws, {.token_ids = kIds});
  for (Index t = 0; t < 6; ++t) {
    const auto score = [&](std::int32_t e) {
      return std::exp(x.row(t).dot(layer.router().base.weight.value.row(e)));
    };
    const std::int32_t a = ws.routing.expert(t, 0), b = ws.routing.expert(t, 1);
    CHECK(ws.routing.weight(t, 0) == Approx(score(a) / (score(a) + score(b))));
    CHECK(ws.routing.weight(t, 1) == Approx(score(b) / (score(a) + score(b))));
  }
}

TEST_CASE("hash routers have the gradients of their differences", "[router][hash][gradient]") {
  const Weighted::Options options{.base = {.bias = true}, .vocabulary = 3, .table = kTable};
  auto router = make_router<Weighted>(kDims, options);
  check_router_gradients(router, random_matrix<double>(6, 5, 1), {.token_ids = kIds});

  using Layer = moe::MoeLayer<double, Weighted, moe::TopKGate, moe::GatedFfn<double>>;
  Layer layer({.model_dim = 5, .hidden_dim = 3, .num_experts = 4, .top_k = 2, .router = options});
  shake(layer);
  Matrix<double> x = random_matrix<double>(6, 5, 1), y(6, 5), dx(6, 5);
  const Matrix<double> dy = random_matrix<double>(6, 5, 2);
  Layer::Tape tape;
  const auto loss = [&] {
    layer.forward(x, y, tape, {.token_ids = kIds});
    return y.cwiseProduct(dy).sum();
  };
  moe::zero_grad(layer);
  loss();
  layer.backward(dy, dx, tape);
  check_gradient("x", x, dx, loss);
  layer.visit_parameters([&](std::string_view name, auto& p) {
    const Matrix<double> gradient = p.grad;
    check_gradient(std::string(name), p.value, gradient, loss);
  });
}

TEST_CASE("a random table has distinct experts, depends on the seed, and is about even",
          "[router][hash]") {
  const Dims dims{.model_dim = 1, .hidden_dim = 1, .num_experts = 65, .top_k = 3};
  const auto table_of = [&](std::uint64_t seed, Index vocabulary) {
    const auto router = make_router<Plain>(dims, {.vocabulary = vocabulary, .seed = seed});
    const auto table = router.table();
    return std::vector<std::int32_t>(table.data(), table.data() + table.size());
  };
  const auto table = table_of(1, 6500);
  std::vector<int> count(65);
  for (std::size_t v = 0; v < 6500; ++v) {
    const std::set<std::int32_t> row(table.begin() + static_cast<std::ptrdiff_t>(3 * v),
                                     table.begin() + static_cast<std::ptrdiff_t>(3 * v + 3));
    CHECK(row.size() == 3);
    for (const std::int32_t e : row) ++count.at(static_cast<std::size_t>(e));
  }
  for (const int n : count) CHECK(n == Approx(300).margin(90));  // 5 standard deviations
  CHECK(table == table_of(1, 6500));
  CHECK(table != table_of(2, 6500));
  const auto shorter = table_of(1, 10);  // a bigger vocabulary keeps the rows it had
  CHECK(std::equal(shorter.begin(), shorter.end(), table.begin()));
}

TEST_CASE("ids of padding rows are not looked at", "[router][hash]") {
  const auto router = make_router<Weighted>(kDims, {.vocabulary = 3, .table = kTable});
  const std::vector<std::int64_t> ids{2, -100, 1};
  const std::vector<std::uint8_t> mask{1, 0, 1};
  const Matrix<double> logits =
      logits_of(router, random_matrix<double>(3, 5, 1), {.mask = mask, .token_ids = ids});
  CHECK(logits.row(1).isZero(0));
}

TEST_CASE("a hash router is the same on any thread count and batch split", "[router][hash]") {
  const auto router = make_router<moe::HashRouter<moe::LinearRouter<float>>>(
      {.model_dim = 33, .hidden_dim = 1, .num_experts = 512, .top_k = 5}, {.vocabulary = 50});
  std::vector<std::int64_t> ids;
  for (Index t = 0; t < 101; ++t) ids.push_back((t * t) % 50);
  check_any_threads_any_split(router, random_matrix<float>(101, 33, 1), {.token_ids = ids});
}

TEST_CASE("a hash router says what is wrong with ids and tables", "[router][hash][misuse]") {
  const auto router = make_router<Weighted>(kDims, {.vocabulary = 3, .table = kTable});
  const Matrix<double> x = random_matrix<double>(2, 5, 1);
  const auto with_ids = [&](const std::vector<std::int64_t>& ids) {
    return sentence_of([&] { logits_of(router, x, {.token_ids = ids}); });
  };
  CHECK(with_ids({}) ==
        "moe::HashRouter::forward: batch.token_ids has 0 values, the number of tokens is 2");
  CHECK(with_ids({0, 3}) == "moe::HashRouter::forward: token 1 has id 3, expected 0 to 2");
  CHECK(with_ids({-1, 0}) == "moe::HashRouter::forward: token 0 has id -1, expected 0 to 2");

  const auto with_table = [&](Index vocabulary, const std::vector<std::int32_t>& table) {
    return sentence_of(
        [&] { make_router<Weighted>(kDims, {.vocabulary = vocabulary, .table = table}); });
  };
  CHECK(with_table(0, {}) == "moe::HashRouter: vocabulary is 0, expected at least 1");
  CHECK(with_table(3, {0, 1}) == "moe::HashRouter: table has 2 values, vocabulary * top_k is 6");
  CHECK(with_table(1, {0, 4}) == "moe::HashRouter: table row 0 names expert 4, expected 0 to 3");
  CHECK(with_table(1, {2, 2}) ==
        "moe::HashRouter: table row 0 names expert 2 twice, expected distinct experts");
  CHECK(sentence_of([] {
          make_router<Plain>({.model_dim = 1, .hidden_dim = 1, .num_experts = 2, .top_k = 3},
                             {.vocabulary = 4});
        }) == "moe::HashRouter: top_k is 3, expected at most num_experts = 2");
}

}  // namespace moe_test
