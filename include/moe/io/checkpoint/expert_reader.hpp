// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Experts of a checkpoint, read and packed one by one.
#pragma once

#include <array>
#include <functional>

#include "moe/expert/group.hpp"
#include "moe/io/checkpoint/tensors.hpp"
#include "moe/plan/capacity.hpp"

MOE_NAMESPACE_BEGIN

/// What load_layer may be told.
struct CheckpointOptions {
  WeightType weights = WeightType::native;  ///< native: float32, exact
  /// Whose code the gate follows where codes differ: see presets::Variant.
  presets::Variant variant = presets::Variant::official;
  /// Dropless unless told otherwise, for families trained with limited room too
  /// (presets::switch_capacity): with room to spare the numbers are the same, and they do not depend
  /// on the batch.
  CapacityOptions capacity{};
  ExecutorRef executor{};  ///< reads and packs with its threads
  /// Called after each expert, the shared one included: so many of so many.
  std::function<void(Index done, Index total)> progress{};
};

namespace detail {

/// Reads experts of one shape, one after the other, through memory for one.
struct ExpertReader {
  const CheckpointTensors& tensors;
  const CheckpointOptions& options;
  Index total;
  Index done = 0;

  template <class Places>
  PackedFfn<float> read(const FfnShape& shape, Index count, Places&& places) {
    PackedFfn<float> packed(shape, count, options.weights);
    std::array<Matrix<float>, 6> part;
    for (Index e = 0; e < count; ++e) {
      const FfnPlaces& p = places(e);
      const std::array<const WeightPlace*, 6> place = {&p.gate,   &p.in,   &p.out,
                                                       &p.b_gate, &p.b_in, &p.b_out};
      std::array<const float*, 6> data{};
      for (std::size_t i = 0; i < part.size(); ++i) {
        if (place[i]->empty()) continue;
        part[i].resize(place[i]->rows, place[i]->cols);
        tensors.read(*place[i], part[i], options.executor);
        data[i] = part[i].data();
      }
      packed.pack_expert(e, {data[0], data[1], data[2], data[3], data[4], data[5]},
                         options.executor);
      if (options.progress) options.progress(++done, total);
    }
    return packed;
  }
};

}  // namespace detail
MOE_NAMESPACE_END
