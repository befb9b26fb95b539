// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The kernels, compiled for AVX2 + FMA.
#pragma once

#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "moe/kernel/activation.hpp"
#include "moe/kernel/table.hpp"

#if MOE_HAVE_X86
#include <immintrin.h>

MOE_TARGET_BEGIN("avx2,fma,bmi,bmi2")
#define MOE_ISA avx2_kernels
#include "moe/kernel/vec_avx2-inl.hpp"

#include "moe/kernel/kernels-inl.hpp"
#undef MOE_ISA
MOE_TARGET_END
#endif
