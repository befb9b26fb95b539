// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Experts of a user's own type take the way through dispatch and combine.
#include "moe/expert/group.hpp"

#include "layer/gradient_cases.hpp"
#include "moe/expert/ffn.hpp"

namespace moe_test {
namespace {

/// An Ffn in disguise: the layer cannot see that its kernels could read it.
template <class S>
struct Stranger {
  using Options = typename moe::GatedFfn<S>::Options;
  using State = typename moe::GatedFfn<S>::State;

  Stranger(const moe::Dims& dims, const Options& options, moe::Random& random)
      : inner(dims, options, random) {}
  void forward(MatrixView<const S> in, MatrixView<S> out, State& state) const {
    inner.forward(in, out, state);
  }
  void backward(MatrixView<const S> in, MatrixView<const S> dout, MatrixView<S> din, State& state) {
    inner.backward(in, dout, din, state);
  }
  template <class F>
  void visit_parameters(F&& f) {
    inner.visit_parameters(f);
  }

  moe::GatedFfn<S> inner;
};

static_assert(moe::GroupedExpert<moe::GatedFfn<float>, float>);
static_assert(moe::Expert<Stranger<float>, float>);
static_assert(!moe::GroupedExpert<Stranger<float>, float>);

const Case kCases[] = {{.t = 9, .d = 5, .h = 7, .e = 4, .k = 2, .seed = 1},
                       {.t = 9,
                        .d = 5,
                        .h = 7,
                        .e = 6,
                        .k = 1,
                        .renormalize = false,
                        .capacity = 0.7,
                        .masked = true,
                        .seed = 2},
                       {.t = 8, .d = 3, .h = 4, .e = 5, .k = 1, .flooded = true, .seed = 3},
                       {.t = 0, .seed = 4}};

}  // namespace

TEMPLATE_TEST_CASE("experts of any type give what the grouped kernels give", "[expert]", float,
                   double) {
  using S = TestType;
  for (const Case& c : kCases) {
    INFO(c);
    auto grouped = make_layer<LayerOf<S, moe::GatedFfn<S>>>(c);
    auto single = make_layer<LayerOf<S, Stranger<S>>>(c);
    const Matrix<S> x = decided_input(grouped, c, 1e-4), dy = random_matrix<S>(c.t, c.d, 7);
    const std::vector<std::uint8_t> mask = random_mask(c);
    const Step<S> expected = train_step(grouped, x, dy, {.mask = mask}, {.balance = 1, .z = 1});
    const Step<S> got = train_step(single, x, dy, {.mask = mask}, {.balance = 1, .z = 1});
    const double allowed = tolerance<S>(c.t + c.d + c.h);
    CHECK(distance(got.y, expected.y) <= allowed);
    CHECK(distance(got.dx, expected.dx) <= allowed);
    for (const auto& [name, gradient] : got.gradient) {
      INFO(name);
      // An expert without tokens is not asked for a gradient at all.
      const Matrix<S>& other = expected.gradient.at(name);
      if (gradient.size() == 0) {
        CHECK(other.isZero(0));
      } else {
        CHECK(distance(gradient, other) <= allowed);
      }
    }
  }
}

TEST_CASE("a layer of experts of any type adds to its gradients and can step again", "[expert]") {
  using Layer = LayerOf<double, Stranger<double>>;
  Layer layer = make_layer<Layer>(kCases[0]);
  const Matrix<double> x = random_matrix<double>(9, 5, 1), dy = random_matrix<double>(9, 5, 2);
  Layer::Tape tape;
  const Step<double> first = train_step(layer, x, dy, tape);
  const Step<double> fewer =
      train_step(layer, Matrix<double>(x.topRows(4)), Matrix<double>(dy.topRows(4)), tape);
  CHECK(same_bits(fewer.y, first.y.topRows(4)));
  CHECK(same_bits(train_step(layer, x, dy, tape), first));
}

}  // namespace moe_test
