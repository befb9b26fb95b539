// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Which instruction set the kernels use: detected when first needed, overridable, never assumed.
#pragma once

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "moe/core/types.hpp"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define MOE_HAVE_X86 1
#else
#define MOE_HAVE_X86 0
#endif
#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define MOE_HAVE_NEON 1
#else
#define MOE_HAVE_NEON 0
#endif
// The bf16 intrinsics: GCC 12 and Clang 14 can compile them; what differs is their vector type.
#define MOE_HAVE_BF16 MOE_HAVE_X86

// A target region: functions defined between BEGIN and END may use the named instruction sets,
// whatever the -m flags of the translation unit. The rules that keep this sound stand in
// kernel/README.md.
#define MOE_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define MOE_TARGET_BEGIN(isa) \
  MOE_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define MOE_TARGET_END _Pragma("clang attribute pop")
#else
// GCC 12 takes the deliberately undefined sources of its own intrinsics for a mistake.
#define MOE_TARGET_BEGIN(isa)                                                            \
  _Pragma("GCC push_options") MOE_PRAGMA(GCC target(isa)) _Pragma("GCC diagnostic push") \
      _Pragma("GCC diagnostic ignored \"-Wmaybe-uninitialized\"")                        \
          _Pragma("GCC diagnostic ignored \"-Wuninitialized\"")
#define MOE_TARGET_END _Pragma("GCC diagnostic pop") _Pragma("GCC pop_options")
#endif
#define MOE_ALWAYS_INLINE inline __attribute__((always_inline))
#define MOE_NOINLINE __attribute__((noinline))

MOE_NAMESPACE_BEGIN

/// Instruction sets the kernels are compiled for, slowest first on each architecture.
enum class Isa : int { scalar, avx2, avx512, avx512_bf16, neon };

inline constexpr Isa kAllIsas[] = {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512_bf16,
                                   Isa::neon};

/// The name MOE_FORCE_ISA understands.
constexpr std::string_view isa_name(Isa isa) {
  constexpr std::string_view names[] = {"scalar", "avx2", "avx512", "avx512_bf16", "neon"};
  return names[static_cast<int>(isa)];
}

/// True when this CPU, its operating system and this build can run `isa`.
inline bool isa_available(Isa isa) {
  if (isa == Isa::scalar) return true;
#if MOE_HAVE_X86
  // __builtin_cpu_supports also asks whether the operating system saves the wide registers.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (isa == Isa::avx2) return avx2;
  if (isa == Isa::avx512) return avx512;
  if (isa == Isa::avx512_bf16) return avx512 && __builtin_cpu_supports("avx512bf16");
#endif
  return MOE_HAVE_NEON && isa == Isa::neon;
}

/// Every instruction set this CPU can run, slowest first.
inline std::vector<Isa> available_isas() {
  std::vector<Isa> found;
  for (Isa isa : kAllIsas) {
    if (isa_available(isa)) found.push_back(isa);
  }
  return found;
}

namespace detail {

/// Constant-initialised, so that it is valid during static initialisation. -1: not chosen yet.
inline std::atomic<int> active_isa_value{-1};

/// MOE_FORCE_ISA if it is set and not empty, otherwise the best one. Throws std::invalid_argument on a
/// name that is none of this CPU's: whoever forces an instruction set must not measure another.
inline Isa choose_isa() {
  const char* forced = std::getenv("MOE_FORCE_ISA");
  const bool any = forced == nullptr || *forced == '\0';
  const std::vector<Isa> found = available_isas();
  if (any) return found.back();
  std::string names;
  for (Isa isa : found) {
    if (isa_name(isa) == forced) return isa;
    names.append(names.empty() ? "" : ", ").append(isa_name(isa));
  }
  throw std::invalid_argument("moe::active_isa: MOE_FORCE_ISA is \"" + std::string(forced) +
                              "\", expected one of " + names);
}

}  // namespace detail

/// The instruction set the kernels use now. The first call honours the environment variable
/// MOE_FORCE_ISA (scalar, avx2, avx512, avx512_bf16, neon). Throws std::invalid_argument while that
/// names none that this CPU and build have, unless set_isa() has chosen.
inline Isa active_isa() {
  int value = detail::active_isa_value.load(std::memory_order_relaxed);
  if (value < 0) {
    const int chosen = static_cast<int>(detail::choose_isa());
    // A set_isa() of another thread at the same moment wins.
    if (detail::active_isa_value.compare_exchange_strong(value, chosen)) value = chosen;
  }
  return static_cast<Isa>(value);
}

/// Chooses the instruction set of all later calls, of every thread. Throws std::invalid_argument
/// when this CPU lacks it.
inline void set_isa(Isa isa) {
  if (!isa_available(isa)) {
    throw std::invalid_argument("moe::set_isa: this CPU or build has no " +
                                std::string(isa_name(isa)));
  }
  detail::active_isa_value.store(static_cast<int>(isa), std::memory_order_relaxed);
}

MOE_NAMESPACE_END
