// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Which types are layers.
#include "moe/layer/layer.hpp"

#include "moe/layer/moe_layer.hpp"
#include "support/catch.hpp"

namespace moe_test {
namespace {

using moe::Layer;
using moe::RoutedLayer;

/// Copies its input: the least a layer can be.
template <class S>
struct CopyLayer {
  struct Workspace {
    explicit Workspace(moe::ExecutorRef threads = {}) : executor(threads) {}
    moe::ExecutorRef executor;
  };
  struct Tape : Workspace {
    using Workspace::Workspace;
  };
  moe::Index model_dim() const { return 3; }
  void forward(moe::MatrixView<const S> x, moe::MatrixView<S> y, Workspace&,
               const moe::Batch& = {}) const {
    y.eigen() = x.eigen();
  }
  void backward(moe::MatrixView<const S> dy, moe::MatrixView<S> dx, Tape&) {
    dx.eigen() = dy.eigen();
  }
  template <class F>
  void visit_parameters(F&&) {}
};

struct WithoutTape : CopyLayer<float> {
  using Tape = void;
};

}  // namespace

TEST_CASE("the sparse layer is a layer with a router", "[layer]") {
  STATIC_REQUIRE(moe::require_layer<moe::MoeLayer<float>, float>());
  STATIC_REQUIRE(RoutedLayer<moe::MoeLayer<float>, float>);
  STATIC_REQUIRE(RoutedLayer<moe::MoeLayer<double>, double>);
  STATIC_REQUIRE_FALSE(Layer<moe::MoeLayer<float>, double>);
}

TEST_CASE("a layer need not have a router, but memory of its calls", "[layer]") {
  STATIC_REQUIRE(Layer<CopyLayer<float>, float>);
  STATIC_REQUIRE_FALSE(RoutedLayer<CopyLayer<float>, float>);
  STATIC_REQUIRE_FALSE(Layer<WithoutTape, float>);
  STATIC_REQUIRE_FALSE(Layer<moe::GatedFfn<float>, float>);
}

}  // namespace moe_test
