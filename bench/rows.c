#include "bench/rows.h"

#include <jansson.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static void cpu_name(char *name, size_t name_bytes)
{
    snprintf(name, name_bytes, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file)
        return;
    char line[512];
    while (fgets(line, sizeof(line), file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(name, name_bytes, "%s", colon + 2);
        break;
    }
    fclose(file);
}

static void print_json(FILE *file, json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (text)
        fprintf(file, "%s\n", text);
    free(text);
    json_decref(object);
}

void bench_print_header(const bench_output *output, const bench_header *header)
{
    struct utsname kernel;
    char cpu[256];
    if (uname(&kernel) < 0)
        memset(&kernel, 0, sizeof(kernel));
    cpu_name(cpu, sizeof(cpu));
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    if (output->json)
        print_json(output->json,
                   json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:s}", "suite", header->suite,
                             "kernel", kernel.release, "cpu", cpu, "cpus", (json_int_t)cpus,
                             "device_write_cache", header->device_write_cache, "commit_primitive",
                             header->commit_primitive, "build", header->build));
    if (output->human) {
        fprintf(output->human, "suite %s on %s (%ld CPUs), kernel %s, device write cache: %s\n",
                header->suite, cpu, cpus, kernel.release, header->device_write_cache);
        fprintf(output->human, "commit primitive: %s; build: %s\n\n", header->commit_primitive,
                header->build);
        fprintf(output->human, "%-22s %-8s %-8s %14s  %-12s %14s %7s\n", "case", "backend",
                "metric", "value", "reference", "its value", "ratio");
    }
}

void bench_print_row(const bench_output *output, const bench_row *row)
{
    bool has_ratio = row->reference && row->reference_value > 0;
    double ratio = has_ratio ? row->value / row->reference_value : 0;

    if (output->json)
        print_json(output->json,
                   json_pack("{s:s, s:s, s:s?, s:s, s:s, s:f, s:s, s:s?, s:o, s:o}", "suite",
                             row->suite, "case", row->bench_case, "backend", row->backend, "metric",
                             row->metric, "unit", row->unit, "value", row->value, "better",
                             row->lower_is_better ? "lower" : "higher", "reference", row->reference,
                             "reference_value",
                             row->reference ? json_real(row->reference_value) : json_null(),
                             "ratio", has_ratio ? json_real(ratio) : json_null()));
    if (output->human) {
        bool of_itself = row->reference && strcmp(row->reference, "raw again") == 0;
        fprintf(output->human, "%-22s %-8s %-8s %11.1f %-3s",
                of_itself ? "  (raw itself)" : row->bench_case, row->backend ? row->backend : "-",
                row->metric, row->value, row->unit);
        if (has_ratio)
            fprintf(output->human, " %-12s %11.1f %-3s %6.3f", row->reference, row->reference_value,
                    row->unit, ratio);
        fprintf(output->human, "\n");
    }
}
