/* drain/batond/notify.h: what systemd is told (sd_notify), by the datagrams themselves. Where nobody
 * asked for it ($NOTIFY_SOCKET), all of it does nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int fd;               /* -1: nobody listens */
    uint64_t watchdog_ns; /* 0: not asked for; else half of what was */
    uint64_t watchdog_at_ns;
    char status[160]; /* told last */
} batond_notify;

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and removes them from the environment. */
void batond_notify_init(batond_notify *notify);
void batond_notify_fini(batond_notify *notify);
void batond_notify_ready(batond_notify *notify);
void batond_notify_stopping(batond_notify *notify);
/* Told when it differs from what was told last. One line. */
void batond_notify_status(batond_notify *notify, const char *status);
/* The watchdog, when it is due. Returns when it is next; UINT64_MAX: never. */
uint64_t batond_notify_step(batond_notify *notify, uint64_t now_ns);
