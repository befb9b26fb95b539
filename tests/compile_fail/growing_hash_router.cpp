// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A hash table names the experts: they cannot come and go under it.
// expect: experts cannot be added, removed or merged under this router
#include <moe/layer/moe_layer.hpp>
#include <moe/router/hash.hpp>
#include <moe/train/grow.hpp>

#if MOE_SHOULD_COMPILE
using Router = moe::LinearRouter<float>;
#else
using Router = moe::HashRouter<moe::LinearRouter<float> >;
#endif

void grow(moe::MoeLayer<float, Router>& layer) { moe::add_expert(layer); }
