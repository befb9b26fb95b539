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
#include "moe/kernel/isa_avx2.hpp"
#include "moe/kernel/table.hpp"

#if MOE_HAVE_X86
#include <immintrin.h>

MOE_TARGET_BEGIN("avx2,fma,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl")
#define MOE_ISA avx512_kernels
#include "moe/kernel/vec_avx512-inl.hpp"

#include "moe/kernel/kernels-inl.hpp"
#undef MOE_ISA
MOE_TARGET_END

MOE_NAMESPACE_BEGIN
namespace detail::avx512_kernels {

/// Packing takes the AVX2 kernel: 16 rows at a power-of-two distance are more than a set of the L1
/// cache holds, 8 are not.
constexpr KernelTable<float> table_f32() {
  KernelTable<float> table = kTable<F32>;
  table.pack_rows = &avx2_kernels::pack_rows<avx2_kernels::F32>;
  return table;
}
inline constexpr KernelTable<float> kTableF32 = table_f32();

}  // namespace detail::avx512_kernels
MOE_NAMESPACE_END
#endif
