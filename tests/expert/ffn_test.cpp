// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/expert/ffn.hpp"

#include <functional>
#include <stdexcept>

#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

namespace moe_test {
namespace {

template <class X>
X make_expert(Index d, Index h, bool bias) {
  moe::Random random(5);
  return X({.model_dim = d, .hidden_dim = h}, {.bias = bias}, random);
}

template <class X, class S>
void check_values() {
  for (const bool bias : {false, true}) {
    for (const Index n : {0, 1, 17}) {
      const X expert = make_expert<X>(13, 21, bias);
      const Matrix<S> in = random_matrix<S>(n, 13, 1);
      Framed<S> out(n, 13, 3);
      typename X::State state;
      expert.forward(in, out.view(), state);
      naive::Table expected;
      double kink = 1;
      for (const naive::Row& row : to_table(in)) {
        expected.push_back(naive::expert_output(to_naive_expert(expert), row, kink));
      }
      CHECK(distance(out.inner(), to_matrix(expected, 13)) <= tolerance<S>(13 + 21));
      CHECK(out.frame_is_whole());
    }
  }
}

template <class X>
void check_gradients() {
  for (const bool bias : {false, true}) {
    X expert = make_expert<X>(5, 7, bias);
    Matrix<double> in, out(4, 5), din(4, 5);
    for (std::uint64_t seed = 0;; ++seed) {  // away from the kink of ReLU
      in = random_matrix<double>(4, 5, seed);
      double kink = 1;
      for (const auto& row : to_table(in)) {
        naive::expert_output(to_naive_expert(expert), row, kink);
      }
      if (kink > 1e-3) break;
    }
    const Matrix<double> dout = random_matrix<double>(4, 5, 3);
    typename X::State state;
    const auto loss = [&] {
      expert.forward(in, out, state);
      return out.cwiseProduct(dout).sum();
    };
    loss();
    expert.backward(in, dout, din, state);
    check_gradient("in", in, din, loss);
    expert.visit_parameters([&](std::string_view name, auto& p) {
      check_gradient(std::string(name), p.value, p.grad, loss);
    });
  }
}

template <template <class, class> class X, class Act>
void check() {
  check_values<X<float, Act>, float>();
  check_values<X<double, Act>, double>();
  check_gradients<X<double, Act>>();
}

}  // namespace

TEST_CASE("an Ffn computes the textbook formula and its gradients", "[expert][gradient]") {
  SECTION("Identity") { check<moe::Ffn, moe::Identity>(); }
  SECTION("Relu") { check<moe::Ffn, moe::Relu>(); }
  SECTION("Gelu") { check<moe::Ffn, moe::Gelu>(); }
  SECTION("GeluTanh") { check<moe::Ffn, moe::GeluTanh>(); }
  SECTION("Silu") { check<moe::Ffn, moe::Silu>(); }
  SECTION("ReluSquared") { check<moe::Ffn, moe::ReluSquared>(); }
}

TEST_CASE("a GatedFfn computes the textbook formula and its gradients", "[expert][gradient]") {
  SECTION("Identity") { check<moe::GatedFfn, moe::Identity>(); }
  SECTION("Relu") { check<moe::GatedFfn, moe::Relu>(); }
  SECTION("Gelu") { check<moe::GatedFfn, moe::Gelu>(); }
  SECTION("GeluTanh") { check<moe::GatedFfn, moe::GeluTanh>(); }
  SECTION("Silu") { check<moe::GatedFfn, moe::Silu>(); }
}

TEST_CASE("an expert shows its parameters by name, absent ones not at all", "[expert]") {
  const auto names = [](auto expert) {
    std::string all;
    expert.visit_parameters([&](std::string_view name, auto& p) {
      all.append(name).append(" [" + std::to_string(p.value.rows()) + ", " +
                              std::to_string(p.value.cols()) + "] ");
    });
    return all;
  };
  CHECK(names(make_expert<moe::Ffn<float>>(3, 5, false)) == "w_in [5, 3] w_out [3, 5] ");
  CHECK(names(make_expert<moe::Ffn<float>>(3, 5, true)) ==
        "w_in [5, 3] w_out [3, 5] b_in [1, 5] b_out [1, 3] ");
  CHECK(names(make_expert<moe::GatedFfn<float>>(3, 5, false)) ==
        "w_gate [5, 3] w_in [5, 3] w_out [3, 5] ");
  CHECK(names(make_expert<moe::GatedFfn<float>>(3, 5, true)) ==
        "w_gate [5, 3] w_in [5, 3] w_out [3, 5] b_gate [1, 5] b_in [1, 5] b_out [1, 3] ");
  auto expert = make_expert<moe::GatedFfn<float>>(3, 5, true);
  CHECK(moe::parameter_count(expert) == 3 * 15 + 5 + 5 + 3);
}

TEST_CASE("frozen parts of an expert get no gradient, the others are unmoved by it",
          "[expert][gradient]") {
  using X = moe::GatedFfn<double>;
  X expert = make_expert<X>(3, 5, true), twin = expert;
  expert.w_in.trainable = expert.b_gate.trainable = false;
  const Matrix<double> in = random_matrix<double>(4, 3, 1), dout = random_matrix<double>(4, 3, 2);
  Matrix<double> out(4, 3), din(4, 3), twin_din(4, 3);
  X::State state, twin_state;
  expert.forward(in, out, state);
  expert.backward(in, dout, din, state);
  twin.forward(in, out, twin_state);
  twin.backward(in, dout, twin_din, twin_state);
  CHECK(expert.w_in.grad.size() == 0);
  CHECK(expert.b_gate.grad.size() == 0);
  CHECK(same_bits(expert.w_gate.grad, twin.w_gate.grad));
  CHECK(same_bits(expert.w_out.grad, twin.w_out.grad));
  CHECK(same_bits(expert.b_out.grad, twin.b_out.grad));
  CHECK(same_bits(din, twin_din));
}

TEST_CASE("an expert refuses sizes below one", "[expert][misuse]") {
  CHECK(sentence_of([] { make_expert<moe::Ffn<float>>(0, 5, false); }) ==
        "moe::FfnExpert: model_dim is 0, expected at least 1");
  CHECK(sentence_of([] { make_expert<moe::Ffn<float>>(5, -2, false); }) ==
        "moe::FfnExpert: hidden_dim is -2, expected at least 1");
}

TEST_CASE("an expert refuses shapes that do not fit, and changes nothing", "[expert][misuse]") {
  using X = moe::GatedFfn<double>;
  X expert = make_expert<X>(3, 5, true);
  const Matrix<double> in = random_matrix<double>(4, 3, 1);
  Matrix<double> out = Matrix<double>::Constant(4, 3, 9), wide(4, 4), din = out;
  X::State state;
  CHECK(sentence_of([&] { expert.forward(wide, out, state); }) ==
        "moe::FfnExpert::forward: in has 4 columns, model_dim is 3");
  CHECK(sentence_of([&] { expert.forward(in, wide, state); }) ==
        "moe::FfnExpert::forward: out is [4, 4], expected [4, 3]");
  CHECK(sentence_of([&] { expert.forward(out, out, state); }) ==
        "moe::FfnExpert::forward: out shares memory with in, expected separate matrices");
  CHECK((out.array() == 9).all());

  CHECK(sentence_of([&] { expert.backward(in, in, din, state); }) ==
        "moe::FfnExpert::backward: the state is empty, expected one forward before each backward");
  expert.forward(in, out, state);
  CHECK(sentence_of([&] { expert.backward(in.topRows(3), in, din, state); }) ==
        "moe::FfnExpert::backward: in is [3, 3], expected [4, 3]");
  CHECK(sentence_of([&] { expert.backward(in, wide, din, state); }) ==
        "moe::FfnExpert::backward: dout is [4, 4], expected [4, 3]");
  CHECK(sentence_of([&] { expert.backward(in, in, wide, state); }) ==
        "moe::FfnExpert::backward: din is [4, 4], expected [4, 3]");
  CHECK(sentence_of([&] { expert.backward(in, din, din, state); }) ==
        "moe::FfnExpert::backward: din shares memory with dout, expected separate matrices");
  CHECK((din.array() == 9).all());
  CHECK(expert.w_in.grad.size() == 0);

  CHECK_NOTHROW(expert.backward(in, in, din, state));
  const Matrix<double> gradient = expert.w_in.grad;
  CHECK(sentence_of([&] { expert.backward(in, in, din, state); }) ==
        "moe::FfnExpert::backward: the state is empty, expected one forward before each backward");
  CHECK(same_bits(expert.w_in.grad, gradient));
}

TEST_CASE("a forward that is broken off leaves nothing for a backward", "[expert][misuse]") {
  struct Broken {
    Index size() const { return 2; }
    void run(const std::function<void(Index)>&) { throw std::runtime_error("no threads"); }
  };
  using Expert = moe::GatedFfn<float>;
  Expert expert = make_expert<Expert>(64, 64, false);
  const Matrix<float> in = random_matrix<float>(200, 64, 1);
  Matrix<float> out(200, 64), din(200, 64);
  Expert::State state;
  expert.forward(in, out, state);
  Broken broken;
  CHECK_THROWS_AS(expert.forward(in, out, state, broken), std::runtime_error);
  CHECK(sentence_of([&] { expert.backward(in, out, din, state); }) ==
        "moe::FfnExpert::backward: the state is empty, expected one forward before each backward");
}

}  // namespace moe_test
