/* bench/sizes.c: see sizes.h. */
#include "bench/sizes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "bench/common.h"

int bench_sizes_add(bench_sizes *sizes, const char *text, bench_size_limits limits)
{
    char *end;
    const uint64_t mib = strtoull(text, &end, 10);
    uint32_t at = sizes->count;
    if (*end != '\0' || mib < limits.least_mib || mib > limits.most_mib || at == BENCH_SIZES_MAX)
        return -EINVAL;
    for (; at > 0 && sizes->mib[at - 1] > mib; at--)
        sizes->mib[at] = sizes->mib[at - 1];
    sizes->mib[at] = mib;
    sizes->count++;
    return 0;
}

void bench_sizes_default(bench_sizes *sizes, const uint64_t mib[3], bool quick)
{
    if (sizes->count > 0)
        return;
    sizes->count = quick ? 1 : 3;
    memcpy(sizes->mib, mib, 3 * sizeof(*mib));
}

void bench_size_suffix(const bench_sizes *sizes, uint32_t index,
                       char ret_suffix[BENCH_SUFFIX_BYTES])
{
    const uint64_t mib = sizes->mib[index];
    ret_suffix[0] = '\0';
    if (index + 1 == sizes->count)
        return;
    if (mib % 1024 == 0)
        snprintf(ret_suffix, BENCH_SUFFIX_BYTES, "_%" PRIu64 "g", mib / 1024);
    else
        snprintf(ret_suffix, BENCH_SUFFIX_BYTES, "_%" PRIu64 "m", mib);
}

/* ---- room ---- */

static int free_memory(double *ret_bytes)
{
    char line[256];
    double kib = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    if (file == NULL)
        return -errno;
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "MemAvailable: %lf", &kib) == 1)
            break;
    fclose(file);
    *ret_bytes = kib * 1024;
    return 0;
}

int bench_fits(const bench_output *output, const bench_room *room, uint64_t mib)
{
    struct statvfs disk;
    double memory_bytes = 0;
    const int r = free_memory(&memory_bytes);
    if (r < 0)
        return r;
    if (statvfs(room->directory, &disk) < 0)
        return -errno;
    const double bytes = (double)mib * (double)BENCH_MIB;
    const double disk_bytes = (double)disk.f_bavail * (double)disk.f_frsize;
    const char *what = bytes > room->memory_share * memory_bytes ? "memory"
                       : bytes * room->times_disk > disk_bytes   ? "disk space"
                                                                 : NULL;
    if (what == NULL)
        return 1;
    bench_note(output, "%" PRIu64 " MiB: left out: too little free %s", mib, what);
    if (output->human == NULL)
        fprintf(stderr, "bench: %" PRIu64 " MiB: left out: too little free %s\n", mib, what);
    return 0;
}

/* ---- the header ---- */

int bench_print_header_of(const bench_output *output, const bench_header *header,
                          const char *directory, baton_io_choice choice)
{
    bench_header all = *header;
    baton_io *io = NULL;
    baton_io_probe probe;
    baton_error error = {0};
    int r = baton_io_open(&(baton_io_options){.choice = choice}, &io, &error);
    if (r < 0) {
        fprintf(stderr, "baton: open: %s\n", error.why);
        return r;
    }
    r = baton_io_probe_directory(io, directory, &probe);
    baton_io_close(io);
    if (r < 0) {
        fprintf(stderr, "baton: %s: %s\n", directory, baton_status_text(r));
        return r;
    }
    all.device_write_cache = probe.write_cache;
    bench_print_header(output, &all);
    return 0;
}
