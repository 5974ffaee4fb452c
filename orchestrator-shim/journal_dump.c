/* orchestrator-shim/journal_dump.c: `baton journal dump DIR`: entries as JSON lines, or their
 * payloads alone. */
#include "orchestrator-shim/command.h"

#include <stdlib.h>

static const char help[] =
    "baton journal dump DIR [options]\n"
    "\n"
    "One JSON object a line: seq, epoch, time_ns, type, and payload (when it is UTF-8 text) or "
    "payload_base64.\n"
    "\n"
    "  --from SEQ                 the first entry wanted (default: the oldest)\n"
    "  --to SEQ|TIME              the last entry wanted, or all up to a moment: "
    "2026-11-21T14:00:00Z,\n"
    "                             or @nanoseconds (default: the newest)\n"
    "  --payload                  the payloads only, each followed by a newline\n"
    "  --io auto|uring|threads    how files are read (default: auto)\n"
    "  -o, --output json          accepted; it is JSON in any case\n"
    "\n"
    "Examples:\n"
    "  baton journal dump /var/lib/orders/journal --from 100 --to 199\n"
    "  baton journal dump /var/lib/orders/journal --to 2026-11-21T14:30:00+01:00\n"
    "  baton journal dump --payload /var/lib/orders/journal | baton journal append /tmp/copy\n";

/* RFC 4648; into must hold 4 * ((bytes_count + 2) / 3) + 1. */
static void base64(const uint8_t *bytes, size_t bytes_count, char *into)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes_count; i += 3) {
        const size_t left = bytes_count - i;
        const uint32_t group = (uint32_t)bytes[i] << 16 |
                               (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                               (left > 2 ? (uint32_t)bytes[i + 2] : 0);
        *into++ = digits[group >> 18];
        *into++ = digits[group >> 12 & 63];
        *into++ = left > 1 ? digits[group >> 6 & 63] : '=';
        *into++ = left > 2 ? digits[group & 63] : '=';
    }
    *into = '\0';
}

static json_t *describe(const baton_entry *entry)
{
    static char encoded[4 * ((BATON_ENTRY_BYTES_MAX + 2) / 3) + 1];
    json_t *object = json_pack("{s:o, s:o, s:o, s:i}", "seq", json_number(entry->seq), "epoch",
                               json_number(entry->epoch), "time_ns", json_number(entry->time_ns),
                               "type", (int)entry->type);
    json_t *text = entry->payload_bytes > 0 ? json_stringn(entry->payload, entry->payload_bytes)
                                            : json_string("");
    if (text != NULL) {
        json_object_set_new(object, "payload", text);
    } else {
        base64(entry->payload, entry->payload_bytes, encoded);
        json_object_set_new(object, "payload_base64", json_string(encoded));
    }
    return object;
}

static bool write_entry(const baton_entry *entry, bool payload_only)
{
    if (payload_only)
        return fwrite(entry->payload, 1, entry->payload_bytes, stdout) == entry->payload_bytes &&
               putchar('\n') != EOF;
    json_t *object = describe(entry);
    const bool written =
        object != NULL && json_dumpf(object, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF;
    json_decref(object);
    return written;
}

typedef struct {
    uint64_t to_seq;     /* 0: the end */
    uint64_t to_time_ns; /* 0: the end */
    bool payload_only;
} dump_range;

/* Time never goes back in a journal: behind the first later entry all are. */
static bool is_past(const dump_range *range, const baton_entry *entry)
{
    return (range->to_seq != 0 && entry->seq > range->to_seq) ||
           (range->to_time_ns != 0 && entry->time_ns > range->to_time_ns);
}

static int dump(const char *directory, const baton_reader_options *options, const dump_range *range)
{
    baton_error error = {.offset = UINT64_MAX};
    baton_reader *reader = NULL;
    baton_entry entry;
    bool written = true;
    int r = baton_reader_open(directory, options, &reader, &error);
    while (r == 0 && written) {
        r = baton_reader_next(reader, &entry, &error);
        if (r <= 0 || is_past(range, &entry))
            break;
        written = write_entry(&entry, range->payload_only);
        r = 0;
    }
    baton_reader_close(reader);
    if (fflush(stdout) != 0 || !written)
        return fail_usage("stdout", "it can't be written", "is its disk full, or its reader gone?");
    if (r < 0) {
        error.status = r;
        return fail_with(&error);
    }
    return 0;
}

int journal_dump(int argc, char **argv)
{
    static const struct option options[] = {{"from", required_argument, NULL, 'f'},
                                            {"to", required_argument, NULL, 't'},
                                            {"payload", no_argument, NULL, 'p'},
                                            {"io", required_argument, NULL, 'i'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    baton_reader_options chosen = {0};
    dump_range range = {0};
    bool json = false;
    for (int option; (option = next_option(argc, argv, options, help)) != -1;) {
        bool fits = true;
        if (option == OPTION_HELP)
            return 0;
        if (option == 'f')
            fits = read_number("--from", optarg, &chosen.from_seq);
        else if (option == 't')
            fits = read_seq_or_time("--to", optarg, &range.to_seq, &range.to_time_ns);
        else if (option == 'i')
            fits = read_backend(optarg, &chosen.backend);
        else if (option == 'o')
            fits = read_output(optarg, &json);
        else if (option == 'p')
            range.payload_only = true;
        if (option == OPTION_WRONG || !fits)
            return 1;
    }
    const char *directory = one_directory(argc, argv);
    return directory != NULL ? dump(directory, &chosen, &range) : 1;
}
