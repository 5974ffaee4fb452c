/* drain/last_resort.c: see last_resort.h. */
#include "drain/last_resort.h"

#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <baton/clock.h>
#include <baton/log.h>

/* Not by the log: the loop may hang in it, with its lock. And not at any price: stderr may be a
 * pipe that nobody empties. */
static void say(const char *step)
{
    char line[256];
    const int bytes = snprintf(line, sizeof(line),
                               "baton: drain: it hangs in step '%s', past its deadline: look for a "
                               "disk that hangs; nothing acknowledged is lost, the next start "
                               "recovers it\n",
                               step);
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&fd, 1, 0) == 1 && (fd.revents & POLLOUT) != 0)
        (void)!write(STDERR_FILENO, line, (size_t)bytes);
}

static void *wait_for_the_end(void *context)
{
    baton_last_resort *resort = context;
    const struct timespec until = {.tv_sec = (time_t)(resort->until_ns / 1000000000),
                                   .tv_nsec = (long)(resort->until_ns % 1000000000)};
    int r = 0;
    pthread_mutex_lock(&resort->mutex);
    while (!resort->is_over && r == 0)
        r = pthread_cond_timedwait(&resort->over, &resort->mutex, &until);
    if (!resort->is_over) {
        say(resort->step);
        _exit(1);
    }
    pthread_mutex_unlock(&resort->mutex);
    return NULL;
}

void baton_last_resort_arm(baton_last_resort *resort, uint64_t deadline_ns, const char *step)
{
    const uint64_t now_ns = baton_clock_monotonic_ns(baton_clock_system());
    pthread_condattr_t attributes;
    *resort = (baton_last_resort){.step = step};
    if (__builtin_add_overflow(now_ns, deadline_ns, &resort->until_ns) ||
        __builtin_add_overflow(resort->until_ns, BATON_LAST_RESORT_NS, &resort->until_ns))
        return; /* no deadline to speak of */
    pthread_mutex_init(&resort->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&resort->over, &attributes);
    pthread_condattr_destroy(&attributes);
    resort->armed = pthread_create(&resort->thread, NULL, wait_for_the_end, resort) == 0;
    if (!resort->armed)
        baton_log(WARN, "drain.no_last_resort", BATON_LOG_TEXT("why", "no thread could be made"));
}

void baton_last_resort_reached(baton_last_resort *resort, const char *step)
{
    if (!resort->armed)
        return;
    pthread_mutex_lock(&resort->mutex);
    resort->step = step;
    pthread_mutex_unlock(&resort->mutex);
}

void baton_last_resort_disarm(baton_last_resort *resort)
{
    if (!resort->armed)
        return;
    pthread_mutex_lock(&resort->mutex);
    resort->is_over = true;
    pthread_cond_signal(&resort->over);
    pthread_mutex_unlock(&resort->mutex);
    pthread_join(resort->thread, NULL);
    resort->armed = false;
}
