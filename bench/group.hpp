// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Everything the rows of one shape and weight type share: weights, inputs, contestants, reference.
#pragma once

#include <map>
#include <string>
#include <tuple>

#include "layers.hpp"
#include "peers/peers.hpp"

namespace bench {

/// Built when a row first needs it and kept until a row of another group runs: interleaved
/// repetitions of one group pay for it once, and two groups are never in memory together.
class Group {
 public:
  static Group& get(const Shape& shape, Dtype dtype) {
    static std::unique_ptr<Group> current;
    if (!current || current->shape_.name != shape.name || current->dtype_ != dtype) {
      current.reset();
      current.reset(new Group(shape, dtype));
    }
    return *current;
  }

  /// "layer" and "unpacked" are ours; anything else names a peer.
  Contestant& contestant(const std::string& name) {
    auto& found = contestants_[name];
    if (!found) {
      const double start = seconds_now();
      if (name == "layer") found = layers_->make_packed();
      if (name == "unpacked") found = layers_->make_unpacked();
      for (const Peer& peer : kPeers) {
        if (name == peer.name) found = peer.make(layers_->problem());
      }
      prepare_seconds_[name] = (seconds_now() - start) / static_cast<double>(copies_);
    }
    return *found;
  }

  /// What a contestant took to get ready, per layer: packing, for those who pack.
  double prepare_seconds(const std::string& name) const { return prepare_seconds_.at(name); }

  Inputs& inputs(Index tokens) {
    Inputs& found = inputs_[tokens];
    if (found.batches.empty()) fill(found, tokens);
    return found;
  }

  /// Error against float64 on the first batch, measured once for each row; warms the row up, too.
  double error(const std::string& name, Index tokens, int threads) {
    const auto [found, created] = errors_.try_emplace({name, tokens, threads});
    if (created) {
      Inputs& in = inputs(tokens);
      contestant(name).set_threads(threads);
      std::fill(in.y.begin(), in.y.end(), -1e30f);
      contestant(name).run(call(tokens, 0));
      found->second = reference(tokens).error(in.y);
    }
    return found->second;
  }

  /// All that is done once for the batches of a row, before the clock runs.
  void prepare(const std::string& name, Index tokens) {
    for (std::size_t i = 0; i < inputs(tokens).batches.size(); ++i) {
      contestant(name).prepare(call(tokens, i));
    }
  }

  /// The i-th call of a row: the next batch and, in a cold row, the next copy of the weights.
  Call call(Index tokens, std::size_t i) {
    Inputs& in = inputs(tokens);
    const Batch& batch = in.batches[i % in.batches.size()];
    const std::size_t layer = is_cold(tokens) ? i % static_cast<std::size_t>(copies_) : 0;
    return {layer, tokens, batch.x.data(), batch.expert.data(), batch.weight.data(), in.y.data()};
  }
  const Batch& batch(Index tokens, std::size_t i) {
    Inputs& in = inputs(tokens);
    return in.batches[i % in.batches.size()];
  }

  LayerSet& layers() { return *layers_; }
  bool is_cold(Index tokens) const { return shape_.cold && tokens <= kColdTokens; }
  Index copies() const { return copies_; }

 private:
  Group(const Shape& shape, Dtype dtype)
      : shape_(shape), dtype_(dtype), copies_(cold_copies(shape, dtype)) {
    const char* zipf = std::getenv("MOE_BENCH_ZIPF");
    layers_ = make_layers(shape, dtype, copies_, zipf != nullptr ? std::atof(zipf) : 0.0);
  }

  /// Enough that a one-token row reads more than four caches' worth before it meets a copy again.
  static Index cold_copies(const Shape& shape, Dtype dtype) {
    if (!shape.cold) return 1;
    const double touched =
        static_cast<double>(shape.top_k * shape.expert_values() * dtype_bytes(dtype));
    const double wanted = 4.0 * static_cast<double>(last_level_cache_bytes()) / touched;
    return std::clamp<Index>(static_cast<Index>(std::ceil(wanted)), 1, 16);
  }

  void fill(Inputs& in, Index tokens) {
    in.tokens = tokens;
    in.batches.resize(static_cast<std::size_t>(Inputs::batch_count(tokens)));
    in.y.resize(static_cast<std::size_t>(tokens * shape_.model_dim));
    std::uint32_t seed = 77;
    for (Batch& batch : in.batches) {
      batch.x.resize(in.y.size());
      fill_uniform(seed++ * 0x9E3779B1u, std::sqrt(3.0f), batch.x.data(), std::ssize(batch.x));
      const auto& routing = layers_->route(batch, tokens, 1);
      const Index n = tokens * shape_.top_k;
      batch.expert.assign(routing.expert.data(), routing.expert.data() + n);
      batch.weight.assign(routing.weight.data(), routing.weight.data() + n);
      batch.count_experts(shape_.num_experts);
    }
  }

  const Reference& reference(Index tokens) {
    auto found = references_.find(tokens);
    if (found == references_.end()) {
      found = references_
                  .try_emplace(tokens, shape_, batch(tokens, 0), tokens, layers_->float_experts())
                  .first;
    }
    return found->second;
  }

  Shape shape_;
  Dtype dtype_;
  Index copies_;
  std::unique_ptr<LayerSet> layers_;
  std::map<Index, Inputs> inputs_;
  std::map<Index, Reference> references_;
  std::map<std::string, std::unique_ptr<Contestant>> contestants_;
  std::map<std::string, double> prepare_seconds_;
  std::map<std::tuple<std::string, Index, int>, double> errors_;
};

}  // namespace bench
