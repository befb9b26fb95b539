// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The kernels, compiled for plain C++; the oracle and the fallback.
#pragma once

#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "moe/kernel/activation.hpp"
#include "moe/kernel/table.hpp"

#define MOE_ISA scalar_kernels
#include "moe/kernel/vec_scalar-inl.hpp"

#include "moe/kernel/epilogue-inl.hpp"
#include "moe/kernel/math-inl.hpp"
#include "moe/kernel/pack-inl.hpp"
#include "moe/kernel/rows-inl.hpp"
#include "moe/kernel/table-inl.hpp"
#include "moe/kernel/tile-inl.hpp"
#undef MOE_ISA
