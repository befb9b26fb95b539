// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Checks that every layer over sequences goes through, whatever it is made of.
#pragma once

#include "moe/layer/layer.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/threads.hpp"
#include "support/trained.hpp"

namespace moe_test {

using Lengths = std::vector<Index>;
using Mask = std::vector<std::uint8_t>;

/// What a call is given beside x.
struct Rows {
  Lengths lengths;
  Mask mask = {};
  moe::Batch batch() const { return {.mask = mask, .sequence_lengths = lengths}; }
  Index tokens() const { return std::accumulate(lengths.begin(), lengths.end(), Index{0}); }
};

/// About a third padding, the first row of each sequence always real.
inline Rows padded(Lengths lengths, std::uint64_t seed) {
  Rows rows{std::move(lengths)};
  moe::Random random(seed, 5);
  for (const Index length : rows.lengths) {
    for (Index i = 0; i < length; ++i) rows.mask.push_back(i == 0 || random.uniform() < 0.65);
  }
  return rows;
}

template <class S, class L>
Matrix<S> infer(const L& layer, const Matrix<S>& x, const moe::Batch& batch,
                moe::ExecutorRef executor = {}) {
  Matrix<S> y = Matrix<S>::Constant(x.rows(), x.cols(), S(77));
  typename L::Workspace workspace(executor);
  layer.forward(x, y, workspace, batch);
  return y;
}

/// Forward on a tape, losses by `add(tape)`, backward, from zero gradients.
template <class S, class L, class Add>
Step<S> step_of(L& layer, const Matrix<S>& x, const Matrix<S>& dy, typename L::Tape& tape,
                const moe::Batch& batch, Add&& add) {
  Step<S> step;
  step.y = step.dx = Matrix<S>::Constant(x.rows(), x.cols(), S(77));
  moe::zero_grad(layer);
  layer.forward(x, step.y, tape, batch);
  step.loss = add(tape);
  for (Index t = 0; t < x.rows(); ++t) {
    if (!batch.is_padding(t)) step.loss += static_cast<double>(dy.row(t).dot(step.y.row(t)));
  }
  layer.backward(dy, step.dx, tape);
  layer.visit_parameters(
      [&](std::string_view name, auto& p) { step.gradient[std::string(name)] = p.grad; });
  return step;
}

inline constexpr auto kNoLosses = [](auto&) { return 0.0; };

/// x and every parameter against central differences.
template <class L, class Add>
void check_gradients_of(L& layer, const Rows& rows, Add&& add, Index most = 60,
                        std::uint64_t seed = 1) {
  Matrix<double> x = random_matrix<double>(rows.tokens(), layer.model_dim(), seed);
  const Matrix<double> dy = random_matrix<double>(rows.tokens(), layer.model_dim(), seed + 1);
  const moe::Batch batch = rows.batch();
  typename L::Tape tape;
  const Step<double> step = step_of(layer, x, dy, tape, batch, add);
  Matrix<double> y(x.rows(), x.cols());
  const auto loss = [&] {
    layer.forward(x, y, tape, batch);
    return y.cwiseProduct(dy).sum() + add(tape);
  };
  CHECK(loss() == Approx(step.loss));
  check_gradient("x", x, step.dx, loss, most);
  layer.visit_parameters([&](std::string_view name, auto& p) {
    check_gradient(std::string(name), p.value, step.gradient.at(std::string(name)), loss, most);
  });
}

/// The same bits on any number of threads, in inference and in training, whatever the executor.
template <class S, class L, class Add>
void check_threads(L& layer, const Rows& rows, Add&& add) {
  const Matrix<S> x = random_matrix<S>(rows.tokens(), layer.model_dim(), 1);
  const Matrix<S> dy = random_matrix<S>(rows.tokens(), layer.model_dim(), 2);
  typename L::Tape serial;
  const Step<S> expected = step_of(layer, x, dy, serial, rows.batch(), add);
  CHECK(same_bits(infer(layer, x, rows.batch()), expected.y));
  for (const Index size : {1, 2, 3, 4}) {
    INFO(size << " threads");
    Threads threads(size);
    CHECK(same_bits(infer(layer, x, rows.batch(), threads), expected.y));
    typename L::Tape tape{moe::ExecutorRef(threads)};
    const Step<S> step = step_of(layer, x, dy, tape, rows.batch(), add);
    CHECK(step.loss == expected.loss);
    CHECK(same_bits(step, expected));
  }
}

/// Every sequence gives the bits that it gives alone, forward and dx.
template <class S, class L>
void check_sequences_apart(L& layer, const Rows& rows) {
  const Matrix<S> x = random_matrix<S>(rows.tokens(), layer.model_dim(), 1);
  const Matrix<S> dy = random_matrix<S>(rows.tokens(), layer.model_dim(), 2);
  typename L::Tape tape;
  const Step<S> all = step_of(layer, x, dy, tape, rows.batch(), kNoLosses);
  Index first = 0;
  for (const Index length : rows.lengths) {
    INFO("rows " << first << " to " << first + length);
    Rows one{{length}};
    if (!rows.mask.empty()) {
      one.mask.assign(rows.mask.begin() + first, rows.mask.begin() + first + length);
    }
    const Matrix<S> part = x.middleRows(first, length), dpart = dy.middleRows(first, length);
    const Step<S> alone = step_of(layer, part, dpart, tape, one.batch(), kNoLosses);
    CHECK(same_bits(alone.y, all.y.middleRows(first, length)));
    CHECK(same_bits(alone.dx, all.dx.middleRows(first, length)));
    first += length;
  }
}

/// NaN and Inf stay in their sequence, and in padding they change nothing at all.
template <class S, class L>
void check_nan_stays(L& layer, const Lengths& lengths) {
  const Rows rows{lengths};
  const Matrix<S> x = random_matrix<S>(rows.tokens(), layer.model_dim(), 1);
  const Matrix<S> dy = random_matrix<S>(rows.tokens(), layer.model_dim(), 2);
  typename L::Tape tape;
  const Step<S> clean = step_of(layer, x, dy, tape, rows.batch(), kNoLosses);
  Index first = 0;
  for (const Index length : lengths) {
    for (const double bad :
         {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
      if (length == 0) continue;
      INFO(bad << " in rows " << first << " to " << first + length);
      Matrix<S> spoilt = x;
      spoilt(first + length / 2, 0) = static_cast<S>(bad);
      const Step<S> step = step_of(layer, spoilt, dy, tape, rows.batch(), kNoLosses);
      CHECK(step.y.row(first + length / 2).array().isNaN().any());
      Index changed = 0;
      for (Index t = 0; t < x.rows(); ++t) {
        if (t >= first && t < first + length) continue;
        changed += !same_bits(step.y.row(t), clean.y.row(t));
        changed += !same_bits(step.dx.row(t), clean.dx.row(t));
      }
      CHECK(changed == 0);
    }
    first += length;
  }
  const Rows masked = padded(lengths, 3);
  const Step<S> before = step_of(layer, x, dy, tape, masked.batch(), kNoLosses);
  Matrix<S> spoilt = x, dspoilt = dy;
  for (Index t = 0; t < x.rows(); ++t) {
    if (masked.mask[static_cast<std::size_t>(t)] != 0) continue;
    CHECK(before.y.row(t).isZero(0));
    CHECK(before.dx.row(t).isZero(0));
    spoilt.row(t).setConstant(std::numeric_limits<S>::quiet_NaN());
    dspoilt.row(t).setConstant(std::numeric_limits<S>::infinity());
  }
  const Step<S> after = step_of(layer, spoilt, dspoilt, tape, masked.batch(), kNoLosses);
  CHECK(same_bits(after, before));
  CHECK(same_bits(infer(layer, spoilt, masked.batch()), before.y));
}

/// No rows, empty sequences, a sequence of one row, and nothing but padding.
template <class S, class L>
void check_edges(L& layer) {
  typename L::Tape tape;
  const auto run = [&](const Rows& rows) {
    const Matrix<S> x = random_matrix<S>(rows.tokens(), layer.model_dim(), 1);
    return step_of(layer, x, x, tape, rows.batch(), kNoLosses);
  };
  CHECK(run({}).y.rows() == 0);
  CHECK(run({{0, 0}}).dx.rows() == 0);
  const Step<S> single = run({{1}}), among = run({{0, 1, 0}});
  CHECK(single.y.array().isFinite().all());
  CHECK(same_bits(single, among));
  const Step<S> nothing = run({{3, 2}, Mask(5, 0)});
  CHECK(nothing.y.isZero(0));
  CHECK(nothing.dx.isZero(0));
  for (const auto& [name, gradient] : nothing.gradient) {
    INFO(name);
    CHECK(gradient.isZero(0));
  }
}

}  // namespace moe_test
