// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// The second translation unit: whatever a header defines without `inline` collides at link time.
#include <moe/moe.hpp>

float sum(moe::MatrixView<const float> x) { return x.eigen().sum(); }
