// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The AVX-512 kernels plus products of bfloat16 pairs.
#pragma once

#include "moe/kernel/isa_avx512.hpp"

#if MOE_HAVE_X86
MOE_TARGET_BEGIN("avx2,fma,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#define MOE_ISA avx512_bf16_kernels
// clang-format off
#include "moe/kernel/vec_avx512-inl.hpp"
#include "moe/kernel/tile-inl.hpp"
#include "moe/kernel/bf16-inl.hpp"
// clang-format on
#undef MOE_ISA
MOE_TARGET_END

MOE_NAMESPACE_BEGIN
namespace detail::avx512_bf16_kernels {

constexpr KernelTable<float> table_f32() {
  KernelTable<float> table = avx512_kernels::kTableF32;
  table.tiles_bf16 = &multiply_tiles<Bf16>;
  table.to_bf16 = &to_bf16;
  return table;
}
inline constexpr KernelTable<float> kTableF32 = table_f32();

}  // namespace detail::avx512_bf16_kernels
MOE_NAMESPACE_END
#endif
