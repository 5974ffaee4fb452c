/* tests/unit/io_case.h: one test body over every backend of the seam, by both of its routes. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/io.h"
#include "base/io_sim.h"
#include "tests/support/io_fault.h"
#include "tests/support/test_dir.h"

typedef enum { ROUTE_RUN, ROUTE_SUBMIT } io_route;

typedef struct {
    const char *backend; /* "uring", "threads", "fault", "sim" */
    io_route route;
} io_variant;

typedef struct {
    const io_variant *variant;
    baton_io *io;
    io_fault *fault; /* of the fault backend */
    baton_sim *sim;  /* of the simulated machine: files are numbers to nobody else */
    test_dir dir;
} io_case;

#define IO_CASE_OPS_MAX      64u
#define IO_CASE_REGION_BYTES (UINT64_C(4) << 20)

/* Opens the variant in *state as an io_case with a directory of its own. */
int io_case_setup(void **state);
int io_case_teardown(void **state);
#define IO_CASE_TEST(test, variant)                                                                \
    cmocka_unit_test_prestate_setup_teardown(test, io_case_setup, io_case_teardown,                \
                                             (void *)(uintptr_t)(variant))

/* Does the operation by the variant's route. */
int64_t io_case_do(io_case *test, baton_io_op *op);
/* Waits, a minute at most, and reaps one; never NULL. */
baton_io_op *io_case_reap(io_case *test);
baton_io_file io_case_open(io_case *test, const char *name, uint32_t open_flags);
/* From the region, never NULL. */
void *io_case_buffer(io_case *test, uint64_t bytes);
void io_case_fill(void *buffer, uint64_t bytes, uint64_t seed);

/* Runs run_group for each variant; io_uring's are left out, saying so, where the system denies
 * it. */
int io_case_each(const io_variant *variants, size_t count,
                 int (*run_group)(const io_variant *variant));
