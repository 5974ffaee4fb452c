/* snapshot/diff.c: two snapshots compared row by row, in bounded memory.
 *
 * A row is 40 bytes here: digests of its key and of all of it, and its number. Those of one part of
 * the keys are gathered from both sides, sorted, and walked side by side; as many parts as the
 * memory asks for, one pass over the section for each. What differs is found again by its number. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <baton/snapshot_diff.h>

#include "base/io.h"
#include "snapshot/format.h"
#include "snapshot/manifest.h"
#include "snapshot/store.h"

#define WHAT                 "compare two snapshots"
#define MEMORY_BYTES_DEFAULT (UINT64_C(256) << 20)
#define PROGRESS_ROWS        4096u /* between two calls */

enum { FIRST, SECOND, SIDES };

typedef struct {
    baton_digest key;
    baton_digest row;
    uint64_t number; /* in its section */
} row_print;

static_assert(sizeof(row_print) == 40, "as snapshot_diff.h says");

#define NUMBER_CHANGED (UINT64_C(1) << 63) /* in a print that differs: its key is on both sides */

typedef struct {
    row_print *prints; /* malloc'ed, kept from part to part */
    uint64_t count;
    uint64_t room;
} print_list;

typedef struct {
    const baton_diff_options *options;
    baton_io *io[SIDES];
    baton_snapshot_reader *reader[SIDES];
    baton_snapshot_manifest manifest[SIDES];
    print_list list[SIDES];
    uint32_t parts; /* of the section at hand */
    uint32_t part;
    uint64_t done_bytes;
    uint64_t all_bytes;
    baton_error *error;
} comparing;

static const baton_snapshot_section *section_of(const comparing *self, int side, const char *name)
{
    const baton_snapshot_manifest *manifest = &self->manifest[side];
    for (uint32_t i = 0; i < manifest->info.sections_count; i++)
        if (strcmp(manifest->sections[i].name, name) == 0)
            return &manifest->sections[i];
    return NULL;
}

static int failed(const comparing *self, int side, int status)
{
    const baton_error *why = baton_snapshot_reader_error(self->reader[side]);
    if (self->error != NULL && why->status == status)
        *self->error = *why;
    else
        baton_error_set(self->error, status, WHAT, NULL, status == -ENOMEM ? "free memory" : NULL);
    return status;
}

/* ---- rows as digests ---- */

/* Kind and length before the bytes: no two rows have one stream of bytes. */
static void add_field(baton_digest_stream *stream, char kind, const void *bytes, uint64_t count)
{
    uint8_t head[9] = {(uint8_t)kind};
    const baton_le64 length = baton_le64_put(count);
    memcpy(head + 1, length.bytes, sizeof(length.bytes));
    baton_digest_update(stream, head, sizeof(head));
    baton_digest_update(stream, bytes, count);
}

static int digest_field(baton_snapshot_reader *reader, baton_digest_stream *stream)
{
    baton_value field;
    int r = baton_unpack_value(reader, &field);
    if (r < 0)
        return r;
    switch (field.kind) {
    case BATON_VALUE_UINT:
        add_field(stream, 'u', baton_le64_put(field.number).bytes, 8);
        break;
    case BATON_VALUE_INT:
        add_field(stream, 'i', baton_le64_put((uint64_t)field.negative).bytes, 8);
        break;
    case BATON_VALUE_TEXT:
        add_field(stream, 't', field.bytes, field.bytes_count);
        break;
    case BATON_VALUE_BYTES:
        add_field(stream, 'b', field.bytes, field.bytes_count);
        break;
    }
    return 0;
}

static int digest_row(baton_snapshot_reader *reader, uint32_t fields_count, row_print *print)
{
    baton_digest_stream stream;
    baton_digest_init(&stream);
    for (uint32_t i = 0; i < fields_count; i++) {
        int r = digest_field(reader, &stream);
        if (r < 0)
            return r;
        if (i == 0)
            print->key = baton_digest_final(&stream);
    }
    print->row = baton_digest_final(&stream);
    return 0;
}

/* ---- one side's part of a section ---- */

static int keep(print_list *list, const row_print *print)
{
    if (list->count == list->room) {
        const uint64_t room = list->room > 0 ? list->room + list->room / 2 : 1024;
        row_print *prints = realloc(list->prints, room * sizeof(*prints));
        if (prints == NULL)
            return -ENOMEM;
        list->prints = prints;
        list->room = room;
    }
    list->prints[list->count++] = *print;
    return 0;
}

/* Also counts what was read: bytes as rows are on the average. */
static void tell_progress(comparing *self, const baton_snapshot_section *section, uint64_t rows)
{
    self->done_bytes += section->bytes / section->rows_count * rows;
    if (self->done_bytes > self->all_bytes)
        self->done_bytes = self->all_bytes; /* a second look at what differs is not foreseen */
    if (self->options->progress != NULL)
        self->options->progress(self->options->context, self->done_bytes, self->all_bytes);
}

static int gather(comparing *self, int side, const baton_snapshot_section *section)
{
    baton_snapshot_reader *reader = self->reader[side];
    uint32_t fields_count;
    uint64_t number = 0;
    self->list[side].count = 0;
    int r = baton_unpack_section(reader, section->name);
    while (r == 0 && (r = baton_unpack_row(reader, &fields_count)) > 0) {
        row_print print = {.number = number++};
        r = digest_row(reader, fields_count, &print);
        if (r == 0 && baton_digest_low64(print.key) % self->parts == self->part)
            r = keep(&self->list[side], &print);
        if (number % PROGRESS_ROWS == 0)
            tell_progress(self, section, PROGRESS_ROWS);
    }
    if (number % PROGRESS_ROWS != 0)
        tell_progress(self, section, number % PROGRESS_ROWS);
    return r < 0 ? failed(self, side, r) : 0;
}

static int compare_prints(const void *left, const void *right)
{
    const row_print *a = left;
    const row_print *b = right;
    const int keys = memcmp(&a->key, &b->key, sizeof(a->key));
    return keys != 0 ? keys : memcmp(&a->row, &b->row, sizeof(a->row));
}

static int compare_numbers(const void *left, const void *right)
{
    const row_print *a = left;
    const row_print *b = right;
    const uint64_t x = a->number & ~NUMBER_CHANGED;
    const uint64_t y = b->number & ~NUMBER_CHANGED;
    return x < y ? -1 : x > y;
}

static void sort(print_list *list, int (*compare)(const void *, const void *))
{
    if (list->count > 1)
        qsort(list->prints, list->count, sizeof(*list->prints), compare);
}

/* ---- both sides ---- */

typedef struct {
    uint64_t at[SIDES];   /* read so far */
    uint64_t kept[SIDES]; /* those that differ, moved to the front */
} walking;

/* The rows of one key, [at, end) of each list, sorted by digest: equal ones go in pairs. */
static void compare_group(comparing *self, walking *walk, const uint64_t end[SIDES],
                          baton_diff_section *counts)
{
    print_list *lists = self->list;
    const uint64_t kept[SIDES] = {walk->kept[FIRST], walk->kept[SECOND]};
    while (walk->at[FIRST] < end[FIRST] || walk->at[SECOND] < end[SECOND]) {
        const int order = walk->at[FIRST] == end[FIRST] ? 1
                          : walk->at[SECOND] == end[SECOND]
                              ? -1
                              : compare_prints(lists[FIRST].prints + walk->at[FIRST],
                                               lists[SECOND].prints + walk->at[SECOND]);
        if (order == 0) {
            walk->at[FIRST]++;
            walk->at[SECOND]++;
            continue;
        }
        const int side = order < 0 ? FIRST : SECOND;
        lists[side].prints[walk->kept[side]++] = lists[side].prints[walk->at[side]++];
    }
    const uint64_t removed = walk->kept[FIRST] - kept[FIRST];
    const uint64_t added = walk->kept[SECOND] - kept[SECOND];
    const uint64_t changed = removed < added ? removed : added;
    counts->changed += changed;
    counts->removed += removed - changed;
    counts->added += added - changed;
    for (uint64_t i = 0; i < changed; i++)
        for (int side = FIRST; side < SIDES; side++)
            lists[side].prints[kept[side] + i].number |= NUMBER_CHANGED;
}

/* End of the group of rows that have this key, from `at` on. */
static uint64_t group_end(const print_list *list, uint64_t at, const baton_digest *key)
{
    while (at < list->count && baton_digest_equal(list->prints[at].key, *key))
        at++;
    return at;
}

/* Leaves those that differ in both lists, in the order of their sections. */
static void compare_part(comparing *self, baton_diff_section *counts)
{
    print_list *lists = self->list;
    walking walk = {0};
    for (int side = FIRST; side < SIDES; side++)
        sort(&lists[side], compare_prints);
    while (walk.at[FIRST] < lists[FIRST].count || walk.at[SECOND] < lists[SECOND].count) {
        baton_digest key;
        if (walk.at[SECOND] == lists[SECOND].count ||
            (walk.at[FIRST] < lists[FIRST].count &&
             memcmp(&lists[FIRST].prints[walk.at[FIRST]].key,
                    &lists[SECOND].prints[walk.at[SECOND]].key, sizeof(key)) < 0))
            key = lists[FIRST].prints[walk.at[FIRST]].key;
        else
            key = lists[SECOND].prints[walk.at[SECOND]].key;
        const uint64_t end[SIDES] = {group_end(&lists[FIRST], walk.at[FIRST], &key),
                                     group_end(&lists[SECOND], walk.at[SECOND], &key)};
        compare_group(self, &walk, end, counts);
    }
    for (int side = FIRST; side < SIDES; side++) {
        lists[side].count = walk.kept[side];
        sort(&lists[side], compare_numbers);
    }
}

/* Hands the rows that differ to the caller: read once more, up to the last of them. */
static int show(comparing *self, int side, const char *name)
{
    static const baton_diff_kind kinds[SIDES][2] = {{BATON_DIFF_REMOVED, BATON_DIFF_CHANGED_FROM},
                                                    {BATON_DIFF_ADDED, BATON_DIFF_CHANGED_TO}};
    const print_list *list = &self->list[side];
    baton_snapshot_reader *reader = self->reader[side];
    uint32_t fields_count;
    uint64_t number = 0;
    if (list->count == 0)
        return 0;
    int r = baton_unpack_section(reader, name);
    for (uint64_t i = 0; r == 0 && i < list->count; i++) {
        const uint64_t wanted = list->prints[i].number & ~NUMBER_CHANGED;
        do {
            r = baton_unpack_row(reader, &fields_count);
        } while (r > 0 && number++ < wanted);
        if (r <= 0)
            return failed(self, side, r < 0 ? r : BATON_E_DAMAGED);
        const bool changed = (list->prints[i].number & NUMBER_CHANGED) != 0;
        r = self->options->row(self->options->context, name, kinds[side][changed], reader,
                               fields_count);
    }
    return r;
}

/* ---- sections ---- */

static uint32_t parts_for(const comparing *self, uint64_t rows_count)
{
    const uint64_t memory = self->options->memory_bytes_max != 0 ? self->options->memory_bytes_max
                                                                 : MEMORY_BYTES_DEFAULT;
    const uint64_t parts = (rows_count * sizeof(row_print) + memory - 1) / memory;
    return parts == 0 ? 1 : parts > UINT32_MAX ? UINT32_MAX : (uint32_t)parts;
}

static int compare_section(comparing *self, baton_diff_section *counts)
{
    const baton_snapshot_section *sections[SIDES] = {section_of(self, FIRST, counts->name),
                                                     section_of(self, SECOND, counts->name)};
    self->parts = parts_for(self, counts->rows_first + counts->rows_second);
    int r = 0;
    for (self->part = 0; r == 0 && self->part < self->parts; self->part++) {
        for (int side = FIRST; r == 0 && side < SIDES; side++) {
            self->list[side].count = 0;
            if (sections[side] != NULL)
                r = gather(self, side, sections[side]);
        }
        if (r == 0)
            compare_part(self, counts);
        for (int side = FIRST; r == 0 && side < SIDES && self->options->row != NULL; side++)
            r = show(self, side, counts->name);
    }
    return r;
}

/* All sections of both, with what the manifests say; counts must have room for all. */
static uint32_t list_sections(comparing *self, baton_diff_section *counts)
{
    uint32_t count = 0;
    for (int side = FIRST; side < SIDES; side++) {
        for (uint32_t i = 0; i < self->manifest[side].info.sections_count; i++) {
            const char *name = self->manifest[side].sections[i].name;
            const baton_snapshot_section *first = section_of(self, FIRST, name);
            const baton_snapshot_section *second = section_of(self, SECOND, name);
            if (side == SECOND && first != NULL)
                continue;
            baton_diff_section *one = &counts[count++];
            memcpy(one->name, name, sizeof(one->name));
            one->in_first = first != NULL;
            one->in_second = second != NULL;
            one->rows_first = first != NULL ? first->rows_count : 0;
            one->rows_second = second != NULL ? second->rows_count : 0;
            const uint64_t bytes =
                (first != NULL ? first->bytes : 0) + (second != NULL ? second->bytes : 0);
            self->all_bytes += bytes * parts_for(self, one->rows_first + one->rows_second);
        }
    }
    return count;
}

/* ---- life ---- */

static int open_side(comparing *self, int side, const baton_diff_side *from)
{
    int r = baton_io_open(&(baton_io_options){.choice = BATON_IO_AUTO, .ops_max = 16},
                          &self->io[side], self->error);
    if (r == 0)
        r = baton_snapshot_manifest_load(self->io[side], from->listed->manifest_path,
                                         from->listed->info.seq, from->listed->info.epoch,
                                         &self->manifest[side], self->error);
    if (r < 0)
        return r;
    const baton_snapshot_info *info = &self->manifest[side].info;
    if (strcmp(info->form, BATON_SNAPSHOT_FORM) == 0)
        return baton_snapshot_reader_open(self->io[side], from->directory, from->listed,
                                          &self->reader[side], self->error);
    baton_error_setf(self->error, BATON_E_INVALID, WHAT, "compare two in the portable form",
                     "it is of the form %s, which has no rows", info->form);
    baton_error_at(self->error, from->listed->manifest_path, UINT64_MAX);
    return BATON_E_INVALID;
}

static int check_service(const comparing *self)
{
    const char *first = self->manifest[FIRST].info.service;
    const char *second = self->manifest[SECOND].info.service;
    if (strcmp(first, second) == 0)
        return 0;
    return baton_error_setf(self->error, BATON_E_OTHER_SERVICE, WHAT, "compare two of one service",
                            "one is of %s, the other of %s", first, second);
}

static void close_all(comparing *self)
{
    for (int side = FIRST; side < SIDES; side++) {
        baton_snapshot_reader_close(self->reader[side]);
        baton_snapshot_manifest_free(&self->manifest[side]);
        baton_io_close(self->io[side]);
        free(self->list[side].prints);
    }
}

int baton_snapshot_diff(const baton_diff_side *first, const baton_diff_side *second,
                        const baton_diff_options *options, baton_diff_section **ret_sections,
                        uint32_t *ret_count, baton_error *error)
{
    static const baton_diff_options no_options;
    comparing self = {.options = options != NULL ? options : &no_options, .error = error};
    baton_diff_section *counts = NULL;
    uint32_t count = 0;
    int r = open_side(&self, FIRST, first);
    if (r == 0)
        r = open_side(&self, SECOND, second);
    if (r == 0)
        r = check_service(&self);
    if (r == 0) {
        counts = calloc(2 * BATON_SNAPSHOT_SECTIONS_MAX, sizeof(*counts));
        r = counts != NULL ? 0 : baton_error_set(error, -ENOMEM, WHAT, NULL, "free memory");
    }
    if (r == 0)
        count = list_sections(&self, counts);
    for (uint32_t i = 0; r == 0 && i < count; i++)
        r = compare_section(&self, &counts[i]);
    close_all(&self);
    if (r != 0) {
        free(counts);
        return r;
    }
    *ret_sections = counts;
    *ret_count = count;
    return 0;
}
