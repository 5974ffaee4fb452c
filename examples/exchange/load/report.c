#include "examples/exchange/load/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t client_of(const load_command *command)
{
    return baton_le64_get(command->body.command.client_id);
}

static int end_file(FILE *file)
{
    int bad = ferror(file);
    return fclose(file) != 0 || bad ? -EIO : 0;
}

int report_acks(const char *path, const load_command *commands, const run_result *result)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return -errno;
    fprintf(file, "client,client_seq,type,intended_ns,acked_ns,connection,outcome,seq,filled,"
                  "remaining,sent_ns,taken,made\n");
    for (uint32_t i = 0, told = 0; told < result->sent; i++) {
        const command_result *row = &result->results[i];
        if (row->intended_ns == 0) /* another connection was further */
            continue;
        told++;
        fprintf(file, "%llu,%u,%u,%llu,%llu,%u,%u,%llu,%llu,%llu,%llu,%llu,%llu\n",
                (unsigned long long)client_of(&commands[i]), i + 1, commands[i].type,
                (unsigned long long)row->intended_ns, (unsigned long long)row->acked_ns,
                row->connection, row->outcome, (unsigned long long)row->seq,
                (unsigned long long)row->filled, (unsigned long long)row->remaining,
                (unsigned long long)row->sent_ns, (unsigned long long)row->taken,
                (unsigned long long)row->made);
    }
    return end_file(file);
}

/* ---- by client ---- */

typedef struct {
    uint64_t client_id;
    uint32_t sent;
    uint32_t acked;
    uint64_t told_filled;
    uint64_t taken;
    uint64_t made;
} client_sums;

static int by_client_id(const void *one, const void *other)
{
    const uint64_t a = ((const client_sums *)one)->client_id;
    const uint64_t b = ((const client_sums *)other)->client_id;
    return a < b ? -1 : a > b;
}

int report_clients(const char *path, const load_command *commands, uint32_t count,
                   const run_result *result)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return -errno;
    /* One row a command, then those of one client become one. */
    client_sums *rows = calloc(count + 1u, sizeof(*rows));
    if (!rows) {
        fclose(file);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        const command_result *of = &result->results[i];
        rows[i] = (client_sums){.client_id = client_of(&commands[i]),
                                .sent = of->intended_ns != 0,
                                .acked = of->acked_ns != 0,
                                .told_filled = of->told_filled,
                                .taken = of->taken,
                                .made = of->made};
    }
    qsort(rows, count, sizeof(*rows), by_client_id);
    fprintf(file, "client,sent,acked,filled_by_acks,taken_by_fills,made_by_fills\n");
    for (uint32_t i = 0; i < count;) {
        client_sums sum = rows[i];
        while (++i < count && rows[i].client_id == sum.client_id) {
            sum.sent += rows[i].sent;
            sum.acked += rows[i].acked;
            sum.told_filled += rows[i].told_filled;
            sum.taken += rows[i].taken;
            sum.made += rows[i].made;
        }
        fprintf(file, "%llu,%u,%u,%llu,%llu,%llu\n", (unsigned long long)sum.client_id, sum.sent,
                sum.acked, (unsigned long long)sum.told_filled, (unsigned long long)sum.taken,
                (unsigned long long)sum.made);
    }
    free(rows);
    return end_file(file);
}

/* ---- all together ---- */

static double us_at(const baton_histogram *latency, double fraction)
{
    return (double)baton_histogram_quantile(latency, fraction) / 1e3;
}

static int print_summary(FILE *file, uint32_t count, const run_result *result)
{
    const answers_counts *counts = &result->counts;
    const baton_histogram *latency = result->latency, *slow = result->slow_latency;
    fprintf(
        file,
        "{\"commands\":%u,\"sent\":%u,\"acked\":%u,\"unacked\":%u,\"resent\":%u,\"conflicts\":%u,"
        "\"refused\":%u,\"connections\":%u,\"fills\":%llu,\"gap_ms\":%.3f,\"silence_ms\":%.3f,"
        "\"seconds\":%.3f,"
        "\"p50_us\":%.1f,\"p99_us\":%.1f,\"p99_9_us\":%.1f,\"max_us\":%.1f",
        count, result->sent, counts->acked, result->sent - counts->acked, result->resent,
        counts->conflicts, counts->refused, result->connections, (unsigned long long)counts->fills,
        (double)result->gap_ns / 1e6, (double)result->silence_ns / 1e6,
        (double)result->elapsed_ns / 1e9, us_at(latency, 0.5), us_at(latency, 0.99),
        us_at(latency, 0.999), us_at(latency, 1));
    fprintf(file,
            ",\"no_room\":%u,\"doubled\":%u,\"doubled_told\":%u,\"asked_again\":%u,\"storms\":%u,"
            "\"fills_again\":%llu,\"fills_short\":%u,\"fills_over\":%u,"
            "\"slow_acked\":%llu,\"slow_p50_us\":%.1f,\"slow_p99_us\":%.1f,\"slow_max_us\":%.1f}\n",
            counts->no_room, result->doubled, result->doubled_told, result->asked_again,
            result->storms, (unsigned long long)counts->fills_again, result->sums.fills_short,
            result->sums.fills_over, (unsigned long long)baton_histogram_count(slow),
            us_at(slow, 0.5), us_at(slow, 0.99), us_at(slow, 1));
    return fflush(file) != 0 || ferror(file) ? -EIO : 0;
}

int report_summary(const char *path, uint32_t count, const run_result *result)
{
    if (!path || strcmp(path, "-") == 0)
        return print_summary(stdout, count, result);
    FILE *file = fopen(path, "we");
    if (!file)
        return -errno;
    int r = print_summary(file, count, result);
    return fclose(file) != 0 ? -EIO : r;
}
