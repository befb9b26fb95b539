// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// OpenBLAS: cblas_sgemm per expert, cblas_sgemv where an expert has one row, cblas_sbgemm for
// bfloat16.
#include <cblas.h>

#include "peers/glue.hpp"
#include "peers/peers.hpp"

namespace bench {
namespace {

using Size = blasint;

void product(const float* a, Index n, Index k, const void* weights, Index m, float* c) {
  const auto* w = static_cast<const float*>(weights);
  const auto rows = static_cast<Size>(n), inner = static_cast<Size>(k), cols = static_cast<Size>(m);
  if (n == 1) {
    cblas_sgemv(CblasRowMajor, CblasNoTrans, cols, inner, 1, w, inner, a, 1, 0, c, 1);
  } else {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, cols, inner, 1, a, inner, w, inner,
                0, c, cols);
  }
}

#if MOE_BENCH_OPENBLAS_BF16
void product(const std::uint16_t* a, Index n, Index k, const void* weights, Index m, float* c) {
  const auto rows = static_cast<Size>(n), inner = static_cast<Size>(k), cols = static_cast<Size>(m);
  cblas_sbgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, cols, inner, 1, a, inner,
               static_cast<const bfloat16*>(weights), inner, 0, c, cols);
}
#endif

template <class T>
class OpenBlasLoop : public Contestant {
 public:
  explicit OpenBlasLoop(const Problem& problem) : problem_(problem) {}

  void set_threads(int count) override {
    threads_ = count;
    openblas_set_num_threads(count);
  }

  void run(const Call& call) override {
    loop_.run(problem_, call, threads_,
              [](const T* a, Index n, Index k, const void* weights, Index m, float* c) {
                product(a, n, k, weights, m, c);
              });
  }

 private:
  Problem problem_;
  ExpertLoop<T> loop_;
  int threads_ = 1;
};

}  // namespace

std::unique_ptr<Contestant> make_openblas(const Problem& problem) {
#if MOE_BENCH_OPENBLAS_BF16
  if (problem.dtype == Dtype::bf16) return std::make_unique<OpenBlasLoop<std::uint16_t>>(problem);
#endif
  return std::make_unique<OpenBlasLoop<float>>(problem);
}

}  // namespace bench
