# Flags for this project's own programs; never exported.
add_library(moe_dev_flags INTERFACE)

if(MSVC)
  target_compile_options(moe_dev_flags INTERFACE /W4 $<$<BOOL:${MOE_WERROR}>:/WX>)
else()
  target_compile_options(moe_dev_flags INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow
                                                 $<$<BOOL:${MOE_WERROR}>:-Werror>)
endif()

# Our warnings are not meant for Eigen, wherever it comes from.
target_include_directories(
  moe_dev_flags SYSTEM
  INTERFACE $<TARGET_PROPERTY:Eigen3::Eigen,INTERFACE_INCLUDE_DIRECTORIES>)

if(MOE_SANITIZE)
  list(JOIN MOE_SANITIZE "," sanitizers)
  set(sanitize_flags -fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  # GCC's check for uninitialised values is wrong about instrumented code.
  target_compile_options(moe_dev_flags INTERFACE ${sanitize_flags} -g1
                                                 $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_options(moe_dev_flags INTERFACE ${sanitize_flags})
  target_compile_definitions(moe_dev_flags INTERFACE MOE_DEBUG)  # MOE_ASSERT on
endif()
