// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// NaN and Inf in one token stay there; padding may hold anything.
#include "moe/moe.hpp"
#include "support/catch.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

template <class S>
using Layer = LayerOf<S, moe::GatedFfn<S>>;

/// E = 3 and K = 2, so that broken and whole tokens meet in every expert; sizes of several blocks.
const Case kCases[] = {{.t = 7, .d = 5, .h = 6, .e = 3, .k = 2},
                       {.t = 50, .d = 37, .h = 41, .e = 3, .k = 2, .renormalize = false},
                       {.t = 9, .d = 5, .h = 6, .e = 3, .k = 3}};

}  // namespace

TEMPLATE_TEST_CASE("NaN and Inf in x stay in their token", "[layer]", float, double) {
  using S = TestType;
  for (const Case& c : kCases) {
    INFO(c);
    Layer<S> layer = make_layer<Layer<S>>(c);
    const Matrix<S> x = random_matrix<S>(c.t, c.d, 1), dy = random_matrix<S>(c.t, c.d, 2);
    const Step<S> clean = train_step(layer, x, dy);
    for (const Index broken : {Index{0}, c.t / 2, c.t - 1}) {
      for (const double bad : {kNan, kInf, -kInf}) {
        for (const bool whole_row : {false, true}) {
          INFO("token " << broken << " " << bad);
          Matrix<S> spoilt = x;
          if (whole_row) {
            spoilt.row(broken).setConstant(static_cast<S>(bad));
          } else {
            spoilt(broken, c.d / 2) = static_cast<S>(bad);
          }
          Matrix<S> y(c.t, c.d);
          typename Layer<S>::Workspace workspace;
          layer.forward(spoilt, y, workspace);
          const Step<S> step = train_step(layer, spoilt, dy);
          Index changed = 0;
          for (Index t = 0; t < c.t; ++t) {
            if (t == broken) continue;
            changed += !same_bits(y.row(t), clean.y.row(t));
            changed += !same_bits(step.y.row(t), clean.y.row(t));
            changed += !same_bits(step.dx.row(t), clean.dx.row(t));
          }
          CHECK(changed == 0);
          CHECK(y.row(broken).array().isNaN().all());
        }
      }
    }
  }
}

TEMPLATE_TEST_CASE("what stands in padding changes nothing", "[layer]", float, double) {
  using S = TestType;
  for (Case c : kCases) {
    for (const std::optional<double> capacity : {std::optional<double>{}, std::optional{0.6}}) {
      c.capacity = capacity;
      c.masked = true;
      INFO(c);
      Layer<S> layer = make_layer<Layer<S>>(c);
      Matrix<S> x = random_matrix<S>(c.t, c.d, 1), dy = random_matrix<S>(c.t, c.d, 2);
      const std::vector<std::uint8_t> mask = random_mask(c);
      const moe::Batch batch{.mask = mask};
      const Step<S> clean = train_step(layer, x, dy, batch, {.balance = 1, .z = 1});
      for (Index t = 0; t < c.t; ++t) {
        if (!batch.is_padding(t)) continue;
        CHECK(clean.y.row(t).isZero(0));
        CHECK(clean.dx.row(t).isZero(0));
        x.row(t).setConstant(static_cast<S>(t % 2 == 0 ? kNan : kInf));
        dy.row(t).setConstant(static_cast<S>(kNan));
      }
      const Step<S> spoilt = train_step(layer, x, dy, batch, {.balance = 1, .z = 1});
      CHECK(same_bits(spoilt, clean));
      CHECK(spoilt.loss == clean.loss);
      Matrix<S> y = Matrix<S>::Constant(c.t, c.d, S(9));
      typename Layer<S>::Workspace workspace;
      layer.forward(x, y, workspace, batch);
      CHECK(same_bits(y, clean.y));
    }
  }
}

TEMPLATE_TEST_CASE("a padded batch is the batch without its padding", "[layer]", float, double) {
  using S = TestType;
  for (Case c : kCases) {
    for (const std::optional<double> capacity : {std::optional<double>{}, std::optional{0.6}}) {
      c.capacity = capacity;
      c.masked = true;
      INFO(c);
      Layer<S> layer = make_layer<Layer<S>>(c);
      const Matrix<S> x = random_matrix<S>(c.t, c.d, 1), dy = random_matrix<S>(c.t, c.d, 2);
      const std::vector<std::uint8_t> mask = random_mask(c);
      std::vector<Index> real;
      for (Index t = 0; t < c.t; ++t) {
        if (mask[static_cast<std::size_t>(t)] != 0) real.push_back(t);
      }
      const Losses losses{.balance = 1, .z = 1};
      const Step<S> padded = train_step(layer, x, dy, {.mask = mask}, losses);
      const Step<S> dense = train_step(layer, Matrix<S>(x(real, Eigen::all)),
                                       Matrix<S>(dy(real, Eigen::all)), {}, losses);
      for (std::size_t n = 0; n < real.size(); ++n) {
        CHECK(same_bits(padded.y.row(real[n]), dense.y.row(static_cast<Index>(n))));
        CHECK(same_bits(padded.dx.row(real[n]), dense.dx.row(static_cast<Index>(n))));
      }
      const double allowed = tolerance<S>(c.t);
      CHECK(padded.loss == Approx(dense.loss).epsilon(allowed * 4));
      for (const auto& [name, gradient] : padded.gradient) {
        INFO(name);
        CHECK(distance(gradient, dense.gradient.at(name)) <= allowed);
      }
    }
  }
}

}  // namespace moe_test
