# The peers: always Eigen, the others where the distribution's packages are installed. Each is compiled
# with the flags that are best for it, which the library itself never needs.
include(CheckCXXCompilerFlag)
include(CheckCXXSymbolExists)
find_package(OpenMP COMPONENTS CXX)
check_cxx_compiler_flag(-march=native MOE_BENCH_HAVE_NATIVE)

# peer(<name> <source> [<library>...]): an object library in bench_peers.
add_library(bench_peers INTERFACE)
function(peer name source)
  add_library(bench_peer_${name} OBJECT ${CMAKE_CURRENT_SOURCE_DIR}/peers/${source}.cpp)
  target_compile_features(bench_peer_${name} PRIVATE cxx_std_17) # libtorch 1.13 is not C++20
  target_include_directories(bench_peer_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(bench_peer_${name} PRIVATE Eigen3::Eigen moe_dev_flags ${ARGN})
  if(OpenMP_CXX_FOUND)
    target_link_libraries(bench_peer_${name} PRIVATE OpenMP::OpenMP_CXX)
    target_link_libraries(bench_peers INTERFACE OpenMP::OpenMP_CXX)
  endif()
  target_link_libraries(bench_peers INTERFACE $<TARGET_OBJECTS:bench_peer_${name}> ${ARGN})
  message(STATUS "moe: bench peer ${name}")
endfunction()

# Eigen's functions differ by -m flags under one name; a namespace of their own keeps them apart.
function(peer_native name)
  if(MOE_BENCH_HAVE_NATIVE)
    # GCC 12 warns of its own AVX-512 headers.
    target_compile_options(bench_peer_${name}
                           PRIVATE -march=native $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized>
                                   $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
    target_compile_definitions(bench_peer_${name} PRIVATE Eigen=EigenNative)
  endif()
endfunction()

peer(eigen eigen)
target_compile_definitions(bench_peer_eigen PRIVATE MOE_BENCH_MAKE_EIGEN=make_eigen)
if(MOE_BENCH_HAVE_NATIVE)
  peer(eigen_native eigen)
  peer_native(eigen_native)
  target_compile_definitions(bench_peer_eigen_native
                             PRIVATE MOE_BENCH_MAKE_EIGEN=make_eigen_native)
  target_compile_definitions(bench_peers INTERFACE MOE_BENCH_NATIVE)
endif()

option(MOE_BENCH_PEERS "Bench: OpenBLAS, oneDNN and libtorch, where found, beside Eigen" ON)
if(NOT MOE_BENCH_PEERS)
  return()
endif()

find_package(OpenBLAS CONFIG QUIET)
if(OpenBLAS_FOUND)
  peer(openblas openblas ${OpenBLAS_LIBRARIES})
  peer_native(openblas)
  target_include_directories(bench_peer_openblas SYSTEM PRIVATE ${OpenBLAS_INCLUDE_DIRS})
  set(CMAKE_REQUIRED_INCLUDES ${OpenBLAS_INCLUDE_DIRS})
  set(CMAKE_REQUIRED_LIBRARIES ${OpenBLAS_LIBRARIES})
  check_cxx_symbol_exists(cblas_sbgemm cblas.h MOE_BENCH_HAVE_SBGEMM)
  set(bf16 $<BOOL:${MOE_BENCH_HAVE_SBGEMM}>)
  target_compile_definitions(bench_peer_openblas PRIVATE MOE_BENCH_OPENBLAS_BF16=${bf16})
  target_compile_definitions(bench_peers INTERFACE MOE_BENCH_OPENBLAS
                                                   MOE_BENCH_OPENBLAS_BF16=${bf16})
endif()

# By file: oneDNN's CMake package may insist on OpenCL, which its CPU engine does not need.
find_path(MOE_BENCH_DNNL_INCLUDE dnnl.hpp)
find_library(MOE_BENCH_DNNL_LIBRARY dnnl)
if(MOE_BENCH_DNNL_INCLUDE AND MOE_BENCH_DNNL_LIBRARY AND OpenMP_CXX_FOUND)
  peer(onednn onednn ${MOE_BENCH_DNNL_LIBRARY})
  peer_native(onednn)
  target_include_directories(bench_peer_onednn SYSTEM PRIVATE ${MOE_BENCH_DNNL_INCLUDE})
  target_compile_definitions(bench_peers INTERFACE MOE_BENCH_ONEDNN)
endif()

find_path(MOE_BENCH_TORCH_INCLUDE ATen/ATen.h)
find_library(MOE_BENCH_TORCH_LIBRARY torch_cpu)
find_library(MOE_BENCH_C10_LIBRARY c10)
if(MOE_BENCH_TORCH_INCLUDE AND MOE_BENCH_TORCH_LIBRARY AND MOE_BENCH_C10_LIBRARY)
  peer(torch torch ${MOE_BENCH_TORCH_LIBRARY} ${MOE_BENCH_C10_LIBRARY})
  target_include_directories(bench_peer_torch SYSTEM PRIVATE ${MOE_BENCH_TORCH_INCLUDE})
  target_compile_definitions(bench_peers INTERFACE MOE_BENCH_TORCH)
endif()
