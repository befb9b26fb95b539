// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The kernels, compiled for NEON, which every AArch64 CPU has.
#pragma once

#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "moe/kernel/activation.hpp"
#include "moe/kernel/table.hpp"

#if MOE_HAVE_NEON
#include <arm_neon.h>

#define MOE_ISA neon_kernels
#include "moe/kernel/vec_neon-inl.hpp"

#include "moe/kernel/kernels-inl.hpp"
#undef MOE_ISA
#endif
