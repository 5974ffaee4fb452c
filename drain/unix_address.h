/* drain/unix_address.h: Unix sockets by their paths, which may be longer than the 107 bytes that an address of
 * one holds, and who is at the other end of one. */
#pragma once

#include <stdbool.h>

#include <baton/status.h>

/* bind and connect, of a path of at most 4095 bytes. 0, -errno; -ENAMETOOLONG: also of a name in its directory
 * that is too long. */
BATON_MUST_USE int baton_unix_bind(int fd, const char *path);
BATON_MUST_USE int baton_unix_connect(int fd, const char *path);
/* Is it root, or the user of this process? Anybody who can reach a socket's path can connect; only those two are
 * listened to. */
bool baton_unix_may_talk(int fd);
