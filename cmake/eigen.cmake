# Provides Eigen3::Eigen: the target of the surrounding project, else the installed package, else,
# only with MOE_FETCH_DEPS, a download. The version is compared here because Eigen's own version
# file refuses a request for another major version, and both 3.3 and 5 will do.
if(NOT TARGET Eigen3::Eigen)
  find_package(Eigen3 CONFIG QUIET)
  if(TARGET Eigen3::Eigen AND Eigen3_VERSION VERSION_LESS 3.3)
    message(FATAL_ERROR "moe: found Eigen ${Eigen3_VERSION} in ${Eigen3_DIR}, need 3.3 or newer")
  endif()
endif()

if(NOT TARGET Eigen3::Eigen AND MOE_FETCH_DEPS)
  include(FetchContent)
  set(EIGEN_BUILD_TESTING OFF)
  set(EIGEN_BUILD_DOC OFF)
  FetchContent_Declare(
    Eigen3
    GIT_REPOSITORY https://gitlab.com/libeigen/eigen.git
    GIT_TAG 3.4.0
    GIT_SHALLOW ON)
  FetchContent_MakeAvailable(Eigen3)
endif()

if(NOT TARGET Eigen3::Eigen)
  message(FATAL_ERROR "moe: Eigen 3.3 or newer not found. Install it (Debian, Ubuntu: "
                      "libeigen3-dev; Homebrew: eigen) or configure with -DMOE_FETCH_DEPS=ON")
endif()
