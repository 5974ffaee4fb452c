/* bench/case_callgrind.c: instructions per entry, counted by callgrind in a process of its own that
 * appends whole batches: the append alone, and all calls of the journal's interface, which adds the
 * batch's digest, the write and the acknowledgement. What the kernel does is not in it, and neither
 * is the vDSO's clock, which callgrind does not run. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/common.h"

#define ENTRIES UINT64_C(200000)

/* Collects inside the named functions only. */
static int run_callgrind(const bench_run *run, const char *out, const char *const *functions)
{
    char arguments[8][BENCH_PATH_BYTES];
    char program[BENCH_PATH_BYTES];
    char entries[32];
    char *argv[24];
    int count = 0;
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (length < 0)
        return -errno;
    program[length] = '\0';
    snprintf(entries, sizeof(entries), "%" PRIu64, ENTRIES);
    snprintf(arguments[0], sizeof(arguments[0]), "--callgrind-out-file=%s", out);
    argv[count++] = (char *)"valgrind";
    argv[count++] = (char *)"--tool=callgrind";
    argv[count++] = (char *)"-q";
    argv[count++] = arguments[0];
    for (int i = 0; functions[i] && i < 7; i++) {
        snprintf(arguments[i + 1], sizeof(arguments[0]), "--toggle-collect=%s", functions[i]);
        argv[count++] = arguments[i + 1];
    }
    argv[count++] = program;
    argv[count++] = (char *)"--dir";
    argv[count++] = (char *)run->options->directory;
    argv[count++] = (char *)"--io";
    argv[count++] = (char *)run->backend_name;
    argv[count++] = (char *)"--count";
    argv[count++] = entries;
    argv[count] = NULL;

    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        return -errno;
    if (child == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execvp(argv[0], argv);
        _exit(127);
    }
    int status;
    if (waitpid(child, &status, 0) != child)
        return -errno;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return -ENOENT;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

/* The file's "totals: N" line. */
static int read_total(const char *path, double *ret_total)
{
    char line[1024];
    FILE *file = fopen(path, "re");
    if (!file)
        return -errno;
    int r = -ENODATA;
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, "totals: ", 8) != 0 && strncmp(line, "summary: ", 9) != 0)
            continue;
        *ret_total = strtod(strchr(line, ' '), NULL);
        r = 0;
    }
    fclose(file);
    return r;
}

static int count(const bench_run *run, const char *bench_case, const char *const *functions)
{
    char out[BENCH_PATH_BYTES];
    double total = 0;
    snprintf(out, sizeof(out), "%s/callgrind.out", run->options->directory);
    int r = run_callgrind(run, out, functions);
    if (r == 0)
        r = read_total(out, &total);
    (void)unlink(out);
    if (r == 0)
        bench_plain(run, bench_case, "instructions_per_entry", "none", total / (double)ENTRIES);
    return r;
}

int bench_case_callgrind(const bench_run *run)
{
    static const char *const all[] = {"baton_journal_append", "baton_journal_poll",
                                      "baton_journal_wait", "baton_journal_flush", NULL};
    static const char *const append[] = {"baton_journal_append", NULL};
    if (run->backend != BATON_BACKEND_URING)
        return 0; /* the same code up to the backend, whose threads callgrind would run in turns */
    int r = count(run, "append_peak", all);
    if (r == 0)
        r = count(run, "append_call", append);
    if (r < 0) {
        bench_note(run->output, "instructions_per_entry: no row: %s",
                   r == -ENOENT ? "valgrind is not installed" : "callgrind could not run it");
        if (!run->output->human)
            fprintf(stderr, "baton: count instructions: %s: install valgrind for this row\n",
                    baton_status_text(r));
    }
    return 0;
}
