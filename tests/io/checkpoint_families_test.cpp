// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every family's synthetic checkpoint against the implementation that made it.
#include "io/checkpoint_case.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using namespace moe_test;

namespace {

struct Output {
  moe::CheckpointLayer::Workspace workspace;
  moe::Matrix<float> y;

  Output(const moe::CheckpointLayer& layer, const CheckpointCase& c, moe::ExecutorRef executor = {})
      : Output(layer, c.x, c.token_ids, executor) {}
  Output(const moe::CheckpointLayer& layer, const moe::Matrix<float>& x,
         std::span<const std::int64_t> token_ids, moe::ExecutorRef executor = {})
      : workspace(executor), y(x.rows(), x.cols()) {
    layer.forward(x, y, workspace, {.token_ids = token_ids});
  }
};

/// Largest difference of finite values, relative to the largest; infinite when others differ.
double logit_difference(const moe::Buffer<float>& logits, const moe::Matrix<double>& expected) {
  double largest = 0, difference = 0;
  for (Index i = 0; i < expected.size(); ++i) {
    const double wanted = expected.data()[i], found = logits[i];
    if (wanted == found) continue;
    if (!std::isfinite(wanted)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, std::abs(wanted));
    difference = std::max(difference, std::abs(wanted - found));
  }
  return difference == 0 ? 0 : difference / largest;
}

/// Largest difference, relative to the largest value.
double difference(const moe::Matrix<float>& y, const moe::Matrix<double>& expected) {
  return (y.cast<double>() - expected).cwiseAbs().maxCoeff() / expected.cwiseAbs().maxCoeff();
}

}  // namespace

TEST_CASE("every family's layer computes what an independent implementation does",
          "[io][checkpoint]") {
  const std::vector<std::string> names = CheckpointCase::names();
  REQUIRE(names.size() >= 36);
  for (const std::string& name : names) {
    CAPTURE(name);
    const CheckpointCase c(CheckpointCase::root() / name);
    const moe::Checkpoint checkpoint(c.folder);
    REQUIRE_FALSE(checkpoint.moe_layers().empty());
    const Index last = checkpoint.moe_layers().back();
    const moe::CheckpointLayer layer = checkpoint.load_layer(last);
    const Output out(layer, c);
    const auto& ws = out.workspace;
    REQUIRE(ws.routing.expert.cols() == c.ids.cols());
    REQUIRE(ws.routing.num_experts() == c.logits.cols());
    bool same_ids = true;
    double weights = 0;
    for (Index t = 0; t < c.ids.rows(); ++t) {
      for (Index k = 0; k < c.ids.cols(); ++k) {
        same_ids = same_ids && ws.routing.expert(t, k) == c.ids(t, k);
        weights = std::max(weights, std::abs(ws.routing.weight(t, k) - c.weights(t, k)) /
                                        c.weights.cwiseAbs().maxCoeff());
      }
    }
    CHECK(same_ids);
    CHECK(logit_difference(ws.logits, c.logits) < 1e-5);
    CHECK(weights < 1e-5);
    CHECK(difference(out.y, c.y) < 1e-5);
  }
}

TEST_CASE("bfloat16 weights stay within their rounding of the independent outputs",
          "[io][checkpoint]") {
  for (const std::string& name : CheckpointCase::names()) {
    CAPTURE(name);
    const CheckpointCase c(CheckpointCase::root() / name);
    const moe::Checkpoint checkpoint(c.folder);
    const moe::CheckpointLayer layer = checkpoint.load_layer(
        checkpoint.moe_layers().back(), {.weights = moe::WeightType::bfloat16});
    const moe::CheckpointLayer exact = checkpoint.load_layer(checkpoint.moe_layers().back());
    CHECK(layer.bytes() < exact.bytes());
    // Where the CPU multiplies bfloat16 pairs, activations are rounded too: 2^-9 each of a few.
    CHECK(difference(Output(layer, c).y, c.y) < 0.015);
  }
}

TEST_CASE(
    "a loaded layer gives the same bits with any number of threads, in loading and running, "
    "and in any batch",
    "[io][checkpoint]") {
  for (const std::string& name : CheckpointCase::names()) {
    CAPTURE(name);
    const CheckpointCase c(CheckpointCase::root() / name);
    const moe::Checkpoint checkpoint(c.folder);
    const Index last = checkpoint.moe_layers().back();
    const moe::Matrix<float> expected = Output(checkpoint.load_layer(last), c).y;
    Threads threads(3);
    const moe::CheckpointLayer layer = checkpoint.load_layer(last, {.executor = threads});
    CHECK(Output(layer, c, threads).y == expected);
    bool same = true;
    for (Index t = 0; t < c.x.rows(); ++t) {
      const moe::Matrix<float> alone = c.x.row(t);
      std::span<const std::int64_t> id(c.token_ids);
      if (!id.empty()) id = id.subspan(static_cast<std::size_t>(t), 1);
      same = same && Output(layer, alone, id).y.row(0) == expected.row(t);
    }
    CHECK(same);
  }
}
