/* tests/unit/io_case.c: see io_case.h. */
#include "tests/unit/io_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANG_NS (UINT64_C(60) * 1000000000)

static int open_backend(const char *backend, io_fault *fault, baton_sim *sim, baton_io **ret_io,
                        baton_error *error)
{
    baton_io_options options = {.ops_max = IO_CASE_OPS_MAX, .region_bytes = IO_CASE_REGION_BYTES};
    options.choice = strcmp(backend, "uring") == 0 ? BATON_IO_URING : BATON_IO_THREADS;
    if (strcmp(backend, "fault") == 0) {
        options.custom = io_fault_backend();
        options.custom_context = fault;
    }
    if (strcmp(backend, "sim") == 0) {
        options.custom = baton_sim_backend();
        options.custom_context = baton_sim_start(sim);
        options.clock = baton_sim_clock(sim);
    }
    return baton_io_open(&options, ret_io, error);
}

/* The test's directory, also there. */
static void make_directories(baton_io *io, const char *path)
{
    char part[TEST_PATH_BYTES];
    for (const char *end = strchr(path + 1, '/'); end != NULL; end = strchr(end + 1, '/')) {
        (void)snprintf(part, sizeof(part), "%.*s", (int)(end - path), path);
        assert_int_equal(baton_io_directory_make(io, part), 0);
    }
    assert_int_equal(baton_io_directory_make(io, path), 0);
}

int io_case_setup(void **state)
{
    const io_variant *variant = *state;
    io_case *test = calloc(1, sizeof(*test));
    baton_error error = {0};
    if (test == NULL)
        return -1;
    test->variant = variant;
    test->fault = strcmp(variant->backend, "fault") == 0 ? io_fault_new() : NULL;
    test->sim = strcmp(variant->backend, "sim") == 0 ? baton_sim_new(1) : NULL;
    test_dir_make(&test->dir, "io");
    *state = test;
    if (open_backend(variant->backend, test->fault, test->sim, &test->io, &error) != 0) {
        char text[1024];
        print_error("%s\n", baton_error_text(&error, text, sizeof(text)));
        return -1;
    }
    if (test->sim != NULL)
        make_directories(test->io, test->dir.path);
    return 0;
}

int io_case_teardown(void **state)
{
    io_case *test = *state;
    baton_io_close(test->io);
    io_fault_free(test->fault);
    baton_sim_free(test->sim);
    test_dir_remove(&test->dir);
    free(test);
    return 0;
}

baton_io_op *io_case_reap(io_case *test)
{
    baton_io_op *op;
    while ((op = baton_io_reap(test->io)) == NULL)
        assert_int_equal(baton_io_wait(test->io, HANG_NS), 0);
    return op;
}

int64_t io_case_do(io_case *test, baton_io_op *op)
{
    if (test->variant->route == ROUTE_RUN)
        return baton_io_run(test->io, op);
    assert_int_equal(baton_io_submit(test->io, op), 0);
    assert_int_equal(baton_io_enter(test->io), 0);
    assert_ptr_equal(io_case_reap(test), op);
    assert_int_equal(baton_io_in_flight(test->io), 0);
    return op->result;
}

baton_io_file io_case_open(io_case *test, const char *name, uint32_t open_flags)
{
    baton_io_op op = {
        .kind = BATON_IO_OPEN, .path = test_path(&test->dir, name), .open_flags = open_flags};
    const int64_t r = io_case_do(test, &op);
    assert_true(r >= 0);
    return (baton_io_file)r;
}

void *io_case_buffer(io_case *test, uint64_t bytes)
{
    void *buffer = baton_io_region_take(test->io, bytes);
    assert_non_null(buffer);
    return buffer;
}

void io_case_fill(void *buffer, uint64_t bytes, uint64_t seed)
{
    uint8_t *to = buffer;
    for (uint64_t i = 0; i < bytes; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        to[i] = (uint8_t)(seed >> 56);
    }
}

int io_case_each(const io_variant *variants, size_t count,
                 int (*run_group)(const io_variant *variant))
{
    int failed = 0;
    bool has_uring = true;
    baton_io *probe = NULL;
    baton_error error = {0};
    if (open_backend("uring", NULL, NULL, &probe, &error) != 0) {
        printf("skipped for io_uring: %s\n", error.why);
        has_uring = false;
    }
    baton_io_close(probe);
    for (size_t i = 0; i < count; i++) {
        if (!has_uring && strcmp(variants[i].backend, "uring") == 0)
            continue;
        printf("== %s, %s\n", variants[i].backend,
               variants[i].route == ROUTE_RUN ? "run" : "submit");
        failed += run_group(&variants[i]);
    }
    return failed;
}
