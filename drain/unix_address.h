/* drain/unix_address.h: who is at the other end of a Unix socket. */
#pragma once

#include <stdbool.h>

/* Is it root, or the user of this process? Anybody who can reach a socket's path can connect; only those two are
 * listened to. */
bool baton_unix_may_talk(int fd);
