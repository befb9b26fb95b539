// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The hierarchical layer against the textbook one and PyTorch (tests/golden/make_shape_golden.py).
#include "moe/layer/hierarchical_layer.hpp"

#include "layer/hierarchical_cases.hpp"
#include "support/golden.hpp"

namespace moe_test {
namespace {

/// Weights from the file, then one step held against it; the losses' sum is returned.
template <class L, class F>
void check_golden(const std::string& file, const LevelSizes& sizes, std::size_t others, double loss,
                  F&& losses) {
  using S = typename L::Scalar;
  INFO(file);
  const double allowed = std::is_same_v<S, double> ? 1e-10 : tolerance<float>(60);
  const Golden golden = read_golden(file);
  auto layer = make_levels<L>(sizes);
  std::size_t parameters = 0;
  layer.visit_parameters([&](std::string_view name, auto& p) {
    const Matrix<double>& value = golden.at(std::string(name));
    REQUIRE(value.rows() == p.value.rows());
    REQUIRE(value.cols() == p.value.cols());
    p.value = value.template cast<S>();
    ++parameters;
  });
  CHECK(golden.size() == 4 + others + 2 * parameters);
  const Matrix<S> x = golden.at("x").template cast<S>(), dy = golden.at("dy").template cast<S>();
  double added = 0;
  const Step<S> step = shape_step(layer, x, dy, {.seed = 7, .step = 3, .first_token = 40},
                                  [&](auto& tape) { return added = losses(tape); });
  CHECK(added == Approx(loss).epsilon(allowed));
  CHECK(distance(step.y, golden.at("y")) <= allowed);
  CHECK(distance(step.dx, golden.at("dx")) <= allowed);
  for (const auto& [name, gradient] : step.gradient) {
    INFO(name);
    CHECK(distance(gradient, golden.at(name + ".grad")) <= allowed);
  }
}

double value_of(const std::string& file, const std::string& name) {
  return read_golden(file).at(name)(0, 0);
}

const auto kImportance = [](auto& tape) {
  return static_cast<double>(tape.add_loss(moe::SwitchLoss{0.3}) +
                             tape.add_group_losses(moe::SwitchLoss{0.2}) +
                             tape.add_loss(moe::HierarchicalImportanceLoss{0.5}));
};

}  // namespace

TEST_CASE("the hierarchical layer is a layer with a router, and so are its groups",
          "[layer][hierarchical]") {
  STATIC_REQUIRE(moe::RoutedLayer<moe::HierarchicalLayer<float>, float>);
  STATIC_REQUIRE(
      moe::RoutedLayer<moe::HierarchicalLayer<float, moe::HierarchicalLayer<float>>, float>);
  STATIC_REQUIRE(moe::Expert<moe::LayerExpert<float, moe::MoeLayer<float>>, float>);
}

TEMPLATE_TEST_CASE("two levels with switch losses and the importance of both agree with PyTorch",
                   "[layer][hierarchical][golden]", float, double) {
  using L = TwoLevels<TestType>;
  const auto loss = [](const std::string& file) {
    return value_of(file, "switch_losses") + value_of(file, "importance_loss");
  };
  check_golden<L>("hierarchical_top2.txt", {6, 5, 3, 2, 4, 2}, 2, loss("hierarchical_top2.txt"),
                  kImportance);
  check_golden<L>("hierarchical_top1.txt", {6, 5, 3, 1, 2, 1}, 2, loss("hierarchical_top1.txt"),
                  kImportance);
}

TEST_CASE("noisy gates on two levels with the load of both agree with PyTorch",
          "[layer][hierarchical][golden]") {
  check_golden<NoisyLevels<double>>("hierarchical_load.txt", {6, 5, 4, 2, 4, 2}, 1,
                                    value_of("hierarchical_load.txt", "load_loss"), [](auto& tape) {
                                      return tape.add_loss(moe::HierarchicalLoadLoss{0.5});
                                    });
}

TEMPLATE_TEST_CASE("the hierarchical layer is the textbook one", "[layer][hierarchical]", float,
                   double) {
  using S = TestType;
  for (const LevelSizes& sizes :
       {LevelSizes{}, LevelSizes{.groups = 1, .k = 1, .experts = 1, .inner_k = 1},
        LevelSizes{20, 33, 7, 3, 5, 1}, LevelSizes{.k = 1, .inner_k = 4}}) {
    const auto layer = make_levels<TwoLevels<S>>(sizes);
    for (const Index tokens : {0, 1, 30}) {
      const Matrix<S> x = random_matrix<S>(tokens, sizes.d, 3);
      Matrix<S> y = Matrix<S>::Constant(tokens, sizes.d, S(9));
      typename TwoLevels<S>::Workspace workspace;
      layer.forward(x, y, workspace);
      CHECK(distance(y, to_matrix(naive_levels(layer, to_table(x)), sizes.d)) <=
            tolerance<S>(sizes.d + sizes.h + 8));
    }
  }
}

TEST_CASE("one group is that group, whatever is inside", "[layer][hierarchical]") {
  auto layer = make_levels<TwoLevels<double>>({.groups = 1, .k = 1});
  const Matrix<double> x = random_matrix<double>(9, 5, 1);
  Matrix<double> y(9, 5), alone(9, 5);
  TwoLevels<double>::Workspace workspace;
  Inner<double>::Workspace inner;
  layer.forward(x, y, workspace);
  layer.group(0).forward(x, alone, inner);
  CHECK(same_bits(y, alone));  // the softmax of one group is 1
}

}  // namespace moe_test
