// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Every kernel, in order of dependency. Included inside each target region, after its vectors; so
// no #pragma once here, nor in the files below.

// clang-format off
#include "moe/kernel/math-inl.hpp"
#include "moe/kernel/pack-inl.hpp"
#include "moe/kernel/tile-inl.hpp"
#include "moe/kernel/clamped-inl.hpp"
#include "moe/kernel/epilogue-inl.hpp"
#include "moe/kernel/rows-inl.hpp"
#include "moe/kernel/slots-inl.hpp"
#include "moe/kernel/table-inl.hpp"
// clang-format on
