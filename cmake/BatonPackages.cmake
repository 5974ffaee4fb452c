# The libraries we build on, all in Debian 12; scripts/setup installs them.
find_package(PkgConfig REQUIRED)

function(baton_package name module)
    pkg_check_modules(${name} IMPORTED_TARGET GLOBAL ${module})
    if(NOT ${name}_FOUND)
        message(FATAL_ERROR "${module} is missing: run scripts/setup")
    endif()
endfunction()

baton_package(LIBURING liburing)
baton_package(LZ4 liblz4)
baton_package(XXHASH libxxhash)
baton_package(MSGPACK msgpack)
baton_package(JANSSON jansson)
baton_package(GNUTLS gnutls) # between instances on two hosts
baton_package(CRYPTO libcrypto) # the baton command only: checksums of exported snapshots
baton_package(MICROHTTPD libmicrohttpd) # batond, and the gateway of examples/exchange
baton_package(SQLITE sqlite3) # settlement of the reference exchange only
baton_package(HIREDIS hiredis) # risk-mirror of the reference exchange only
# In our programs only, never forced on a user of the library, and not under sanitizers: they bring their own malloc.
baton_package(JEMALLOC jemalloc)
if(BATON_TESTS)
    baton_package(CMOCKA cmocka)
endif()
