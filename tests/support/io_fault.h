/* tests/support/io_fault.h: a backend for baton_io that fails on purpose, always in the same way.
 *
 *     io_fault *fault = io_fault_new();
 *     baton_io_options options = {.custom = io_fault_backend(), .custom_context = fault};
 *     ... baton_io_open(&options, ...), baton_io_close(...) ...
 *     io_fault_free(fault);
 *
 * No threads: real files, plain system calls. An operation that was entered waits until reap or
 * wait picks it; then it is done at once, so the order of completion is the order in which bytes
 * land. Blocking calls are done where they stand. One fault serves one open baton_io at a time, and
 * may serve several one after the other: the counts go on.
 *
 * Numbers: operations are numbered from 1 in the order in which they are done, blocking ones and
 * directory_make included. CLOSE has no number, always works and is never held. Looking (file_size,
 * directory_list, locks, maps, probe_directory) has no number either, and fails with -EIO after a
 * crash. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/io_backend.h"

typedef struct io_fault io_fault;

io_fault *io_fault_new(void); /* never NULL */
void io_fault_free(io_fault *fault);
const baton_io_backend *io_fault_backend(void);

/* ---- what was done ---- */

uint64_t io_fault_count(const io_fault *fault); /* numbered operations so far */
uint64_t io_fault_count_kind(const io_fault *fault, baton_io_kind kind);

/* ---- failing ---- */

#define IO_FAULT_ANY_KIND BATON_IO_KINDS

/* Operation n (its number in the whole run) is not done and gives -error. One rule at a time; n 0
 * takes it back. */
void io_fault_fail(io_fault *fault, uint64_t n, int error);
/* The n-th operation of this kind from now on, counted from 1, is not done and gives -error. One
 * rule; n 0: none. */
void io_fault_fail_kind(io_fault *fault, baton_io_kind kind, uint64_t n, int error);
/* Every operation of this kind (or IO_FAULT_ANY_KIND) gives -error until it is called again with
 * error 0. One rule. */
void io_fault_fail_all(io_fault *fault, baton_io_kind kind, int error);
/* Operation n, a write, lands only its first `bytes` bytes and gives -EIO. With
 * io_fault_crash_after(n): a torn write at power loss. Ignored when it is no write. n 0: none. */
void io_fault_tear(io_fault *fault, uint64_t n, uint64_t bytes);
/* After operation n nothing is done any more: every later one gives -EIO. n 0 crashes before the
 * first; UINT64_MAX (the default): never. */
void io_fault_crash_after(io_fault *fault, uint64_t n);
bool io_fault_crashed(const io_fault *fault);

/* Asked before each numbered operation, after the rules above: 0 lets it be done, -errno fails it
 * undone. op is NULL for directory_make. NULL takes it back. */
typedef int (*io_fault_decide)(void *context, uint64_t n, const baton_io_op *op);
void io_fault_set_decide(io_fault *fault, io_fault_decide decide, void *context);

/* ---- order of completion (submitted operations only, blocking ones are done at once) ---- */

typedef enum { IO_FAULT_FIFO, IO_FAULT_REVERSED, IO_FAULT_RANDOM } io_fault_order;

/* Which of the operations in flight is done next. The seed is used by RANDOM. */
void io_fault_set_order(io_fault *fault, io_fault_order order, uint64_t seed);
/* reap gives nothing until this many are in flight, unless a wait asked for one: lets operations of
 * several turns of a polling loop gather, so that the order has something to choose from. 0 and 1:
 * no gathering. */
void io_fault_set_gather(io_fault *fault, uint32_t depth);
/* Operations of this kind stay in flight, undone, until released. A wait that finds nothing but
 * held ones returns BATON_E_TIMEOUT at once if it has a limit, and releases the oldest if it has
 * none (it could only hang). */
void io_fault_hold(io_fault *fault, baton_io_kind kind, bool hold);
uint32_t io_fault_held(const io_fault *fault); /* entered and held now */
/* Let the held one at this index (0 is the oldest) be done at the next reap. */
void io_fault_release(io_fault *fault, uint32_t index);
/* Releases all; the kinds stay held for operations to come. */
void io_fault_release_all(io_fault *fault);
