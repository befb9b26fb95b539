// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// What every program here shares: main.cpp calls add_benchmarks() of the one it is linked to.
#pragma once

#include <benchmark/benchmark.h>

namespace bench {

void add_benchmarks();

}  // namespace bench
