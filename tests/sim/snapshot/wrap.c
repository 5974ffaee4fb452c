/* tests/sim/snapshot/wrap.c: what the engine takes from the system beside the seam: the clock, and its
 * sleep in epoll. The linker sends both here (-Wl,--wrap). */
#include <errno.h>
#include <sys/types.h>

#include "engine/loop.h"
#include "tests/sim/snapshot/snapshot_run.h"

#define SLEEP_NS_MAX UINT64_C(400000)

const baton_clock *__real_baton_clock_system(void);
const baton_clock *__wrap_baton_clock_system(void);
int __wrap_baton_loop_turn(baton_loop *loop, uint64_t timeout_ns);
pid_t __wrap_fork(void);
pid_t __wrap_getpid(void);

static baton_sim *current;

void wrap_engine(baton_sim *sim)
{
    current = sim;
}

const baton_clock *__wrap_baton_clock_system(void)
{
    return current != NULL ? baton_sim_clock(current) : __real_baton_clock_system();
}

/* The turn that is woken looks at everything, so it need not be said what woke it. */
int __wrap_baton_loop_turn(baton_loop *loop, uint64_t timeout_ns)
{
    (void)loop;
    baton_sim_advance(current, timeout_ns < SLEEP_NS_MAX ? timeout_ns : SLEEP_NS_MAX);
    return 0;
}

/* A child would have a simulated disk of its own: as where there is no memory for one, the image is
 * taken by stopping. */
pid_t __wrap_fork(void)
{
    errno = EAGAIN;
    return -1;
}

/* As in a container: every process has the same number, in every run. It stands in names. */
pid_t __wrap_getpid(void)
{
    return 7;
}
