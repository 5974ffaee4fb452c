/* drain/batond/notify.c: see notify.h. */
#include "drain/batond/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <baton/log.h>

/* A path, or with '@' a name of the abstract namespace. */
static int connect_to(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t bytes = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || bytes >= sizeof(address.sun_path))
        return -EINVAL;
    memcpy(address.sun_path, name, bytes);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    const socklen_t address_bytes =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes + (name[0] == '/' ? 1 : 0));
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&address, address_bytes) < 0) {
        const int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static uint64_t watchdog_half_ns(void)
{
    const char *microseconds = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    char *rest;
    if (microseconds == NULL || microseconds[0] < '0' || microseconds[0] > '9')
        return 0;
    if (pid != NULL && strtoull(pid, NULL, 10) != (unsigned long long)getpid())
        return 0; /* meant for another process */
    errno = 0;
    const unsigned long long number = strtoull(microseconds, &rest, 10);
    return errno == 0 && *rest == '\0' && number < UINT64_MAX / 1000 ? number * 1000 / 2 : 0;
}

void batond_notify_init(batond_notify *notify)
{
    const char *name = getenv("NOTIFY_SOCKET");
    *notify = (batond_notify){.fd = -1};
    if (name != NULL && name[0] != '\0') {
        notify->fd = connect_to(name);
        if (notify->fd < 0)
            baton_log(WARN, "batond.notify", BATON_LOG_TEXT("why", strerror(-notify->fd)));
        else
            notify->watchdog_ns = watchdog_half_ns();
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void batond_notify_fini(batond_notify *notify)
{
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
}

/* Never waits: a supervisor that does not read misses a word. */
static void tell(const batond_notify *notify, const char *text)
{
    if (notify->fd >= 0)
        (void)!send(notify->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void batond_notify_ready(batond_notify *notify)
{
    tell(notify, "READY=1");
}

void batond_notify_stopping(batond_notify *notify)
{
    tell(notify, "STOPPING=1");
}

void batond_notify_status(batond_notify *notify, const char *status)
{
    char text[sizeof(notify->status) + sizeof("STATUS=")];
    if (notify->fd < 0 || strncmp(notify->status, status, sizeof(notify->status) - 1) == 0)
        return;
    snprintf(notify->status, sizeof(notify->status), "%s", status);
    for (char *c = notify->status; *c != '\0'; c++)
        if ((unsigned char)*c < ' ')
            *c = ' '; /* a newline would begin another assignment */
    snprintf(text, sizeof(text), "STATUS=%s", notify->status);
    tell(notify, text);
}

uint64_t batond_notify_step(batond_notify *notify, uint64_t now_ns)
{
    if (notify->watchdog_ns == 0)
        return UINT64_MAX;
    if (now_ns >= notify->watchdog_at_ns) {
        tell(notify, "WATCHDOG=1");
        notify->watchdog_at_ns = now_ns + notify->watchdog_ns;
    }
    return notify->watchdog_at_ns;
}
