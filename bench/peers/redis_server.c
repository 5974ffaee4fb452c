/* bench/peers/redis_server.c: see redis_server.h. */
#include "bench/peers/redis_server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 32, TRIES_MAX = 60000, TRY_NS = 1000000 };

static _Noreturn void become(const char *directory, const char *const *arguments)
{
    const char *all[ARGUMENTS_MAX] = {"redis-server", "--port", "0", "--unixsocket",
                                      "redis.sock",   "--dir",  ".", "--daemonize",
                                      "no",           "--save", ""};
    size_t count = 11;
    while (*arguments && count < ARGUMENTS_MAX - 1)
        all[count++] = *arguments++;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    if (chdir(directory) < 0)
        _exit(127);
    execvp("redis-server", (char *const *)(void *)all);
    /* The same program by its name in redis-tools, which brings no daemon. */
    execv("/usr/bin/redis-check-rdb", (char *const *)(void *)all);
    _exit(127);
}

int redis_server_start(redis_server *server, const char *directory, const char *const *arguments)
{
    *server = (redis_server){0};
    int length = snprintf(server->path, sizeof(server->path), "%s/redis.sock", directory);
    if (length < 0 || (size_t)length >= sizeof(server->path))
        return -ENAMETOOLONG;
    (void)unlink(server->path); /* of one that was killed */
    pid_t parent = getpid();
    fflush(NULL);
    server->pid = fork();
    if (server->pid < 0) {
        server->pid = 0;
        return -errno;
    }
    if (server->pid > 0)
        return 0;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    become(directory, arguments);
}

static int connect_once(const redis_server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, server->path, sizeof(address.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

int redis_server_connect(redis_server *server)
{
    int fd = -ENOENT;
    for (uint32_t tries = 0; tries < TRIES_MAX; tries++) {
        fd = connect_once(server);
        if (fd >= 0)
            return fd;
        int status;
        if (waitpid(server->pid, &status, WNOHANG) == server->pid) {
            server->pid = 0;
            return WIFEXITED(status) && WEXITSTATUS(status) == 127 ? -ENOENT : -EIO;
        }
        const struct timespec nap = {.tv_nsec = TRY_NS};
        (void)nanosleep(&nap, NULL);
    }
    return fd;
}

void redis_server_end(redis_server *server)
{
    if (server->pid > 0) {
        kill(server->pid, SIGKILL);
        (void)waitpid(server->pid, NULL, 0);
    }
    server->pid = 0;
}
