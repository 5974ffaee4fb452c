/* bench/peers/redis_server.h: a Redis of our own on a Unix socket in an empty directory; ended with
 * the process that started it. */
#pragma once

#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

typedef struct {
    pid_t pid; /* 0: none */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
} redis_server;

/* arguments: what stands behind the socket's and the directory's, ends with NULL. 0; -ENAMETOOLONG
 * (the socket's path), -errno. That it is not installed shows at redis_server_connect. */
int redis_server_start(redis_server *server, const char *directory, const char *const *arguments);
/* A connection, once it answers; it may still be starting. -ENOENT: there is no such program. */
int redis_server_connect(redis_server *server);
/* Killed, and waited for. */
void redis_server_end(redis_server *server);
