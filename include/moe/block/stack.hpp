// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Blocks one after the other, two kinds in turn: x [T, D] -> y [T, D].
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "moe/block/record.hpp"
#include "moe/layer/layer.hpp"

MOE_NAMESPACE_BEGIN

/// Which of the blocks are sparse.
struct Interleave {
  Index blocks = 1;       ///< altogether
  Index every = 2;        ///< of so many blocks the last one is sparse: 2 in GLaM, 1 where all are
  Index dense_first = 0;  ///< so many blocks at the beginning are dense, and counting starts after
                          ///< them: 1 in DeepSeek-V2, 3 in V3

  bool is_sparse(Index i) const { return i >= dense_first && (i - dense_first + 1) % every == 0; }
  Index sparse_blocks() const { return std::max<Index>(blocks - dense_first, 0) / every; }
};

/// Dense and sparse blocks interleaved (Du et al. 2022, GLaM). `Dense` and `Sparse` are any two layers
/// of the same width, as a rule TransformerBlocks around a FfnLayer and a MoeLayer; the stack is a
/// layer itself. Every block draws what is random in a call from a seed of its own.
template <class S, class Dense, class Sparse>
class BlockStack {
  static_assert(require_layer<Dense, S>() && require_layer<Sparse, S>());

 public:
  using Scalar = S;

  struct Config {
    Interleave interleave{};
    typename Dense::Config dense{};
    typename Sparse::Config sparse{};
  };

  /// Memory of the dense blocks and of the sparse ones, each in the order of the stack.
  template <class D, class P>
  struct Memory {
    explicit Memory(ExecutorRef threads = {}) : executor(threads) {}
    ExecutorRef executor;  ///< of all blocks
    std::vector<D> dense;
    std::vector<P> sparse;
    Buffer<S> between[2];  ///< [T, D], what goes from block to block
  };

  using Workspace = Memory<typename Dense::Workspace, typename Sparse::Workspace>;

  struct Tape : Memory<typename Dense::Tape, typename Sparse::Tape> {
    using Memory<typename Dense::Tape, typename Sparse::Tape>::Memory;
    Index tokens = 0;
    detail::FilledBy layer_id;

    /// Adds a balance loss to every block that routes; returns the sum of the values. Throws
    /// std::invalid_argument before a forward.
    template <class L>
    requires(RoutedLayer<Dense, S> || RoutedLayer<Sparse, S>) S add_loss(const L& loss) {
      if (layer_id == 0) {
        detail::fail("moe::BlockStack::Tape::add_loss",
                     "the tape is empty, expected a forward before");
      }
      S sum = 0;
      if constexpr (RoutedLayer<Dense, S>) {
        for (auto& tape : this->dense) sum += static_cast<S>(tape.add_loss(loss));
      }
      if constexpr (RoutedLayer<Sparse, S>) {
        for (auto& tape : this->sparse) sum += static_cast<S>(tape.add_loss(loss));
      }
      return sum;
    }
  };

  /// Random weights; the same seed gives the same stack. Throws std::invalid_argument as the blocks
  /// do, when their widths differ, or when the interleaving makes no sense.
  explicit BlockStack(const Config& config, std::uint64_t seed = 0)
      : interleave_(config.interleave) {
    check_interleave();
    for (Index i = 0; i < interleave_.blocks; ++i) {
      const std::uint64_t own = detail::seed_of_part(seed, static_cast<std::uint64_t>(i));
      if (interleave_.is_sparse(i)) {
        sparse_.emplace_back(config.sparse, own);
      } else {
        dense_.emplace_back(config.dense, own);
      }
    }
    check_blocks("moe::BlockStack");
  }

  /// A stack of the blocks given, of each kind in their order. Throws std::invalid_argument when their
  /// numbers are not those of the interleaving, or their widths differ.
  BlockStack(const Interleave& interleave, std::vector<Dense> dense, std::vector<Sparse> sparse)
      : interleave_(interleave), dense_(std::move(dense)), sparse_(std::move(sparse)) {
    check_interleave();
    check_blocks("moe::BlockStack");
  }

  const Interleave& interleave() const { return interleave_; }
  Index model_dim() const {
    if (!sparse_.empty()) return sparse_.front().model_dim();
    return dense_.empty() ? 0 : dense_.front().model_dim();
  }
  /// Blocks may be replaced, not added or removed: every call checks that all still fit.
  std::vector<Dense>& dense() { return dense_; }
  const std::vector<Dense>& dense() const { return dense_; }
  std::vector<Sparse>& sparse() { return sparse_; }
  const std::vector<Sparse>& sparse() const { return sparse_; }

  /// Writes y. Throws std::invalid_argument on what does not fit, as the blocks do; y is then
  /// untouched.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& workspace,
               const Batch& batch = {}) const {
    check_forward(x, y, batch);
    run_forward(x, y, workspace, batch);
  }

  /// The same, remembering on `tape` what backward needs.
  void forward(MatrixView<const S> x, MatrixView<S> y, Tape& tape, const Batch& batch = {}) const {
    check_forward(x, y, batch);
    tape.layer_id = 0;
    tape.tokens = x.rows();
    run_forward(x, y, tape, batch);
    tape.layer_id = id_.value();
  }

  /// Throws std::invalid_argument unless a backward with this tape could go ahead: what layers around
  /// this one ask before they change anything.
  void check_backward(const Tape& tape) const {
    detail::check_filled(kBackward, tape.layer_id, id_.value());
    check_blocks(kBackward);
    for (std::size_t i = 0; i < dense_.size(); ++i) {
      detail::check_part_backward(dense_[i], tape.dense[i]);
    }
    for (std::size_t i = 0; i < sparse_.size(); ++i) {
      detail::check_part_backward(sparse_[i], tape.sparse[i]);
    }
  }

  /// Writes dx, adds to the gradients of what trains, consumes the tape. Throws std::invalid_argument
  /// when the tape is empty or another stack's, or a shape does not fit; nothing is then changed.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    check_backward(tape);
    detail::check_backward_shapes(kBackward, dy, dx, tape.tokens, model_dim());
    tape.layer_id = 0;
    const Index last = interleave_.blocks - 1;
    std::size_t n_dense = dense_.size(), n_sparse = sparse_.size();
    const auto run = [&](auto& block, auto& own, MatrixView<const S> in, MatrixView<S> out) {
      own.executor = tape.executor;
      block.backward(in, out, own);
    };
    MatrixView<const S> from = dy;
    for (Index i = last; i >= 0; --i) {
      const MatrixView<S> to = i == 0 ? dx : tape.between[i % 2].resize(tape.tokens, model_dim());
      if (interleave_.is_sparse(i)) {
        --n_sparse;
        run(sparse_[n_sparse], tape.sparse[n_sparse], from, to);
      } else {
        --n_dense;
        run(dense_[n_dense], tape.dense[n_dense], from, to);
      }
      from = to;
    }
  }

  /// f(name, Parameter<S>&) for "blocks.<i>.*", i the place in the stack.
  template <class F>
  void visit_parameters(F&& f) {
    for_each_block(
        [&](const std::string& prefix, auto& block) { detail::visit_part<S>(prefix, block, f); });
  }

  /// The same names for what else there is to save: see moe/core/state.hpp.
  template <class F>
  requires(HasState<Dense> || HasState<Sparse>) void visit_state(F&& f) {
    for_each_block([&](const std::string& prefix, auto& block) {
      detail::visit_part_state(prefix, block, f);
    });
  }

 private:
  static constexpr auto* kBackward = "moe::BlockStack::backward";

  /// f("blocks.<i>.", block) in the order of the stack.
  template <class F>
  void for_each_block(F&& f) {
    std::size_t n_dense = 0, n_sparse = 0;
    for (Index i = 0; i < interleave_.blocks; ++i) {
      const std::string prefix = "blocks." + std::to_string(i) + ".";
      if (interleave_.is_sparse(i)) {
        f(prefix, sparse_[n_sparse++]);
      } else {
        f(prefix, dense_[n_dense++]);
      }
    }
  }

  void check_interleave() const {
    constexpr auto* kWhere = "moe::BlockStack";
    detail::check_positive(kWhere, "interleave.blocks", interleave_.blocks);
    detail::check_positive(kWhere, "interleave.every", interleave_.every);
    if (interleave_.dense_first < 0) {
      detail::fail(kWhere, "interleave.dense_first is ", interleave_.dense_first,
                   ", expected at least 0");
    }
  }

  void check_blocks(std::string_view function) const {
    const Index wanted = interleave_.sparse_blocks();
    detail::check_size(function, "sparse", std::ssize(sparse_), "blocks",
                       "the interleaving's number", wanted);
    detail::check_size(function, "dense", std::ssize(dense_), "blocks", "the interleaving's number",
                       interleave_.blocks - wanted);
    for (const auto& block : dense_) {
      detail::check_size(function, "a dense block", block.model_dim(), "columns",
                         "the stack's model_dim", model_dim());
    }
    for (const auto& block : sparse_) {
      detail::check_size(function, "a sparse block", block.model_dim(), "columns",
                         "the stack's model_dim", model_dim());
    }
  }
  void check_forward(MatrixView<const S> x, MatrixView<S> y, const Batch& batch) const {
    constexpr auto* kWhere = "moe::BlockStack::forward";
    check_blocks(kWhere);
    detail::check_forward<S>(kWhere, model_dim(), x, y, batch);
  }

  template <class M>
  void run_forward(MatrixView<const S> x, MatrixView<S> y, M& memory, const Batch& batch) const {
    memory.dense.resize(dense_.size());
    memory.sparse.resize(sparse_.size());
    std::size_t n_dense = 0, n_sparse = 0;
    Batch own_batch = batch;
    const auto run = [&](const auto& block, auto& own, MatrixView<const S> in, MatrixView<S> out) {
      own.executor = memory.executor;
      block.forward(in, out, own, own_batch);
    };
    MatrixView<const S> from = x;
    for (Index i = 0; i < interleave_.blocks; ++i) {
      own_batch.seed = detail::seed_of_part(batch.seed, static_cast<std::uint64_t>(i));
      const bool is_last = i == interleave_.blocks - 1;
      const MatrixView<S> to = is_last ? y : memory.between[i % 2].resize(x.rows(), x.cols());
      if (interleave_.is_sparse(i)) {
        run(sparse_[n_sparse], memory.sparse[n_sparse], from, to);
        ++n_sparse;
      } else {
        run(dense_[n_dense], memory.dense[n_dense], from, to);
        ++n_dense;
      }
      from = to;
    }
  }

  Interleave interleave_;
  std::vector<Dense> dense_;
  std::vector<Sparse> sparse_;
  detail::LayerId id_;
};

MOE_NAMESPACE_END
