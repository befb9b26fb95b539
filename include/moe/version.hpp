// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Version macros, and the inline namespace that keeps incompatible translation units apart.
#pragma once

#define MOE_VERSION_MAJOR 0
#define MOE_VERSION_MINOR 1
#define MOE_VERSION_PATCH 0
#define MOE_VERSION_STRING "0.1.0"

// Eigen's alignment, and so the layout and allocator of its matrices, changes with the -m flags.
// Two translation units that disagree get different symbols: passing a moe type between them is
// then a link error instead of heap corruption.
#if defined(__AVX512F__)
#define MOE_ABI_TAG v0_1_avx512
#elif defined(__AVX__)
#define MOE_ABI_TAG v0_1_avx
#else
#define MOE_ABI_TAG v0_1
#endif

#define MOE_NAMESPACE_BEGIN \
  namespace moe {           \
  inline namespace MOE_ABI_TAG {
#define MOE_NAMESPACE_END \
  }                       \
  }
