// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include <moe/io.hpp>

// Builds with what the package says about moe/io alone; a file that is not there is an exception.
int main() {
  try {
    moe::SafeTensors file("not there");
  } catch (const moe::FileError&) {
    return 0;
  }
  return 1;
}
