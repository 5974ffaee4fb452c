/* bench/snapshot_common.c: see snapshot_bench.h. */
#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

#include "bench/snapshot_bench.h"

#define REPORT_FD 3 /* of a child */

extern char **environ;

_Noreturn void snap_die(const char *what, int status, const baton_error *error)
{
    char text[1024];
    fprintf(stderr, "baton: %s: %s\n", what,
            error != NULL && error->status != 0 ? baton_error_text(error, text, sizeof(text))
            : status != 0                       ? baton_status_text(status)
                                                : strerror(errno));
    exit(1);
}

void snap_print(const snap_run *run, const bench_row *row, double reference_again)
{
    char name[64];
    bench_row all = *row;
    snprintf(name, sizeof(name), "%s%s", row->bench_case, run->suffix);
    all.suite = SNAP_SUITE;
    all.bench_case = name;
    all.backend = run->backend_name;
    if (reference_again > 0)
        all.spread = row->reference_value / reference_again;
    bench_print_row(run->output, &all);
    if (reference_again <= 0)
        return;
    all.value = row->reference_value;
    all.reference = "raw again";
    all.reference_value = reference_again;
    bench_print_row(run->output, &all);
}

static int by_value(const void *a, const void *b)
{
    const double left = *(const double *)a;
    const double right = *(const double *)b;
    return (left > right) - (left < right);
}

double snap_median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), by_value);
    return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* ---- processes ---- */

/* By posix_spawn: a fork would copy the page tables of what this process holds. */
pid_t snap_spawn(const snap_run *run, const char *child, const char *directory, uint64_t entries,
                 int *ret_fd)
{
    char mib[32];
    char entries_text[32];
    int pipe_fds[2];
    pid_t pid;
    posix_spawn_file_actions_t actions;
    snprintf(mib, sizeof(mib), "%" PRIu64, run->bytes / BENCH_MIB);
    snprintf(entries_text, sizeof(entries_text), "%" PRIu64, entries);
    const char *const arguments[] = {
        "snapshot-bench",  "--child", child, "--dir",     directory,    "--io",
        run->backend_name, "--mib",   mib,   "--entries", entries_text, NULL};
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        snap_die("pipe", 0, NULL);
    int r = posix_spawn_file_actions_init(&actions);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], REPORT_FD);
    if (r == 0)
        r = posix_spawn(&pid, "/proc/self/exe", &actions, NULL, (char *const *)(void *)arguments,
                        environ);
    if (r != 0)
        snap_die("start a process", -r, NULL);
    posix_spawn_file_actions_destroy(&actions);
    close(pipe_fds[1]);
    *ret_fd = pipe_fds[0];
    return pid;
}

void snap_hear(int fd, void *bytes, size_t bytes_count)
{
    uint8_t *to = bytes;
    while (bytes_count > 0) {
        const ssize_t got = read(fd, to, bytes_count);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            snap_die("a process of the bench ended without its report", -EPIPE, NULL);
        to += got;
        bytes_count -= (size_t)got;
    }
}

void snap_join(pid_t pid, int fd)
{
    int status;
    close(fd);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        snap_die("a process of the bench failed", -ECHILD, NULL);
}

void snap_tell(const void *bytes, size_t bytes_count)
{
    const uint8_t *from = bytes;
    while (bytes_count > 0) {
        const ssize_t put = write(REPORT_FD, from, bytes_count);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            snap_die("report", 0, NULL);
        from += put;
        bytes_count -= (size_t)put;
    }
}
