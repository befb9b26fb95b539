// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// oneDNN: one matmul primitive per product, on row-major weights or on weights that were reordered
// once into the layout the library prefers.
#include <omp.h>

#include <dnnl.hpp>
#include <map>
#include <tuple>

#include "peers/glue.hpp"
#include "peers/peers.hpp"

namespace bench {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

/// A matmul description, or an empty one where the library has no implementation.
dnnl::matmul::primitive_desc describe(const memory::desc& a, const memory::desc& w,
                                      const memory::desc& c) {
  const dnnl::primitive_attr attr;
  const bool allow_empty = true;
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), a, w, c, attr, allow_empty};
#else
  return {dnnl::matmul::desc(a, w, c), attr, engine(), allow_empty};
#endif
}

template <class T>
class OneDnnLoop : public Contestant {
 public:
  OneDnnLoop(const Problem& problem, bool packed) : problem_(problem), packed_(packed) {
    if (!packed) return;
    for (auto& layer : problem_.layers) {
      for (ExpertWeights& expert : layer) {
        if (problem.gated) expert.gate = pack(expert.gate, problem.model_dim, problem.hidden_dim);
        expert.in = pack(expert.in, problem.model_dim, problem.hidden_dim);
        expert.out = pack(expert.out, problem.hidden_dim, problem.model_dim);
      }
    }
  }

  void set_threads(int count) override {
    omp_set_num_threads(count);
    if (count != threads_) products_.clear();
    threads_ = count;
  }

  /// A primitive is compiled for each number of rows.
  void prepare(const Call& call) override {
    const Groups groups(call, problem_.num_experts, problem_.top_k);
    for (std::size_t e = 0; e + 1 < groups.offset.size(); ++e) {
      const Index n = groups.offset[e + 1] - groups.offset[e];
      if (n == 0) continue;
      find_product(n, problem_.model_dim, problem_.hidden_dim);
      find_product(n, problem_.hidden_dim, problem_.model_dim);
    }
  }

  void run(const Call& call) override {
    loop_.run(problem_, call, threads_,
              [this](const T* a, Index n, Index k, const void* weights, Index m, float* c) {
                product(a, n, k, weights, m, c);
              });
    stream_.wait();
  }

 private:
  static constexpr auto kType =
      std::is_same_v<T, float> ? memory::data_type::f32 : memory::data_type::bf16;

  struct Product {
    memory::desc a, w, c;
    dnnl::matmul run;
  };

  static memory::desc row_major(Index rows, Index cols, memory::data_type type) {
    return {{rows, cols}, type, Tag::ab};
  }
  /// [m, k] row-major, read as its transpose [k, m].
  static memory::desc plain_weights(Index k, Index m) { return {{k, m}, kType, Tag::ba}; }

  /// Rows for which the packed layout is chosen. It must serve every batch, as in a real program.
  static constexpr Index kLayoutRows = 64;

  memory::desc weight_layout(Index k, Index m) {
    if (!packed_) return plain_weights(k, m);
    const auto pd =
        describe(row_major(kLayoutRows, k, kType), memory::desc({k, m}, kType, Tag::any),
                 row_major(kLayoutRows, m, memory::data_type::f32));
    return pd.weights_desc();
  }

  const void* pack(const void* weights, Index k, Index m) {
    memory plain(plain_weights(k, m), engine(), const_cast<void*>(weights));
    memory& packed = packed_weights_.emplace_back(weight_layout(k, m), engine());
    dnnl::reorder(plain, packed).execute(stream_, plain, packed);
    stream_.wait();
    return packed.get_data_handle();
  }

  Product& find_product(Index n, Index k, Index m) {
    const auto [found, created] = products_.try_emplace({n, k, m});
    if (created) {
      Product& p = found->second;
      p.a = row_major(n, k, kType);
      p.w = weight_layout(k, m);
      p.c = row_major(n, m, memory::data_type::f32);
      p.run = dnnl::matmul(describe(p.a, p.w, p.c));
    }
    return found->second;
  }

  void product(const T* a, Index n, Index k, const void* weights, Index m, float* c) {
    Product& p = find_product(n, k, m);
    p.run.execute(stream_, {{DNNL_ARG_SRC, memory(p.a, engine(), const_cast<T*>(a))},
                            {DNNL_ARG_WEIGHTS, memory(p.w, engine(), const_cast<void*>(weights))},
                            {DNNL_ARG_DST, memory(p.c, engine(), c)}});
  }

  Problem problem_;
  bool packed_;
  int threads_ = 0;
  dnnl::stream stream_{engine()};
  std::vector<memory> packed_weights_;
  std::map<std::tuple<Index, Index, Index>, Product> products_;
  ExpertLoop<T> loop_;
};

std::unique_ptr<Contestant> make(const Problem& problem, bool packed) {
  if (problem.dtype == Dtype::f32) return std::make_unique<OneDnnLoop<float>>(problem, packed);
  return std::make_unique<OneDnnLoop<std::uint16_t>>(problem, packed);
}

}  // namespace

std::unique_ptr<Contestant> make_onednn(const Problem& problem) { return make(problem, false); }
std::unique_ptr<Contestant> make_onednn_packed(const Problem& problem) {
  return make(problem, true);
}

}  // namespace bench
