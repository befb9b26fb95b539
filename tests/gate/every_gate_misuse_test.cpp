// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A gate called outside a layer says what does not fit, before it writes.
#include "gate/every_gate.hpp"

namespace moe_test {
namespace {

/// What of the routing comes in the wrong shape.
struct Wrong {
  Index expert_rows = 0, weight_cols = 0, score_cols = 0;
};

template <class G>
std::string forward_sentence(const G& gate, Index t, Index e, Wrong wrong = {},
                             const Batch& batch = {}) {
  const Matrix<double> logits = random_matrix<double>(t, e, 1);
  Matrix<std::int32_t> expert(t + wrong.expert_rows, gate.top_k());
  Matrix<double> weight(t, gate.top_k() + wrong.weight_cols), scores(t, e + wrong.score_cols);
  expert.setConstant(7);
  weight.setConstant(7);
  scores.setConstant(7);
  moe::Routing<double> routing;
  routing.expert = expert;
  routing.weight = weight;
  routing.scores = scores;
  typename G::State state;
  const std::string sentence =
      sentence_of([&] { gate.forward(MatrixView<const double>(logits), routing, batch, state); });
  CHECK((expert.array() == 7).all());
  CHECK((weight.array() == 7).all());
  CHECK((scores.array() == 7).all());
  return sentence;
}

bool ends_with(const std::string& text, const std::string& end) {
  INFO(text);
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

}  // namespace

TEMPLATE_TEST_CASE("every gate refuses shapes that do not fit", "[gate][every_gate][misuse]",
                   MOE_TEST_GATES) {
  auto gate = make_gate<TestType>(2, 6);
  const std::string k = std::to_string(gate.top_k()), wide = std::to_string(gate.top_k() + 1);
  CHECK(ends_with(forward_sentence(gate, 4, 6, {.expert_rows = 1}),
                  ": routing.expert is [5, " + k + "], expected [4, " + k + "]"));
  CHECK(ends_with(forward_sentence(gate, 4, 6, {.weight_cols = 1}),
                  ": routing.weight is [4, " + wide + "], expected [4, " + k + "]"));
  CHECK(ends_with(forward_sentence(gate, 4, 6, {.score_cols = -1}),
                  ": routing.scores is [4, 5], expected [4, 6]"));
  const std::vector<std::uint8_t> mask(3, 1);
  CHECK(ends_with(forward_sentence(gate, 4, 6, {}, {.mask = mask}),
                  ": mask has 3 values, the number of tokens is 4"));
  CHECK(forward_sentence(gate, 4, 0).find("columns") != std::string::npos);

  auto out = route(gate, random_matrix<double>(4, 6, 1));
  const auto backward_sentence = [&](Index weight_rows, Index score_cols, Index logit_rows) {
    const Matrix<double> dweight = random_matrix<double>(weight_rows, gate.top_k(), 1),
                         dscores = random_matrix<double>(4, score_cols, 2);
    Matrix<double> dlogits = Matrix<double>::Constant(logit_rows, 6, 7);
    const std::string sentence = sentence_of([&] {
      gate.backward(std::as_const(out.routing), MatrixView<const double>(dweight),
                    MatrixView<const double>(dscores), MatrixView<double>(dlogits), out.state);
    });
    CHECK((dlogits.array() == 7).all());
    return sentence;
  };
  CHECK(ends_with(backward_sentence(3, 6, 4),
                  ": dweight is [3, " + k + "], expected [4, " + k + "]"));
  CHECK(ends_with(backward_sentence(4, 5, 4), ": dscores is [4, 5], expected [4, 6]"));
  CHECK(ends_with(backward_sentence(4, 6, 5), ": dlogits is [5, 6], expected [4, 6]"));
}

TEMPLATE_TEST_CASE("a gate's backward refuses a state that no forward filled",
                   "[gate][every_gate][misuse]", moe::TopKGate, moe::GShardGate,
                   moe::SparseMixerGate, moe::TopAnyGate<double>, moe::AuctionGate) {
  auto gate = make_gate<TestType>(2, 6);
  auto out = route(gate, random_matrix<double>(4, 6, 1));
  out.state = {};
  Matrix<double> dlogits = Matrix<double>::Zero(4, 6);
  CHECK(sentence_of([&] {
          gate_gradient(gate, out, random_matrix<double>(4, gate.top_k(), 1), dlogits);
        }).find(": the state has 0 values, their number after the routing's forward is ") !=
        std::string::npos);
}

TEST_CASE("a gate made for another number of experts says so", "[gate][misuse]") {
  CHECK(forward_sentence(moe::DenseGate({.num_experts = 6, .top_k = 2}, {}), 4, 5) ==
        "moe::DenseGate: logits has 5 columns, the gate's num_experts is 6");
  CHECK(forward_sentence(moe::GShardGate({.num_experts = 6, .top_k = 2}, {}), 4, 1) ==
        "moe::GShardGate: the gate's top_k is 2, expected 1 to the 1 columns of logits");
}

}  // namespace moe_test
