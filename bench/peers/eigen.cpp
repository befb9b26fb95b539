// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The loop one writes first: gather, Eigen products, activation, scatter. Compiled twice: as the
// build compiles everything else, and with -march=native.
#include "peers/glue.hpp"
#include "peers/peers.hpp"

namespace bench {
namespace {

class EigenLoop : public Contestant {
 public:
  explicit EigenLoop(const Problem& problem) : problem_(problem) {}

  void set_threads(int count) override {
    threads_ = count;
    Eigen::setNbThreads(count);
  }

  void run(const Call& call) override {
    using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    using In = Eigen::Map<const Matrix>;
    loop_.run(problem_, call, threads_,
              [](const float* a, Index n, Index k, const void* weights, Index m, float* c) {
                const In w(static_cast<const float*>(weights), m, k);
                Eigen::Map<Matrix>(c, n, m).noalias() = In(a, n, k) * w.transpose();
              });
  }

 private:
  Problem problem_;
  ExpertLoop<float> loop_;
  int threads_ = 1;
};

}  // namespace

std::unique_ptr<Contestant> MOE_BENCH_MAKE_EIGEN(const Problem& problem) {
  return std::make_unique<EigenLoop>(problem);
}

}  // namespace bench
