// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/gate/top_k.hpp"
#include "moe/layer/packed_layer.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

namespace {

using moe::Index;
using moe_test::Matrix;
using Inner = moe::GatedFfn<double>;

/// The same FFN as a stranger to the grouped kernels.
struct Stranger {
  using Options = Inner::Options;
  using State = Inner::State;
  Inner inner;

  Stranger(const moe::Dims& dims, const Options& options, moe::Random& random)
      : inner(dims, options, random) {}
  void forward(moe::MatrixView<const double> in, moe::MatrixView<double> out, State& state) const {
    inner.forward(in, out, state);
  }
  void backward(moe::MatrixView<const double> in, moe::MatrixView<const double> dout,
                moe::MatrixView<double> din, State& state) {
    inner.backward(in, dout, din, state);
  }
  template <class F>
  void visit_parameters(F&& f) {
    inner.visit_parameters(f);
  }
};

template <class ExpertType>
moe_test::LayerOf<double, ExpertType> make_layer() {
  return moe_test::LayerOf<double, ExpertType>({.model_dim = 7,
                                                .hidden_dim = 5,
                                                .num_experts = 4,
                                                .top_k = 2,
                                                .gate = {.renormalize = false,
                                                         .score = moe::ScoreFunction::sigmoid,
                                                         .weight_on_input = true},
                                                .expert = {.bias = true}},
                                               3);
}

template <class ExpertType>
void check_gradients() {
  auto layer = make_layer<ExpertType>();
  Matrix<double> x = moe_test::random_matrix<double>(6, 7, 1), y(6, 7), dx(6, 7);
  const Matrix<double> dy = moe_test::random_matrix<double>(6, 7, 2);
  typename moe_test::LayerOf<double, ExpertType>::Tape tape;
  layer.forward(x, y, tape);
  layer.backward(dy, dx, tape);
  const auto loss = [&] {
    layer.forward(x, y, tape);
    return (y.array() * dy.array()).sum();
  };
  moe_test::check_gradient("x", x, dx, loss);
  layer.visit_parameters([&](std::string_view name, moe::Parameter<double>& p) {
    moe_test::check_gradient(std::string(name), p.value, p.grad, loss);
  });
}

}  // namespace

TEST_CASE("a weight on the input scales what the expert is given", "[expert]") {
  const auto layer = make_layer<Inner>();
  const Matrix<double> x = moe_test::random_matrix<double>(9, 7, 4);
  Matrix<double> y(9, 7), expected = Matrix<double>::Zero(9, 7), out(1, 7);
  decltype(make_layer<Inner>())::Workspace workspace;
  layer.forward(x, y, workspace);
  Inner::State state;
  for (Index t = 0; t < 9; ++t) {
    for (Index e = 0; e < 4; ++e) {
      for (Index j = 0; j < 2; ++j) {
        if (workspace.routing.expert(t, j) != e) continue;
        const Matrix<double> in = x.row(t) * workspace.routing.weight(t, j);
        layer.expert(e).forward(in, out, state);
        expected.row(t) += out;
      }
    }
  }
  CHECK((y - expected).cwiseAbs().maxCoeff() < 1e-14);

  Matrix<double> packed_y(9, 7);
  const auto packed = moe::pack(layer);
  std::remove_const_t<decltype(packed)>::Workspace packed_workspace;
  packed.forward(x, packed_y, packed_workspace);
  CHECK((packed_y.array() == y.array()).all());
}

TEST_CASE("gradients pass through a weight on the input", "[expert]") {
  SECTION("grouped experts") { check_gradients<Inner>(); }
  SECTION("any other expert") { check_gradients<Stranger>(); }
}
