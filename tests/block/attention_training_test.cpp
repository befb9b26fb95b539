// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Attention: gradients, bits over threads and instruction sets, sequences apart, edges.
#include "moe/block/attention.hpp"

#include "block/block_checks.hpp"
#include "kernel/ffn_problem.hpp"

namespace moe_test {
namespace {

template <class S>
using Config = typename moe::Attention<S>::Config;

template <class S>
std::vector<Config<S>> configs() {
  return {{.model_dim = 6, .num_heads = 2},
          {.model_dim = 5,
           .num_heads = 4,
           .num_kv_heads = 2,
           .head_dim = 4,
           .bias = true,
           .rotary = moe::RotaryOptions{.base = 100, .dims = 2}},
          {.model_dim = 6,
           .num_heads = 3,
           .num_kv_heads = 1,
           .causal = false,
           .rotary = moe::RotaryOptions{.interleaved = true}}};
}

}  // namespace

TEST_CASE("gradients of attention agree with differences", "[block][gradient]") {
  for (const auto& config : configs<double>()) {
    moe::Attention<double> layer(config, 5);
    check_gradients_of(layer, {{4, 1, 6}}, kNoLosses);
    check_gradients_of(layer, padded({5, 0, 7}, 2), kNoLosses);
  }
  moe::Attention<double> layer({.model_dim = 4, .num_heads = 2, .num_kv_heads = 1}, 5);
  check_gradients_of(layer, padded({67}, 2), kNoLosses, 12);  // two blocks of queries
}

TEMPLATE_TEST_CASE("attention gives the same bits on any number of threads", "[block][bitwise]",
                   float, double) {
  using S = TestType;
  for (const auto& config : configs<S>()) {
    moe::Attention<S> layer(config, 5);
    check_threads<S>(layer, padded({140, 1, 70, 0, 90}, 2), kNoLosses);
    check_threads<S>(layer, {{3, 4}}, kNoLosses);
    check_threads<S>(layer, {{150}}, kNoLosses);  // fewer groups than threads
  }
}

TEMPLATE_TEST_CASE("attention keeps sequences apart", "[block][bitwise]", float, double) {
  using S = TestType;
  for (const auto& config : configs<S>()) {
    moe::Attention<S> layer(config, 5);
    check_sequences_apart<S>(layer, {{70, 3, 9, 1}});
    check_sequences_apart<S>(layer, padded({70, 3, 9, 1}, 2));
    check_nan_stays<S>(layer, {5, 70, 0, 3});
    check_edges<S>(layer);
  }
}

TEST_CASE("attention gives the same bits on any instruction set", "[block][bitwise]") {
  for (const auto& config : configs<float>()) {
    moe::Attention<float> layer(config, 5);
    const Rows rows = padded({70, 5, 33}, 2);
    const Matrix<float> x = random_matrix<float>(rows.tokens(), config.model_dim, 1);
    const Matrix<float> dy = random_matrix<float>(rows.tokens(), config.model_dim, 2);
    const auto run = [&](moe::Isa isa) {
      const UseIsa use(isa);
      moe::Attention<float>::Tape tape;
      return step_of(layer, x, dy, tape, rows.batch(), kNoLosses);
    };
    const Step<float> scalar = run(moe::Isa::scalar);
    for (const moe::Isa isa : moe::available_isas()) {
      INFO(std::string(moe::isa_name(isa)));
      CHECK(same_bits(run(isa), scalar));
    }
  }
}

TEST_CASE("frozen weights of attention gather no gradient", "[block]") {
  moe::Attention<double> layer({.model_dim = 4, .bias = true}, 5);
  layer.w_k.trainable = layer.b_o.trainable = false;
  const Matrix<double> x = random_matrix<double>(5, 4, 1);
  moe::Attention<double>::Tape tape;
  const auto step = step_of(layer, x, x, tape, {}, kNoLosses);
  CHECK(step.gradient.at("w_k").size() == 0);
  CHECK(step.gradient.at("b_o").size() == 0);
  CHECK(step.gradient.at("w_q").norm() > 0);
  layer.w_k.trainable = layer.b_o.trainable = true;
  const auto whole = step_of(layer, x, x, tape, {}, kNoLosses);
  CHECK(same_bits(step.dx, whole.dx));
  CHECK(same_bits(step.gradient.at("w_q"), whole.gradient.at("w_q")));
}

}  // namespace moe_test
