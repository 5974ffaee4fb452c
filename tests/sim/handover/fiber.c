/* tests/sim/handover/fiber.c: threads that give way only where they would wait. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "tests/sim/handover/handover_run.h"

#define STACK_BYTES (UINT64_C(1) << 20)

static sim_fiber fibers[FIBERS_MAX];
static sim_fiber *current;

sim_fiber *fiber_current(void)
{
    return current;
}

sim_life *life_current(void)
{
    return current != NULL ? current->life : NULL;
}

static void enter(void)
{
    sim_fiber *self = current;
    self->result = self->main(self->argument);
    self->finished = true;
    (void)setcontext(self->caller);
}

sim_fiber *fiber_start(sim_life *life, void *(*main)(void *), void *argument)
{
    sim_fiber *fiber = fibers;
    while (fiber < fibers + FIBERS_MAX && fiber->used)
        fiber++;
    baton_assert(fiber < fibers + FIBERS_MAX);
    void *stack = fiber->stack; /* of one before it */
    if (stack == NULL)
        stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    baton_assert(stack != MAP_FAILED);
    memset(fiber, 0, sizeof(*fiber));
    fiber->stack = stack;
    fiber->life = life;
    fiber->main = main;
    fiber->argument = argument;
    fiber->used = true;
    (void)getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = stack;
    fiber->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&fiber->context, enter, 0);
    return fiber;
}

void fiber_free(sim_fiber *fiber)
{
    fiber->used = false;
}

void fiber_resume(sim_fiber *fiber)
{
    ucontext_t here;
    sim_fiber *before = current;
    baton_assert(!fiber->finished);
    fiber->caller = &here;
    current = fiber;
    wrap_become(fiber->life->w->sim, fiber->life->process);
    (void)swapcontext(&here, &fiber->context);
    current = before;
    if (before != NULL)
        wrap_become(before->life->w->sim, before->life->process);
}

void fiber_wait(fiber_ready ready, void *context, uint64_t until_ns)
{
    sim_fiber *self = current;
    const int error = errno;
    baton_assert(self != NULL);
    if (life_is_dead(self->life))
        return;
    self->ready = ready;
    self->ready_context = context;
    self->until_ns = until_ns;
    (void)swapcontext(&self->context, self->caller);
    errno = error;
}

/* Of a dead process's thread, which asks again and again: until whoever joins it goes on. */
void fiber_rest(void)
{
    sim_fiber *self = current;
    if (self != self->life->main)
        (void)swapcontext(&self->context, self->caller);
}

void fiber_sleep(uint64_t ns)
{
    fiber_wait(NULL, NULL, world_now(current->life->w) + ns);
}

bool fiber_may_run(const sim_fiber *fiber)
{
    if (fiber->finished || life_is_stopped(fiber->life))
        return false;
    return world_now(fiber->life->w) >= fiber->until_ns ||
           (fiber->ready != NULL && fiber->ready(fiber->ready_context));
}

sim_fiber *fiber_at(uint32_t index)
{
    return fibers[index].used ? &fibers[index] : NULL;
}
