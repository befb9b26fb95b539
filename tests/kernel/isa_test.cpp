// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
#include "moe/kernel/isa.hpp"

#include <cstdlib>
#include <string>

#include "support/catch.hpp"

namespace {

/// MOE_FORCE_ISA while it lives; what it was before, afterwards.
class ForcedIsa {
 public:
  explicit ForcedIsa(const char* name) {
    if (const char* now = std::getenv(kName)) before_ = now, was_set_ = true;
    setenv(kName, name, 1);
  }
  ForcedIsa(const ForcedIsa&) = delete;
  ForcedIsa& operator=(const ForcedIsa&) = delete;
  ~ForcedIsa() {
    if (was_set_)
      setenv(kName, before_.c_str(), 1);
    else
      unsetenv(kName);
  }

 private:
  static constexpr auto* kName = "MOE_FORCE_ISA";
  std::string before_;
  bool was_set_ = false;
};

}  // namespace

TEST_CASE("MOE_FORCE_ISA chooses any instruction set of this CPU, empty the best", "[kernel]") {
  for (moe::Isa isa : moe::available_isas()) {
    const ForcedIsa forced(std::string(moe::isa_name(isa)).c_str());
    CHECK(moe::detail::choose_isa() == isa);
  }
  const ForcedIsa forced("");
  CHECK(moe::detail::choose_isa() == moe::available_isas().back());
}

TEST_CASE("a mistyped MOE_FORCE_ISA is refused, not ignored", "[kernel][misuse]") {
  for (const char* name : {"avx521", "AVX2", "scalar ", "sse"}) {
    const ForcedIsa forced(name);
    try {
      moe::detail::choose_isa();
      FAIL("accepted " << name);
    } catch (const std::invalid_argument& error) {
      const std::string sentence = error.what();
      CHECK(sentence.find(std::string("MOE_FORCE_ISA is \"") + name +
                          "\", expected one of scalar") != std::string::npos);
      CHECK(sentence.find(moe::isa_name(moe::available_isas().back())) != std::string::npos);
    }
  }
  for (moe::Isa isa : moe::kAllIsas) {
    if (moe::isa_available(isa)) continue;
    const ForcedIsa forced(std::string(moe::isa_name(isa)).c_str());
    CHECK_THROWS_AS(moe::detail::choose_isa(), std::invalid_argument);
  }
}
