// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A whole transformer block as an expert: rows [n, D] -> rows [n, D] that attend to one another.
#pragma once

#include "moe/block/ffn_layer.hpp"
#include "moe/block/transformer_block.hpp"
#include "moe/core/random.hpp"

MOE_NAMESPACE_BEGIN

/// The rows that the router sends here are one sequence, in the order of their tokens, whatever
/// sequences of the call they came from.
///
/// This breaks batch invariance: what a token gets depends on which other tokens of the call were
/// sent to the same expert, a NaN among them reaches the others, and splitting a batch changes the
/// results. `causal` keeps a row from those behind it, but not from tokens of earlier sequences of
/// the same call: give such a layer one sequence per call where that matters.
template <class S, class FfnType = GatedFfn<S>, class NormType = RmsNorm<S>>
class TransformerExpert {
 public:
  using Block = TransformerBlock<S, FfnLayer<S, FfnType>, Attention<S>, NormType>;

  struct Options {
    Index num_heads = 1;
    Index num_kv_heads = 0;  ///< 0: num_heads
    Index head_dim = 0;      ///< 0: D / num_heads
    bool causal = true;
    bool bias = false;                                   ///< of the attention's projections
    std::optional<RotaryOptions> rotary = std::nullopt;  ///< positions count the dispatched rows
    detail::options_of<FfnType> ffn{};
    typename NormType::Options norm{};
  };

  struct State {
    typename Block::Tape tape;
  };

  /// Random weights. Throws std::invalid_argument as Attention and the FFN do.
  TransformerExpert(const Dims& dims, const Options& options, Random& random)
      : block_({.attention = {.model_dim = dims.model_dim,
                              .num_heads = options.num_heads,
                              .num_kv_heads = options.num_kv_heads,
                              .head_dim = options.head_dim,
                              .causal = options.causal,
                              .bias = options.bias,
                              .rotary = options.rotary},
                .ffn = {.model_dim = dims.model_dim,
                        .hidden_dim = dims.hidden_dim,
                        .expert = options.ffn},
                .norm = options.norm},
               seed_from(random)) {}

  Block& block() { return block_; }
  const Block& block() const { return block_; }

  void forward(MatrixView<const S> in, MatrixView<S> out, State& state,
               ExecutorRef executor = {}) const {
    state.tape.executor = executor;
    block_.forward(in, out, state.tape);
  }
  /// See Block::check_backward.
  void check_backward(const State& state) const { block_.check_backward(state.tape); }

  /// Consumes the state; `in` is on its tape.
  void backward(MatrixView<const S>, MatrixView<const S> dout, MatrixView<S> din, State& state,
                ExecutorRef executor = {}) {
    state.tape.executor = executor;
    block_.backward(dout, din, state.tape);
  }

  template <class F>
  void visit_parameters(F&& f) {
    block_.visit_parameters(f);
  }
  template <class F>
  requires HasState<Block>
  void visit_state(F&& f) { block_.visit_state(f); }

 private:
  static std::uint64_t seed_from(Random& random) {
    const std::uint64_t high = random();
    return high << 32 | random();
  }

  Block block_;
};

MOE_NAMESPACE_END
