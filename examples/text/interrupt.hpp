// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Ctrl-C as a question that a training loop asks between two steps.
#pragma once

#include <csignal>

namespace text {

namespace detail {
inline volatile std::sig_atomic_t interrupted = 0;

/// The second Ctrl-C finds the default handler and ends the program at once.
extern "C" inline void on_interrupt(int) {
  interrupted = 1;
  std::signal(SIGINT, SIG_DFL);
}
}  // namespace detail

/// From now on the first Ctrl-C only makes interrupted() true.
inline void catch_interrupt() { std::signal(SIGINT, detail::on_interrupt); }

inline bool interrupted() { return detail::interrupted != 0; }

}  // namespace text
