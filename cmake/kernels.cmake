# The kernels take longer to compile than all else: this project's own programs only declare them, and
# link this object, with the -O2 that users have. Programs link moe_kernels; others need nothing of it.
add_library(moe_kernels_object OBJECT ${CMAKE_CURRENT_LIST_DIR}/kernels.cpp)
target_link_libraries(moe_kernels_object PRIVATE moe::moe moe_dev_flags)
target_compile_options(moe_kernels_object
                       PRIVATE $<$<AND:$<CONFIG:Release>,$<CXX_COMPILER_ID:GNU,Clang>>:-O2>)
add_library(moe_kernels INTERFACE)
target_compile_definitions(moe_kernels INTERFACE MOE_EXTERN_KERNELS)
target_sources(moe_kernels INTERFACE $<TARGET_OBJECTS:moe_kernels_object>)
