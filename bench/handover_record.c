/* bench/handover_record.c: what the clients were told and when, and whether the journal says the same. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <baton/wire.h>
#include "bench/handover_bench.h"

#define COMMAND_TYPE_FIRST 2u /* entries that begin with client id and client seq: protocol.h */
#define COMMAND_TYPE_LAST  8u
#define OUTCOMES_NOT_TAKEN 65u /* up to 68: answered, and not applied */
#define OUTCOMES_NOT_LAST  68u

static int by_seq(const void *a, const void *b)
{
    const hand_ack *left = a, *right = b;
    return (left->seq > right->seq) - (left->seq < right->seq);
}

static bool read_line(FILE *file, hand_record *record, hand_ack *ret_ack)
{
    unsigned client, client_seq, outcome;
    uint64_t due_ns, acked_ns, seq;
    const int n = fscanf(file, "%u,%u,%*u,%" SCNu64 ",%" SCNu64 ",%*u,%u,%" SCNu64 ",%*[^\n]\n",
                         &client, &client_seq, &due_ns, &acked_ns, &outcome, &seq);
    if (n != 6)
        return false;
    *ret_ack = (hand_ack){.seq = seq,
                          .due_ns = due_ns,
                          .acked_ns = acked_ns,
                          .client = client,
                          .client_seq = client_seq};
    record->sent++;
    const bool refused = outcome >= OUTCOMES_NOT_TAKEN && outcome <= OUTCOMES_NOT_LAST;
    record->unanswered += acked_ns == 0;
    record->refused += acked_ns != 0 && refused;
    if (acked_ns == 0 || refused)
        ret_ack->seq = 0;
    return true;
}

void hand_record_read(const hand_load *load, hand_record *ret_record)
{
    size_t room = 0;
    hand_ack ack;
    hand_record *record = ret_record;
    *record = (hand_record){.first_client = load->first_client};
    FILE *file = fopen(load->acks, "re");
    if (file == NULL || fscanf(file, "%*[^\n]\n") < 0)
        hand_die(load->acks, file == NULL ? strerror(errno) : "it is empty");
    while (read_line(file, record, &ack)) {
        if (ack.seq == 0)
            continue;
        if (record->count == room) {
            room = room == 0 ? 1 << 16 : room * 2;
            hand_ack *more = realloc(record->acks, room * sizeof(*more));
            if (more == NULL)
                hand_die("the clients' record", "no memory");
            record->acks = more;
        }
        record->acks[record->count++] = ack;
    }
    fclose(file);
    if (record->count == 0)
        hand_die(load->acks, "no command was answered");
    qsort(record->acks, record->count, sizeof(*record->acks), by_seq);
}

void hand_record_free(hand_record *record)
{
    free(record->acks);
    *record = (hand_record){0};
}

/* The first one whose seq is above. */
static uint64_t find_above(const hand_record *record, uint64_t seq)
{
    uint64_t low = 0, high = record->count;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (record->acks[middle].seq > seq)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

bool hand_record_gap(const hand_record *record, uint64_t seq, uint64_t *ret_last_ns,
                     uint64_t *ret_first_ns)
{
    const uint64_t at = find_above(record, seq);
    *ret_last_ns = 0;
    *ret_first_ns = UINT64_MAX;
    /* Answers come in the order of the entries, but for a read of the socket or two. */
    for (uint64_t i = at > 5000 ? at - 5000 : 0; i < at; i++)
        if (record->acks[i].acked_ns > *ret_last_ns)
            *ret_last_ns = record->acks[i].acked_ns;
    for (uint64_t i = at; i < record->count && i < at + 5000; i++)
        if (record->acks[i].acked_ns < *ret_first_ns)
            *ret_first_ns = record->acks[i].acked_ns;
    return *ret_last_ns != 0 && *ret_first_ns != UINT64_MAX;
}

void hand_record_latencies(const hand_record *record, uint64_t from_ns, uint64_t to_ns,
                           baton_histogram *into)
{
    for (uint64_t i = 0; i < record->count; i++)
        if (record->acks[i].due_ns >= from_ns && record->acks[i].due_ns < to_ns)
            baton_histogram_record(into, record->acks[i].acked_ns - record->acks[i].due_ns);
}

/* ---- beside the journal ---- */

typedef struct {
    const hand_record *record;
    uint64_t at;        /* in the record */
    uint32_t *times;    /* each command stands in the journal, by its client seq */
    uint32_t *last_seq; /* of each client */
    hand_count *count;
} judging;

static void take_entry(judging *self, const baton_entry *entry)
{
    const hand_record *record = self->record;
    baton_le64 names[2];
    if (entry->is_record || entry->type < COMMAND_TYPE_FIRST || entry->type > COMMAND_TYPE_LAST ||
        entry->payload_bytes < sizeof(names))
        return;
    memcpy(names, entry->payload, sizeof(names));
    const uint64_t client = baton_le64_get(names[0]) - record->first_client;
    const uint64_t client_seq = baton_le64_get(names[1]);
    if (client >= HAND_CLIENTS || client_seq == 0 || client_seq > record->sent)
        return; /* of another load */
    self->count->doubled += self->times[client_seq - 1]++ > 0;
    self->count->reordered += client_seq <= self->last_seq[client];
    self->last_seq[client] = (uint32_t)client_seq;
    while (self->at < record->count && record->acks[self->at].seq < entry->seq) {
        self->count->lost++; /* answered as that entry, and it is none of this load's */
        self->at++;
    }
    if (self->at == record->count || record->acks[self->at].seq != entry->seq)
        return;
    const hand_ack *ack = &record->acks[self->at++];
    self->count->lost +=
        ack->client_seq != client_seq || ack->client != client + record->first_client;
}

/* -1: this directory does not hold all of it. */
static int open_journal(const char *directory, uint64_t from_seq, baton_reader **ret_reader)
{
    char path[HAND_PATH_BYTES + 16];
    baton_error error;
    snprintf(path, sizeof(path), "%s/journal", directory);
    const baton_reader_options options = {.from_seq = from_seq, .live = true};
    return baton_reader_open(path, &options, ret_reader, &error) < 0 ? -1 : 0;
}

void hand_record_judge(const hand_pair *pair, const hand_record *record)
{
    baton_reader *reader = NULL;
    baton_entry entry;
    baton_error error = {0};
    const uint64_t last = record->acks[record->count - 1].seq;
    judging self = {.record = record, .count = pair->run->count};
    self.times = calloc(record->sent, sizeof(*self.times));
    self.last_seq = calloc(HAND_CLIENTS, sizeof(*self.last_seq));
    if (self.times == NULL || self.last_seq == NULL)
        hand_die("compare with the journal", "no memory");
    int r = -1;
    for (int i = 0; i < 2 && r < 0; i++)
        r = open_journal(pair->directories[i], record->acks[0].seq, &reader);
    if (r < 0)
        hand_die("compare with the journal", "neither directory holds all of it");
    while ((r = baton_reader_next(reader, &entry, &error)) == 1) {
        take_entry(&self, &entry);
        if (entry.seq >= last)
            break;
    }
    if (r < 0)
        hand_die("compare with the journal", error.why);
    self.count->commands += record->count;
    self.count->lost += record->count - self.at + record->unanswered;
    baton_reader_close(reader);
    free(self.times);
    free(self.last_seq);
}
