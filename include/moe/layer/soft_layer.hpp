// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Soft MoE: experts see slots, weighted means of a sequence's tokens; x [T, D] -> y [T, D].
#pragma once

#include <utility>
#include <vector>

#include "moe/core/state.hpp"
#include "moe/expert/ffn.hpp"
#include "moe/expert/group.hpp"
#include "moe/layer/parts.hpp"
#include "moe/layer/route.hpp"
#include "moe/layer/soft_mix.hpp"
#include "moe/layer/soft_scores.hpp"

MOE_NAMESPACE_BEGIN

/// Puigcerver et al. 2023, "From sparse to soft mixtures of experts" (arXiv 2308.00951), with M = E P
/// slots, L the tokens of a sequence, x and phi normalised as SoftNormalization says:
///   logits = x phi^T [L, M]     dispatch = softmax over the tokens     combine = softmax over slots
///   slots = dispatch^T x [M, D]     y = combine experts(slots) [L, D], slot p of e through expert e
/// Everything is differentiable, nothing is dropped, and no expert is idle. By design a token's output
/// depends on every token of its sequence, later ones too: not for causal models. Sequences are those
/// of Batch::sequence_lengths, all of T when that is empty; they do not see one another, and a
/// sequence has the same bits alone and in any batch. Padding takes part in nothing.
template <class S = float, class ExpertType = GatedFfn<S>>
class SoftLayer {
  static_assert(
      Expert<ExpertType, S>,
      "moe::SoftLayer: the expert needs State, forward(in, out, state) const, backward(in, dout, "
      "din, state) and visit_parameters(f); see moe/expert/expert.hpp");

 public:
  using Scalar = S;

  struct Config {
    Index model_dim = 0;    ///< D
    Index hidden_dim = 0;   ///< H
    Index num_experts = 0;  ///< E
    Index slots = 1;        ///< P, per expert and sequence; the cost is that of E * P tokens
    SoftNormalization normalization = SoftNormalization::l2;
    double noise_stddev = 0;  ///< of normal noise on the logits in training
    detail::options_of<ExpertType> expert{};

    Dims dims() const { return {model_dim, hidden_dim, num_experts, num_experts}; }
  };

  /// Every intermediate of a forward. Reuse it: nothing is allocated while neither the real
  /// tokens, R, nor their sequences, B, are more than before, nor a sequence is longer. Serves one
  /// call at a time.
  struct Workspace {
    explicit Workspace(ExecutorRef threads = {}) : executor(threads) {}

    ExecutorRef executor;
    Buffer<S> x, y;    ///< [R, D], the tokens that are not padding; unused when none is
    Buffer<S> logits;  ///< [R, M]
    typename SoftScores<S>::State scores;
    SoftMix<S> mix;  ///< sequences, weights, slots
    Plan plan;       ///< which expert computes which slot
    Buffer<S> ones;  ///< [B * M], the slots' weights at their experts
    GroupState<ExpertType, S> experts;
    detail::FilledBy layer_id;  ///< on a tape: the layer that filled it, 0 when empty
  };

  /// A workspace that also remembers what backward needs.
  struct Tape : Workspace {
    using Workspace::Workspace;
    Index tokens = 0;           ///< T
    Buffer<S> dy, dx, dsource;  ///< [R, D]
    Buffer<S> dones;            ///< [B * M], not used
    Buffer<S> dlogits;          ///< [R, M]
  };

  /// A new layer with random weights; the same seed gives the same layer. Throws
  /// std::invalid_argument on sizes below 1, or noise that is negative or not finite.
  explicit SoftLayer(const Config& config, std::uint64_t seed = 0)
      : SoftLayer{SoftScores<S>(make_phi(config, seed), config.normalization),
                  detail::make_experts<ExpertType>(config.dims(), config.expert, config.num_experts,
                                                   seed),
                  config.noise_stddev} {}

  /// A layer from its parts: the M slots of `scores` are shared out evenly, in order. Throws
  /// std::invalid_argument when the parts do not fit one another.
  SoftLayer(SoftScores<S> scores, std::vector<ExpertType> experts, double noise_stddev = 0)
      : scores_(std::move(scores)), experts_(std::move(experts)), noise_stddev_(noise_stddev) {
    check_parts("moe::SoftLayer");
  }

  Index model_dim() const { return scores_.model_dim(); }
  Index num_experts() const { return static_cast<Index>(experts_.size()); }
  Index slots() const { return scores_.slots() / num_experts(); }  ///< P
  double noise_stddev() const { return noise_stddev_; }
  SoftScores<S>& scores() { return scores_; }
  const SoftScores<S>& scores() const { return scores_; }
  /// Throws std::invalid_argument unless 0 <= e < E.
  ExpertType& expert(Index e) { return experts_[checked(e)]; }
  const ExpertType& expert(Index e) const { return experts_[checked(e)]; }

  /// Writes y [T, D]; zero for padding. x, y: row-major, separate. T = 0 is fine. Throws
  /// std::invalid_argument on shapes that do not fit, a mask that is not [T] long, sequence lengths
  /// that do not add up to T, or x and y sharing memory; y is then untouched.
  void forward(MatrixView<const S> x, MatrixView<S> y, Workspace& workspace,
               const Batch& batch = {}) const {
    check_call(x, y, batch);
    run_forward(x, y, workspace, batch, /*keep=*/false);
  }

  /// The same, remembering on `tape` what backward needs.
  void forward(MatrixView<const S> x, MatrixView<S> y, Tape& tape, const Batch& batch = {}) const {
    check_call(x, y, batch);
    Batch training = batch;
    training.training = true;
    run_forward(x, y, tape, training, /*keep=*/true);
    tape.tokens = x.rows();
    tape.layer_id = id_.value();
  }

  /// See MoeLayer::check_backward.
  void check_backward(const Tape& tape) const {
    detail::check_filled(kBackward, tape.layer_id, id_.value());
    check_parts(kBackward);
    detail::check_size(kBackward, "the tape", tape.plan.num_experts(), "experts",
                       "the number of experts", num_experts());
    detail::check_size(kBackward, "the tape", tape.mix.weights.slots, "slots",
                       "phi's number of rows", scores_.slots());
    detail::check_size(kBackward, "the tape", tape.x.size(), "values of x",
                       "real tokens times model_dim", tape.mix.sequences.rows() * model_dim());
    check_group(kBackward, experts_, tape.experts);
    check_experts_backward<ExpertType, S>(kBackward, experts_, tape.plan.offset, tape.experts);
  }

  /// Gradients of one training forward: writes dx [T, D], zero for padding, and adds to the gradient
  /// of every trainable parameter. Consumes the tape. Throws std::invalid_argument when the tape is
  /// empty or another layer's, or a shape does not fit; nothing is then changed.
  void backward(MatrixView<const S> dy, MatrixView<S> dx, Tape& tape) {
    check_backward(tape);
    detail::check_backward_shapes<S>(kBackward, dy, dx, tape.tokens, model_dim());
    tape.layer_id = 0;
    SoftMix<S>& mix = tape.mix;
    const Index rows = mix.sequences.rows(), d = model_dim();
    const MatrixView<const S> x(tape.x.data(), rows, d);
    mix.to_tokens_backward(mix.sequences.pick(dy, tape.dy), tape.executor);
    experts_back(tape);
    const MatrixView<S> dsource = zeroed(tape.dsource, rows, d);
    mix.to_slots_backward(scores_.source(x, tape.scores), dsource, tape.executor);
    const MatrixView<S> dlogits = tape.dlogits.resize(rows, scores_.slots());
    mix.weights.backward(mix.sequences, dlogits, tape.executor);
    const MatrixView<S> sum = zeroed(tape.dx, rows, d);
    scores_.backward(x, MatrixView<const S>(dlogits), MatrixView<const S>(dsource), sum,
                     tape.scores, tape.executor);
    mix.sequences.put_back(MatrixView<const S>(sum), dx);
  }

  /// f(name, Parameter<S>&) for "phi", "scale" (l2), "gain_x" and "gain_phi" (rms), and
  /// "experts.<e>.*", in this order.
  template <class F>
  void visit_parameters(F&& f) {
    scores_.visit_parameters(f);
    detail::visit_parts<S>("experts.", experts_, f);
  }

  /// The same names for what else there is to save: see moe/core/state.hpp.
  template <class F>
  void visit_state(F&& f) {
    detail::visit_parts_state("experts.", experts_, f);
  }

 private:
  static constexpr auto* kBackward = "moe::SoftLayer::backward";

  std::size_t checked(Index e) const {
    return detail::checked_index("moe::SoftLayer", "expert", e, num_experts());
  }

  static Matrix<S> make_phi(const Config& config, std::uint64_t seed) {
    constexpr auto* kWhere = "moe::SoftLayer";
    detail::check_positive(kWhere, "model_dim", config.model_dim);
    detail::check_positive(kWhere, "num_experts", config.num_experts);
    detail::check_positive(kWhere, "slots", config.slots);
    Random random(seed, 0);
    Matrix<S> made(config.num_experts * config.slots, config.model_dim);
    const double stddev = 1 / std::sqrt(static_cast<double>(config.model_dim));
    for (Index i = 0; i < made.size(); ++i) {
      made.data()[i] = static_cast<S>(stddev * random.normal());
    }
    return made;
  }

  void check_parts(std::string_view function) const {
    detail::check_positive(function, "the number of experts", num_experts());
    detail::check_positive(function, "the number of slots", scores_.slots());
    if (scores_.slots() % num_experts() != 0) {
      detail::fail(function, "phi has ", scores_.slots(),
                   " rows, expected a multiple of the number of experts, ", num_experts());
    }
    if (!(noise_stddev_ >= 0) || !std::isfinite(noise_stddev_)) {
      detail::fail(function, "noise_stddev is ", noise_stddev_,
                   ", expected a finite value of at least 0");
    }
    scores_.check_shapes(function);
    detail::check_experts<S>(function, experts_, "the layer's model_dim", model_dim());
  }

  void check_call(MatrixView<const S> x, MatrixView<S> y, const Batch& batch) const {
    check_parts("moe::SoftLayer::forward");
    detail::check_forward<S>("moe::SoftLayer::forward", model_dim(), x, y, batch);
  }

  static MatrixView<S> zeroed(Buffer<S>& buffer, Index rows, Index cols) {
    const MatrixView<S> out = buffer.resize(rows, cols);
    buffer.fill(S(0));
    return out;
  }

  void run_forward(MatrixView<const S> x, MatrixView<S> y, Workspace& ws, const Batch& batch,
                   bool keep) const {
    ws.layer_id = 0;  // a tape used as a plain workspace is a tape no more
    SequenceRows& sequences = ws.mix.sequences;
    sequences.find(x.rows(), batch);
    plan_slots(sequences.count(), num_experts(), slots(), ws.plan);
    const MatrixView<const S> rows = sequences.pick(x, ws.x, /*copy=*/keep);
    const MatrixView<S> logits = ws.logits.resize(rows.rows(), scores_.slots());
    const MatrixView<const S> source = scores_.forward(rows, logits, ws.scores, ws.executor);
    if (batch.training && noise_stddev_ > 0) {
      add_soft_noise(noise_stddev_, batch, sequences, logits);
    }
    ws.mix.weights.fill(sequences, MatrixView<const S>(logits), ws.executor);
    ws.mix.to_slots(source, ws.executor);
    experts_on_slots(ws, keep);

    for (Index t = 0; t < y.rows(); ++t) std::fill_n(y.row(t), y.cols(), S(0));
    if (sequences.whole) {
      ws.mix.to_tokens(y, ws.executor);
    } else {
      ws.y.reserve(y.size());
      const MatrixView<S> out = zeroed(ws.y, rows.rows(), model_dim());
      ws.mix.to_tokens(out, ws.executor);
      sequences.put_back(MatrixView<const S>(out), y);
    }
  }

  MatrixView<S> slot_rows(Buffer<S>& buffer, const Workspace& ws) const {
    return {buffer.data(), ws.plan.count(), model_dim()};
  }

  void experts_on_slots(Workspace& ws, bool keep) const {
    ws.ones.resize(ws.plan.count());
    ws.ones.fill(S(1));
    experts_forward<ExpertType, S>(experts_, ws.plan, ws.ones.span(), WeightOn::output,
                                   slot_rows(ws.mix.slots, ws), slot_rows(ws.mix.outputs, ws),
                                   ws.experts, keep, ws.executor);
  }

  void experts_back(Tape& tape) {
    zeroed(tape.mix.dslots, tape.plan.count(), model_dim());
    experts_backward<ExpertType, S>(
        experts_, tape.plan, tape.ones.span(), WeightOn::output, slot_rows(tape.mix.slots, tape),
        slot_rows(tape.mix.doutputs, tape), slot_rows(tape.mix.dslots, tape),
        tape.dones.resize(tape.plan.count()), tape.experts, tape.executor);
  }

  SoftScores<S> scores_;
  std::vector<ExpertType> experts_;
  double noise_stddev_ = 0;
  detail::LayerId id_;
};

MOE_NAMESPACE_END
