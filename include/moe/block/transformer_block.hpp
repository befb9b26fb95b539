// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Pre-norm transformer block: h [T, D] = x + attention(norm(x)), y = h + ffn(norm(h)), where ffn is any
// layer of the library.
#pragma once

#include "moe/block/attention.hpp"
#include "moe/block/residual.hpp"

MOE_NAMESPACE_BEGIN
namespace detail {

/// The sum over the tapes that take losses; the others are passed over.
template <class S, class L, class... Tapes>
S add_loss_to(const L& loss, Tapes&... tapes) {
  S sum = 0;
  const auto add = [&](auto& tape) {
    if constexpr (requires { tape.add_loss(loss); }) sum += static_cast<S>(tape.add_loss(loss));
  };
  (add(tapes), ...);
  return sum;
}

}  // namespace detail

/// `FfnType`: a MoeLayer, a dense FFN, or whatever else is a Layer; `AttentionType`: Attention, a
/// mixture of attention heads, or any layer that looks at sequences. The block is a layer itself.
/// Which rows form a sequence is Batch::sequence_lengths. The parts draw what is random in a call from
/// seeds of their own.
template <class S, class FfnType, class AttentionType = Attention<S>, class NormType = RmsNorm<S>>
class TransformerBlock {
 public:
  using Scalar = S;
  using AttentionPart = Residual<S, AttentionType, NormType>;
  using FfnPart = Residual<S, FfnType, NormType>;

  /// Sizes of the parts that are made from a Config of their own.
  struct Config {
    typename AttentionType::Config attention{};
    typename FfnType::Config ffn{};
    typename NormType::Options norm{};
  };

  struct Workspace {
    explicit Workspace(ExecutorRef threads = {})
        : executor(threads), attention(threads), ffn(threads) {}
    ExecutorRef executor;  ///< of both parts
    Buffer<S> middle;      ///< h [T, D]
    typename AttentionPart::Workspace attention;
    typename FfnPart::Workspace ffn;
  };

  struct Tape {
    explicit Tape(ExecutorRef threads = {}) : executor(threads), attention(threads), ffn(threads) {}
    ExecutorRef executor;
    Buffer<S> middle, dmiddle;
    typename AttentionPart::Tape attention;
    typename FfnPart::Tape ffn;
    Index tokens = 0;
    detail::FilledBy layer_id;

    /// Adds a balance loss to every part that routes; returns the sum of the values.
    template <class L>
    requires(RoutedLayer<AttentionType, S> || RoutedLayer<FfnType, S>) S add_loss(const L& loss) {
      return detail::add_loss_to<S>(loss, attention, ffn);
    }
  };

  /// Random weights; the same seed gives the same block. Throws std::invalid_argument as the parts
  /// do, or when their widths differ.
  explicit TransformerBlock(const Config& config, std::uint64_t seed = 0)
      : TransformerBlock(AttentionType(config.attention, detail::seed_of_part(seed, 0)),
                         FfnType(config.ffn, detail::seed_of_part(seed, 1)), config.norm) {}

  /// A block from its layers, behind fresh norms.
  TransformerBlock(AttentionType attention, FfnType ffn,
                   const typename NormType::Options& norm = {})
      : attention_(std::move(attention), norm), ffn_(std::move(ffn), norm) {
    check_parts("moe::TransformerBlock");
  }

  Index model_dim() const { return ffn_.model_dim(); }
  AttentionPart& attention_part() { return attention_; }
  const AttentionPart& attention_part() const { return attention_; }
  FfnPart& ffn_part() { return ffn_; }
  const FfnPart& ffn_part() const { return ffn_; }
  AttentionType& attention() { return attention_.layer(); }
  const AttentionType& attention() const { return attention_.layer(); }
  FfnType& ffn() { return ffn_.layer(); }
  const FfnType& ffn() const { return ffn_.layer(); }

  /// x, y [T, D], separate; rows of padding become zero. Throws std::invalid_argument on what does
  /// not fit, as the parts do; y is then untouched.
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
    check_parts(kBackward);
    attention_.check_backward(tape.attention);
    ffn_.check_backward(tape.ffn);
  }

  /// Writes dx, adds to the gradients of what trains, consumes the tape. Throws std::invalid_argument
  /// when the tape is empty or another block's, or a shape does not fit; nothing is then changed.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    check_backward(tape);
    detail::check_backward_shapes(kBackward, dy, dx, tape.tokens, model_dim());
    const MatrixView<S> dmiddle = tape.dmiddle.resize(tape.tokens, model_dim());
    tape.attention.executor = tape.executor;
    tape.ffn.executor = tape.executor;
    ffn_.backward(dy, dmiddle, tape.ffn);
    tape.layer_id = 0;
    attention_.backward(MatrixView<const S>(dmiddle), dx, tape.attention);
  }

  /// f(name, Parameter<S>&) for "attention.*", then "ffn.*".
  template <class F>
  void visit_parameters(F&& f) {
    detail::visit_part<S>("attention.", attention_, f);
    detail::visit_part<S>("ffn.", ffn_, f);
  }

  /// The same names for what else there is to save: see moe/core/state.hpp.
  template <class F>
  requires(HasState<AttentionPart> || HasState<FfnPart>) void visit_state(F&& f) {
    detail::visit_part_state("attention.", attention_, f);
    detail::visit_part_state("ffn.", ffn_, f);
  }

 private:
  static constexpr auto* kBackward = "moe::TransformerBlock::backward";

  void check_parts(std::string_view function) const {
    detail::check_size(function, "the attention", attention_.model_dim(), "columns",
                       "the ffn's model_dim", ffn_.model_dim());
  }
  void check_forward(MatrixView<const S> x, MatrixView<S> y, const Batch& batch) const {
    constexpr auto* kWhere = "moe::TransformerBlock::forward";
    check_parts(kWhere);
    detail::check_forward<S>(kWhere, model_dim(), x, y, batch);
  }

  template <class Memory>
  void run_forward(MatrixView<const S> x, MatrixView<S> y, Memory& memory,
                   const Batch& batch) const {
    const MatrixView<S> middle = memory.middle.resize(x.rows(), x.cols());
    memory.attention.executor = memory.executor;
    memory.ffn.executor = memory.executor;
    Batch own = batch;
    own.seed = detail::seed_of_part(batch.seed, 0);
    attention_.forward(x, middle, memory.attention, own);
    own.seed = detail::seed_of_part(batch.seed, 1);
    ffn_.forward(MatrixView<const S>(middle), y, memory.ffn, own);
  }

  AttentionPart attention_;
  FfnPart ffn_;
  detail::LayerId id_;
};

MOE_NAMESPACE_END
