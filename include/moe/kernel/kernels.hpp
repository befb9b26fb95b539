// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The kernels in use: compiled into every translation unit, or, with MOE_EXTERN_KERNELS, into the
// one that also defines MOE_KERNELS_IMPLEMENTATION (the others then compile several times faster).
#pragma once

#include "moe/kernel/table.hpp"

#if !defined(MOE_EXTERN_KERNELS) || defined(MOE_KERNELS_IMPLEMENTATION)
#include "moe/kernel/isa_avx2.hpp"
#include "moe/kernel/isa_avx512.hpp"
#include "moe/kernel/isa_avx512_bf16.hpp"
#include "moe/kernel/isa_neon.hpp"
#include "moe/kernel/isa_scalar.hpp"
#endif

#if defined(MOE_EXTERN_KERNELS)
#define MOE_KERNEL_LINKAGE
#else
#define MOE_KERNEL_LINKAGE inline
#endif

MOE_NAMESPACE_BEGIN
namespace detail {

MOE_KERNEL_LINKAGE const KernelTable<float>& kernel_table_f32(Isa isa);
MOE_KERNEL_LINKAGE const KernelTable<double>& kernel_table_f64(Isa isa);

#if !defined(MOE_EXTERN_KERNELS) || defined(MOE_KERNELS_IMPLEMENTATION)
MOE_KERNEL_LINKAGE const KernelTable<float>& kernel_table_f32(Isa isa) {
#if MOE_HAVE_X86
  if (isa == Isa::avx512_bf16) return avx512_bf16_kernels::kTableF32;
  if (isa == Isa::avx512) return avx512_kernels::kTableF32;
  if (isa == Isa::avx2) return avx2_kernels::kTable<avx2_kernels::F32>;
#endif
#if MOE_HAVE_NEON
  if (isa == Isa::neon) return neon_kernels::kTable<neon_kernels::F32>;
#endif
  static_cast<void>(isa);
  return scalar_kernels::kTable<scalar_kernels::F32>;
}
MOE_KERNEL_LINKAGE const KernelTable<double>& kernel_table_f64(Isa isa) {
#if MOE_HAVE_X86
  if (isa == Isa::avx512 || isa == Isa::avx512_bf16) {
    return avx512_kernels::kTable<avx512_kernels::F64>;
  }
  if (isa == Isa::avx2) return avx2_kernels::kTable<avx2_kernels::F64>;
#endif
#if MOE_HAVE_NEON
  if (isa == Isa::neon) return neon_kernels::kTable<neon_kernels::F64>;
#endif
  static_cast<void>(isa);
  return scalar_kernels::kTable<scalar_kernels::F64>;
}
#endif

/// The table of the active instruction set.
template <class S>
const KernelTable<S>& kernels() {
  static_assert(std::is_same_v<S, float> || std::is_same_v<S, double>,
                "moe: the kernels compute in float or double");
  if constexpr (std::is_same_v<S, float>)
    return kernel_table_f32(active_isa());
  else
    return kernel_table_f64(active_isa());
}

}  // namespace detail
MOE_NAMESPACE_END
