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

#include "moe/kernel/kernels-inl.hpp"
#undef MOE_ISA
