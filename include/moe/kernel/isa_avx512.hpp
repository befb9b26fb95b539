// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The kernels, compiled for AVX-512 (F, BW, DQ, VL).
#pragma once

#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "moe/kernel/activation.hpp"
#include "moe/kernel/table.hpp"

#if MOE_HAVE_X86
#include <immintrin.h>

MOE_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl")
#define MOE_ISA avx512_kernels
#include "moe/kernel/vec_avx512-inl.hpp"

#include "moe/kernel/kernels-inl.hpp"
#undef MOE_ISA
MOE_TARGET_END
#endif
