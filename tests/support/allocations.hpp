// SPDX-FileCopyrightText: 2026 the moe authors
// SPDX-License-Identifier: MIT
//
// Counts every allocation of the program, of any thread: malloc itself is replaced, under which lie
// operator new in all its forms and Eigen's own allocator. Include in one file of a program only.
#pragma once

#include <Eigen/Core>  // first: what it includes declares some of these functions again
#include <atomic>
#include <cstdlib>

// GCC is asked first, since Eigen defines __has_feature as 0 for it.
#if defined(__SANITIZE_ADDRESS__)
#define MOE_TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MOE_TEST_ASAN 1
#endif
#endif

namespace moe_test {

inline std::atomic<long> allocations{0};

/// Allocations while f runs.
template <class F>
long allocations_in(F&& f) {
  const long before = allocations.load();
  f();
  return allocations.load() - before;
}

}  // namespace moe_test

#if defined(MOE_TEST_ASAN)

// The sanitizer has replaced malloc already, and tells of each call.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*,
                                                                  std::size_t),
                                                         void (*)(const volatile void*));
namespace moe_test {
inline const int hooks_installed = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void*, std::size_t) { ++allocations; }, [](const volatile void*) {});
}  // namespace moe_test
#define MOE_TEST_COUNTS_ALLOCATIONS 1

#elif defined(__GLIBC__)

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t size) noexcept {
  ++moe_test::allocations;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
  ++moe_test::allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* old, std::size_t size) noexcept {
  ++moe_test::allocations;
  return __libc_realloc(old, size);
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  ++moe_test::allocations;
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  return memalign(alignment, size);
}
int posix_memalign(void** out, std::size_t alignment, std::size_t size) noexcept {
  *out = memalign(alignment, size);
  return *out == nullptr ? 12 /* ENOMEM */ : 0;
}
}
#define MOE_TEST_COUNTS_ALLOCATIONS 1

#else
#define MOE_TEST_COUNTS_ALLOCATIONS 0  // no way in that is known; the tests then say so
#endif
