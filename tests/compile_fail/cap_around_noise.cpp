// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// A logit cap does not go around noise: the load estimator compares clean with noisy logits.
// expect: expected the noise around the cap
#include "moe/router/learned_noise.hpp"
#include "moe/router/linear.hpp"
#include "moe/router/logit_cap.hpp"

#if MOE_SHOULD_COMPILE
using Router = moe::LearnedNoise<moe::LogitCap<moe::LinearRouter<float>>>;
#else
using Router = moe::LogitCap<moe::LearnedNoise<moe::LinearRouter<float>>>;
#endif

Router router;
