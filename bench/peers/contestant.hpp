// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What is compared: anything that runs a layer's experts on given weights and a given routing.
#pragma once

// Plain pointers and no include of ours: peers are compiled with other flags than the library.
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

using Index = std::ptrdiff_t;

enum class Act { relu, gelu, silu };
enum class Dtype { f32, bf16 };

constexpr const char* dtype_name(Dtype dtype) { return dtype == Dtype::f32 ? "f32" : "bf16"; }
constexpr Index dtype_bytes(Dtype dtype) { return dtype == Dtype::f32 ? 4 : 2; }

/// One expert, row-major as in a PyTorch Linear: gate, in [H, D], out [D, H]; float, or bfloat16 as
/// the upper half of a float. `gate` is null when the experts are not gated.
struct ExpertWeights {
  const void* gate;
  const void* in;
  const void* out;
};

/// What a contestant is built from. The weights live as long as the contestant.
struct Problem {
  Index model_dim;
  Index hidden_dim;
  Index num_experts;
  Index top_k;
  Act act;
  bool gated;
  Dtype dtype;
  std::vector<std::vector<ExpertWeights>> layers;  ///< [copies][E]
};

/// One call: y[t] = sum over j of weight[t, j] * expert[t, j](x[t]). Rows without padding.
struct Call {
  std::size_t layer;
  Index tokens;
  const float* x;              ///< [T, D]
  const std::int32_t* expert;  ///< [T, K]
  const float* weight;         ///< [T, K]
  float* y;                    ///< [T, D]
};

class Contestant {
 public:
  virtual ~Contestant() = default;
  virtual void set_threads(int count) = 0;
  /// What is done once for such a call and is not timed, such as compiling code for its row counts.
  virtual void prepare(const Call&) {}
  virtual void run(const Call& call) = 0;
};

}  // namespace bench
