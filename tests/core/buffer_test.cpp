// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/core/buffer.hpp"

#include "support/catch.hpp"

namespace moe_test {

TEST_CASE("a buffer is aligned to 64 bytes and keeps its memory while it is large enough",
          "[core]") {
  moe::Buffer<float> buffer;
  CHECK(buffer.size() == 0);
  buffer.resize(100);
  const float* const first = buffer.data();
  CHECK(reinterpret_cast<std::uintptr_t>(first) % 64 == 0);
  CHECK(buffer.size() == 100);
  buffer.resize(3);
  CHECK(buffer.size() == 3);
  buffer.resize(100);
  CHECK(buffer.data() == first);
  CHECK(buffer.capacity() == 100);
  buffer.resize(101);
  CHECK(buffer.capacity() >= 101);
  CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
}

TEST_CASE("a buffer can be shaped as a matrix and filled", "[core]") {
  moe::Buffer<double> buffer;
  const moe::MatrixView<double> m = buffer.resize(3, 4);
  CHECK(m.rows() == 3);
  CHECK(m.cols() == 4);
  CHECK(m.data() == buffer.data());
  buffer.fill(7);
  CHECK((m.eigen().array() == 7).all());
  buffer[5] = 1;
  CHECK(m(1, 1) == 1);
}

TEST_CASE("a buffer of nothing is fine", "[core]") {
  moe::Buffer<double> buffer;
  CHECK(buffer.resize(0).empty());
  CHECK(buffer.resize(0, 5).rows() == 0);
  buffer.fill(1);
  CHECK(buffer.capacity() == 0);
}

TEST_CASE("a buffer that was moved from starts afresh", "[core]") {
  moe::Buffer<int> buffer;
  buffer.resize(10);
  buffer.fill(3);
  moe::Buffer<int> taken = std::move(buffer);
  CHECK(taken.size() == 10);
  CHECK(taken[9] == 3);
  CHECK(buffer.size() == 0);      // NOLINT(bugprone-use-after-move): the point
  CHECK(buffer.capacity() == 0);  // or the next resize would hand out no memory
  buffer.resize(4);
  REQUIRE(buffer.data() != nullptr);
  buffer.fill(1);
  buffer = std::move(taken);
  CHECK(buffer.size() == 10);
  CHECK(buffer[0] == 3);
  CHECK(taken.capacity() == 0);
}

}  // namespace moe_test
