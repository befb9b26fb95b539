# Installs the headers, the CMake package (find_package(moe)) and moe.pc. Header-only: everything
# is the same for every architecture.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_DATADIR}/cmake/moe)

install(DIRECTORY include/moe DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS moe EXPORT moeTargets)
install(EXPORT moeTargets NAMESPACE moe:: DESTINATION ${package_dir})

configure_package_config_file(cmake/moeConfig.cmake.in moeConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(moeConfigVersion.cmake COMPATIBILITY SameMinorVersion
                                                        ARCH_INDEPENDENT)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/moeConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/moeConfigVersion.cmake DESTINATION ${package_dir})

configure_file(cmake/moe.pc.in moe.pc @ONLY)
configure_file(cmake/moe-io.pc.in moe-io.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/moe.pc ${CMAKE_CURRENT_BINARY_DIR}/moe-io.pc
        DESTINATION ${CMAKE_INSTALL_DATADIR}/pkgconfig)
