# Install rules of the library: both kinds, the headers, baton.pc and a CMake package. Included by baton_library().
include(CMakePackageConfigHelpers)

install(TARGETS baton_shared baton_static EXPORT baton-targets
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(FILES ${headers} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/baton")

# baton.pc finds its prefix from its own place, so that an installed tree can be moved.
file(RELATIVE_PATH BATON_PC_PREFIX
    "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
string(REGEX REPLACE "/$" "" BATON_PC_PREFIX "${BATON_PC_PREFIX}")
configure_file(cmake/baton.pc.in "${PROJECT_BINARY_DIR}/baton.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/baton.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/baton")
configure_package_config_file(cmake/batonConfig.cmake.in "${PROJECT_BINARY_DIR}/batonConfig.cmake"
    INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/batonConfigVersion.cmake"
    VERSION "${PROJECT_VERSION}" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/batonConfig.cmake" "${PROJECT_BINARY_DIR}/batonConfigVersion.cmake"
    DESTINATION "${package_dir}")
install(EXPORT baton-targets NAMESPACE baton:: DESTINATION "${package_dir}")
