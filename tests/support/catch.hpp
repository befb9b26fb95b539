// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Catch2 under one spelling for versions 2 and 3: all macros, and at global scope Approx and the
// string matchers ContainsSubstring, StartsWith and EndsWith.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)

#include <catch2/catch_all.hpp>
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

#else

#include <catch2/catch.hpp>  // declares Approx at global scope itself
#include <string>
inline auto ContainsSubstring(const std::string& text) { return Catch::Matchers::Contains(text); }

#endif

using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;
