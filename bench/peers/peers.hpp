// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The peers this build found.
#pragma once

#include <memory>
#include <string_view>

#include "peers/contestant.hpp"

namespace bench {

using MakeContestant = std::unique_ptr<Contestant> (*)(const Problem&);

std::unique_ptr<Contestant> make_eigen(const Problem& problem);
std::unique_ptr<Contestant> make_eigen_native(const Problem& problem);
std::unique_ptr<Contestant> make_openblas(const Problem& problem);
std::unique_ptr<Contestant> make_onednn(const Problem& problem);
std::unique_ptr<Contestant> make_onednn_packed(const Problem& problem);
std::unique_ptr<Contestant> make_torch(const Problem& problem);

struct Peer {
  std::string_view name;
  MakeContestant make;
  bool bf16;
};

inline constexpr Peer kPeers[] = {
    {"eigen", make_eigen, false},
#ifdef MOE_BENCH_NATIVE
    {"eigen_native", make_eigen_native, false},
#endif
#ifdef MOE_BENCH_OPENBLAS
    {"openblas", make_openblas, MOE_BENCH_OPENBLAS_BF16},
#endif
#ifdef MOE_BENCH_ONEDNN
    {"onednn", make_onednn, true},
    {"onednn_packed", make_onednn_packed, true},
#endif
#ifdef MOE_BENCH_TORCH
    {"torch", make_torch, true},
#endif
};

}  // namespace bench
