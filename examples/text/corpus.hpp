// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Corpus: bytes with a held-out part, and the batches drawn from it.
#pragma once

#include <moe/core/random.hpp>

#include "byte_model.hpp"
#include "read_text.hpp"

namespace text {

/// Positions of a text whose next byte may be asked for: a list of ranges of bytes. A position's
/// whole window lies in its own range, so no range ever sees a byte of another.
class Positions {
 public:
  explicit Positions(Index window) : window_(window) {}

  void add_range(Index first, Index last) {
    if (last - first <= window_) return;
    first_.push_back(first + window_ - size_);
    size_ += last - first - window_;
    ends_.push_back(size_);
  }

  Index size() const { return size_; }

  /// Where in the text the target of position `i` stands.
  Index operator[](Index i) const {
    const auto range = std::upper_bound(ends_.begin(), ends_.end(), i) - ends_.begin();
    return first_[static_cast<std::size_t>(range)] + i;
  }

 private:
  Index window_;
  Index size_ = 0;
  std::vector<Index> ends_;   ///< positions up to and with each range
  std::vector<Index> first_;  ///< offset from a position's number to its place in the text
};

/// Text split into blocks; every `kEvery`-th is for validation and never trained on.
class Corpus {
 public:
  static constexpr Index kBlock = 2048;
  static constexpr Index kEvery = 10;
  static constexpr Index kMaxValidation = 32768;

  /// Throws UsageError when a part would be empty.
  Corpus(Library library, Index window)
      : library_(std::move(library)), window_(window), train_(window), validation_(window) {
    const Index n = std::ssize(library_.bytes);
    for (Index block = 0; block * kBlock < n; ++block) {
      Positions& part = block % kEvery == kEvery / 2 ? validation_ : train_;
      part.add_range(block * kBlock, std::min(n, (block + 1) * kBlock));
    }
    if (train_.size() == 0 || validation_.size() == 0) {
      throw UsageError("the text has " + std::to_string(n) + " bytes, expected at least " +
                       std::to_string((kEvery / 2 + 1) * kBlock) + " and a window below " +
                       std::to_string(kBlock));
    }
  }

  const Library& library() const { return library_; }
  const Positions& train() const { return train_; }
  const Positions& validation() const { return validation_; }

  /// `tokens` training positions of step `step`, drawn by (seed, step) alone: every model that
  /// asks for the same gets the same.
  void draw(std::uint64_t seed, Index step, Index tokens, ByteBatch& batch) const {
    moe::Random random(seed, kStream + static_cast<std::uint64_t>(step));
    resize(tokens, batch);
    const auto n = static_cast<std::uint64_t>(train_.size());
    for (Index t = 0; t < tokens; ++t) fill(train_[static_cast<Index>(random.below(n))], t, batch);
  }

  /// Validation positions that are used: all, or as many spread evenly.
  Index validation_size() const { return std::min(validation_.size(), kMaxValidation); }

  /// Used validation positions [first, first + count).
  void validation_batch(Index first, Index count, ByteBatch& batch) const {
    resize(count, batch);
    for (Index t = 0; t < count; ++t) {
      fill(validation_[(first + t) * validation_.size() / validation_size()], t, batch);
    }
  }

 private:
  static constexpr std::uint64_t kStream = 1'000'000'000;

  void resize(Index tokens, ByteBatch& batch) const {
    batch.window.resize(static_cast<std::size_t>(tokens * window_));
    batch.target.resize(static_cast<std::size_t>(tokens));
  }

  void fill(Index place, Index t, ByteBatch& batch) const {
    const auto target = library_.bytes.begin() + place;
    std::copy(target - window_, target, batch.window.begin() + t * window_);
    batch.target[static_cast<std::size_t>(t)] = *target;
  }

  Library library_;
  Index window_;
  Positions train_;
  Positions validation_;
};

}  // namespace text
