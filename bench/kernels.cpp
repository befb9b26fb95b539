// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The one translation unit of the programs that compiles the kernels.
#define MOE_KERNELS_IMPLEMENTATION
#include "moe/kernel/kernels.hpp"
