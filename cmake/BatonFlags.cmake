# Compiler flags, as one interface target that every target of the tree links: flags sit on targets.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # gnu17
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

# baton_assert stays on in release, and so does assert() in the tests: no NDEBUG.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-O0 -g")

find_package(Threads REQUIRED)

add_library(baton_flags INTERFACE)
target_compile_definitions(baton_flags INTERFACE _GNU_SOURCE)
target_compile_options(baton_flags INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wswitch-enum -Wmissing-prototypes -Wvla
    # What gcc alone knows is no fault of clang's, nor is baton_assert(!"a text").
    "$<$<C_COMPILER_ID:Clang>:-Wno-unknown-warning-option;-Wno-string-conversion>"
    -Wno-format-truncation # texts for people are cut to their field on purpose
    -fno-strict-aliasing # headers are viewed through wire types
    "-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=" # __FILE__ from the top of the tree
    -fno-omit-frame-pointer
    -fno-semantic-interposition)
target_link_libraries(baton_flags INTERFACE Threads::Threads)
if(BATON_WERROR)
    target_compile_options(baton_flags INTERFACE -Werror)
endif()

if(BATON_SANITIZE STREQUAL "address")
    set(BATON_SANITIZE_FLAGS -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(BATON_SANITIZE STREQUAL "thread")
    set(BATON_SANITIZE_FLAGS -fsanitize=thread)
elseif(BATON_SANITIZE)
    message(FATAL_ERROR "BATON_SANITIZE=${BATON_SANITIZE}: neither address nor thread")
endif()
if(BATON_FUZZ AND CMAKE_C_COMPILER_ID MATCHES "Clang")
    # Everything is instrumented; only the fuzz targets link libFuzzer's main.
    list(APPEND BATON_SANITIZE_FLAGS -fsanitize=fuzzer-no-link,address,undefined)
endif()
if(BATON_SANITIZE_FLAGS)
    # gcc's flow analysis gives false alarms about instrumented code; release judges it.
    target_compile_options(baton_flags INTERFACE ${BATON_SANITIZE_FLAGS} -Wno-maybe-uninitialized)
    target_link_options(baton_flags INTERFACE ${BATON_SANITIZE_FLAGS})
endif()
if(BATON_COVERAGE)
    target_compile_options(baton_flags INTERFACE --coverage)
    target_link_options(baton_flags INTERFACE --coverage)
endif()
