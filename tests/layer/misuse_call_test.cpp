// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Calls that cannot be: each refused with one sentence, and nothing changed by it.
#include "moe/moe.hpp"
#include "support/catch.hpp"
#include "support/trained.hpp"

namespace moe_test {
namespace {

using Layer = LayerOf<double, moe::GatedFfn<double>>;
using View = MatrixView<double>;
using ConstView = MatrixView<const double>;

const Case kCase{.t = 5, .d = 4, .h = 6, .e = 3, .k = 2};

constexpr auto* kEmptyTape =
    "moe::MoeLayer::backward: the tape is empty, expected one training forward before each "
    "backward";

/// A layer with gradients, a filled tape, and proof afterwards that both are as they were.
struct Scene {
  Layer layer = make_layer<Layer>(kCase);
  Matrix<double> x = random_matrix<double>(5, 4, 1), dy = random_matrix<double>(5, 4, 2);
  Matrix<double> y = Matrix<double>::Constant(5, 4, 9), dx = y;
  Layer::Workspace workspace;
  Layer::Tape tape;
  Step<double> expected = train_step(layer, x, dy);
  std::map<std::string, Matrix<double>> before;

  Scene() {
    layer.forward(x, dx, tape);
    dx = y;
    before = parameters_of(layer);
  }

  std::string forward(ConstView in, View out, const moe::Batch& batch = {}) {
    const std::string plain = sentence_of([&] { layer.forward(in, out, workspace, batch); });
    const std::string training = sentence_of([&] { layer.forward(in, out, tape, batch); });
    CHECK(plain == training);
    return plain;
  }
  std::string backward(ConstView dout, View din) {
    return sentence_of([&] { layer.backward(dout, din, tape); });
  }

  void check_unchanged() {
    CHECK((y.array() == 9).all());
    CHECK((dx.array() == 9).all());
    CHECK(same_bits(parameters_of(layer), before));
    // The tape still leads to the right gradients.
    moe::zero_grad(layer);
    layer.backward(dy, dx, tape);
    CHECK(same_bits(dx, expected.dx));
    for (const auto& [name, gradient] : expected.gradient) {
      CHECK(same_bits(parameters_of(layer).at(name + " gradient"), gradient));
    }
  }
};

}  // namespace

TEST_CASE("forward refuses shapes that do not fit the layer", "[layer][misuse]") {
  Scene s;
  Matrix<double> narrow(5, 3), wide(5, 5), empty(0, 3);
  CHECK(s.forward(narrow, s.y) ==
        "moe::MoeLayer::forward: x has 3 columns, the layer's model_dim is 4");
  CHECK(s.forward(wide, s.y) ==
        "moe::MoeLayer::forward: x has 5 columns, the layer's model_dim is 4");
  CHECK(s.forward(empty, s.y.topRows(0)) ==
        "moe::MoeLayer::forward: x has 3 columns, the layer's model_dim is 4");
  CHECK(s.forward(s.x, s.y.topRows(4)) == "moe::MoeLayer::forward: y is [4, 4], expected [5, 4]");
  CHECK(s.forward(s.x, s.y.leftCols(3)) == "moe::MoeLayer::forward: y is [5, 3], expected [5, 4]");
  CHECK(s.forward(s.x.topRows(3), s.y) == "moe::MoeLayer::forward: y is [5, 4], expected [3, 4]");
  s.check_unchanged();
}

TEST_CASE("forward refuses a mask or token ids of the wrong length", "[layer][misuse]") {
  Scene s;
  const std::vector<std::uint8_t> mask(6, 1);
  const std::vector<std::int64_t> ids(4, 0);
  CHECK(s.forward(s.x, s.y, {.mask = mask}) ==
        "moe::MoeLayer::forward: mask has 6 values, the number of tokens is 5");
  CHECK(s.forward(s.x, s.y, {.mask = std::span(mask).first(1)}) ==
        "moe::MoeLayer::forward: mask has 1 values, the number of tokens is 5");
  CHECK(s.forward(s.x.topRows(0), s.y.topRows(0), {.mask = mask}) ==
        "moe::MoeLayer::forward: mask has 6 values, the number of tokens is 0");
  CHECK(s.forward(s.x, s.y, {.token_ids = ids}) ==
        "moe::MoeLayer::forward: token_ids has 4 values, the number of tokens is 5");
  s.check_unchanged();
}

TEST_CASE("forward refuses an output that shares memory with its input", "[layer][misuse]") {
  Scene s;
  constexpr auto* kSentence =
      "moe::MoeLayer::forward: y shares memory with x, expected separate matrices";
  Matrix<double> both = random_matrix<double>(7, 7, 3);
  const Matrix<double> both_before = both;
  CHECK(s.forward(s.y, s.y) == kSentence);
  CHECK(s.forward(both.block(0, 0, 5, 4), both.block(2, 0, 5, 4)) == kSentence);
  CHECK(s.forward(both.block(0, 0, 5, 4), both.block(0, 3, 5, 4)) == kSentence);
  CHECK(s.forward(both.block(1, 3, 5, 4), both.block(0, 0, 5, 4)) == kSentence);
  CHECK(same_bits(both, both_before));
  s.check_unchanged();
}

TEST_CASE("column blocks of one matrix may be input and output", "[layer]") {
  Scene s;
  Matrix<double> both(5, 9);
  both.leftCols(4) = s.x;
  both.rightCols(5).setConstant(7);
  s.layer.forward(both.leftCols(4), both.middleCols(4, 4), s.workspace);
  CHECK(same_bits(both.leftCols(4), s.x));
  CHECK(same_bits(both.middleCols(4, 4), s.expected.y));
  CHECK((both.col(8).array() == 7).all());
  both.leftCols(4) = s.dy;
  moe::zero_grad(s.layer);
  s.layer.backward(both.leftCols(4), both.middleCols(4, 4), s.tape);
  CHECK(same_bits(both.middleCols(4, 4), s.expected.dx));
}

TEST_CASE("backward refuses shapes that do not fit its forward", "[layer][misuse]") {
  Scene s;
  CHECK(s.backward(s.dy.topRows(4), s.dx) ==
        "moe::MoeLayer::backward: dy is [4, 4], expected [5, 4]");
  CHECK(s.backward(s.dy.leftCols(3), s.dx) ==
        "moe::MoeLayer::backward: dy is [5, 3], expected [5, 4]");
  CHECK(s.backward(s.dy, s.dx.topRows(2)) ==
        "moe::MoeLayer::backward: dx is [2, 4], expected [5, 4]");
  CHECK(s.backward(s.dy, s.dx.leftCols(1)) ==
        "moe::MoeLayer::backward: dx is [5, 1], expected [5, 4]");
  CHECK(s.backward(s.dx, s.dx) ==
        "moe::MoeLayer::backward: dx shares memory with dy, expected separate matrices");
  s.check_unchanged();
}

TEST_CASE("backward refuses an empty tape, and a tape it has already used", "[layer][misuse]") {
  Scene s;
  Layer::Tape empty;
  CHECK(sentence_of([&] { s.layer.backward(s.dy, s.dx, empty); }) == kEmptyTape);
  s.check_unchanged();  // this is the first backward
  const auto after = parameters_of(s.layer);
  const Matrix<double> dx = s.dx;
  CHECK(s.backward(s.dy, s.dx) == kEmptyTape);
  CHECK(same_bits(parameters_of(s.layer), after));
  CHECK(same_bits(s.dx, dx));
}

TEST_CASE("a loss refuses an empty tape, and a tape that backward has used", "[layer][misuse]") {
  constexpr auto* kSentence =
      "moe::MoeLayer::Tape::add_loss: the tape is empty, expected a forward before";
  Scene s;
  Layer::Tape empty;
  CHECK(sentence_of([&] { empty.add_loss(moe::SwitchLoss{}); }) == kSentence);
  s.layer.backward(s.dy, s.dx, s.tape);
  CHECK(sentence_of([&] { s.tape.add_loss(moe::RouterZLoss{}); }) == kSentence);
}

TEST_CASE("backward refuses the tape of another layer, also of a copy", "[layer][misuse]") {
  Scene s;
  Layer copy = s.layer, other = make_layer<Layer>(kCase);
  Layer moved_from = s.layer;
  const Layer moved = std::move(moved_from);
  for (Layer* layer : {&copy, &other}) {
    Layer::Tape own;
    layer->forward(s.x, s.y, own);
    const std::string expected = "moe::MoeLayer::backward: the tape was filled by layer #" +
                                 std::to_string(std::uint64_t{s.tape.layer_id}) +
                                 ", expected one filled by this layer, #" +
                                 std::to_string(std::uint64_t{own.layer_id});
    const auto before = parameters_of(*layer);
    CHECK(sentence_of([&] { layer->backward(s.dy, s.dx, s.tape); }) == expected);
    CHECK(same_bits(parameters_of(*layer), before));
  }
  s.y.setConstant(9);
  s.check_unchanged();
}

TEST_CASE("a layer that was assigned to refuses the tapes of its former self", "[layer][misuse]") {
  Scene s;
  Layer bigger = make_layer<Layer>({.t = 5, .d = 4, .h = 30, .e = 20, .k = 7});
  s.layer = bigger;
  CHECK_THAT(s.backward(s.dy, s.dx),
             StartsWith("moe::MoeLayer::backward: the tape was filled by layer #"));
  CHECK((s.dx.array() == 9).all());
}

TEST_CASE("a tape can be moved, and leaves an empty one behind", "[layer][misuse]") {
  Scene s;
  Layer::Tape taken = std::move(s.tape);
  CHECK(s.backward(s.dy, s.dx) == kEmptyTape);
  s.layer.forward(s.x, s.y, s.tape);  // and may be used again
  CHECK(same_bits(s.y, s.expected.y));
  s.y.setConstant(9);
  s.tape = std::move(taken);
  s.check_unchanged();
}

TEST_CASE("backward refuses experts of another shape than the forward's", "[layer][misuse]") {
  Scene s;
  Layer wide = make_layer<Layer>({.t = 5, .d = 4, .h = 60, .e = 3, .k = 2});
  std::swap(s.layer.experts(), wide.experts());
  CHECK(s.backward(s.dy, s.dx) ==
        "moe::MoeLayer::backward: the experts are of other kinds or shapes than in the forward");
  std::swap(s.layer.experts(), wide.experts());
  s.check_unchanged();
}

TEST_CASE("sequence lengths whose sum overflows are refused", "[layer][misuse]") {
  Scene s;
  constexpr Index kMost = std::numeric_limits<Index>::max();
  const std::vector<Index> lengths = {kMost, kMost, 7};  // 5 modulo 2^64
  CHECK(s.forward(s.x, s.y, {.sequence_lengths = lengths}) ==
        "moe::MoeLayer::forward: the sequence_lengths add up to more than there can be rows of x");
  s.check_unchanged();
}

}  // namespace moe_test
