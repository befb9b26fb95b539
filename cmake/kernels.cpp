// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The one translation unit of the tests, examples and benchmarks that compiles the kernels.
#ifndef MOE_EXTERN_KERNELS
#define MOE_EXTERN_KERNELS
#endif
#define MOE_KERNELS_IMPLEMENTATION
#include "moe/kernel/kernels.hpp"
