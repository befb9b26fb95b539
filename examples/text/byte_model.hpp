// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Byte-level language model: a window of W bytes -> scores of the next byte, around any block.
#pragma once

#include <vector>

#include "block.hpp"
#include "cross_entropy.hpp"

namespace text {

/// T windows and the byte that follows each.
struct ByteBatch {
  std::vector<std::uint8_t> window;  ///< [T, W], oldest byte first
  std::vector<std::uint8_t> target;  ///< [T]

  Index tokens() const { return static_cast<Index>(target.size()); }
};

struct ModelDims {
  Index window = 16;     ///< W
  Index embedding = 16;  ///< values per byte of the window
  Index model = 128;     ///< D
};

/// embed -> linear -> ReLU -> block -> norm -> linear -> 256 logits.
/// The same seed gives the parts outside the block the same first values, whatever the block.
template <class Block>
class ByteModel {
 public:
  ByteModel(const ModelDims& dims, Block block, std::uint64_t seed, moe::ExecutorRef threads)
      : ByteModel(dims, std::move(block), moe::Random(seed, kStream), threads) {}

  const ModelDims& dims() const { return dims_; }
  Block& block() { return block_; }

  /// Logits [T, 256] for windows [T, W]. The view is valid until the next call.
  View forward(std::span<const std::uint8_t> windows, bool training = false) {
    const Index t = std::ssize(windows) / dims_.window, d = dims_.model;
    const View embedded = embedded_.resize(t, dims_.window * dims_.embedding);
    const View mixed = mixed_.resize(t, d), out = out_.resize(t, d), last = last_.resize(t, d);
    const View logits = logits_.resize(t, kBytes);
    embedding_.forward(windows, embedded);
    mix_.forward(embedded, mixed, threads_);
    for (float& value : mixed_.span()) value = std::max(value, 0.0f);
    block_.forward(mixed, out, training);
    norm_.forward(out, last, norm_state_, threads_);
    head_.forward(last, logits, threads_);
    return logits;
  }

  /// Sum over the batch of -log p(target), in nats.
  double evaluate(const ByteBatch& batch) {
    return cross_entropy(forward(batch.window), batch.target, nats_.resize(batch.tokens()),
                         threads_);
  }

  /// Adds the gradient of the mean loss to every parameter; returns that mean, in nats.
  double forward_backward(const ByteBatch& batch) {
    const View logits = forward(batch.window, /*training=*/true);
    const std::span<float> nats = nats_.resize(batch.tokens());
    const double sum = cross_entropy(logits, batch.target, nats, threads_);
    cross_entropy_backward(logits, batch.target, nats, threads_);
    backward(batch, logits);
    return sum / static_cast<double>(batch.tokens());
  }

  template <class F>
  void visit_parameters(F&& f) {
    f(std::string_view("embedding"), embedding_.table);
    mix_.visit_parameters("mix", f);
    block_.visit_parameters(f);
    f(std::string_view("last_norm.gain"), norm_.gain);
    head_.visit_parameters("head", f);
  }

  Index total_parameters() { return moe::parameter_count(*this); }
  Index active_parameters() {
    return total_parameters() - moe::parameter_count(block_) + block_.active_parameters();
  }

 private:
  /// Far from the streams that layers draw their experts from.
  static constexpr std::uint64_t kStream = 1'000'000;

  ByteModel(const ModelDims& dims, Block block, moe::Random random, moe::ExecutorRef threads)
      : dims_(dims),
        threads_(threads),
        embedding_(dims.embedding, random),
        mix_(dims.model, dims.window * dims.embedding, random),
        block_(std::move(block)),
        norm_(dims.model),
        head_(kBytes, dims.model, random) {}

  void backward(const ByteBatch& batch, ConstView dlogits) {
    const Index t = batch.tokens(), d = dims_.model;
    const View mixed(mixed_.data(), t, d), out(out_.data(), t, d), last(last_.data(), t, d);
    const View embedded(embedded_.data(), t, dims_.window * dims_.embedding);
    const View dlast = dlast_.resize(t, d), dout = dout_.resize(t, d);
    const View dmixed = dmixed_.resize(t, d), dembedded = dembedded_.resize(t, embedded.cols());

    head_.backward(last, dlogits, dlast, threads_);
    set_zero(dout);
    norm_.backward(out, dlast, dout, norm_state_, threads_);
    block_.backward(dout, dmixed);
    for (Index i = 0; i < mixed.size(); ++i) {
      if (mixed.data()[i] <= 0) dmixed.data()[i] = 0;  // ReLU
    }
    mix_.backward(embedded, dmixed, dembedded, threads_);
    embedding_.backward(batch.window, dembedded);
  }

  ModelDims dims_;
  moe::ExecutorRef threads_;
  Embedding embedding_;
  Linear mix_;
  Block block_;
  moe::RmsNorm<float> norm_;
  moe::RmsNorm<float>::State norm_state_;
  Linear head_;

  // Values of the last forward, [T, ...], and their gradients; kept to be reused.
  moe::Buffer<float> embedded_, mixed_, out_, last_, logits_, nats_;
  moe::Buffer<float> dembedded_, dmixed_, dout_, dlast_;
};

}  // namespace text
