/* drain/run_options.c: the options of `run`, as one table, and what they mean. */
#include "drain/peer_tls.h"
#include "drain/program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define SNAPSHOTS_KEEP_MIN 2u /* S1: two generations */
#define SNAPSHOTS_KEEP_MAX 64u
#define DEADLINE_NS_MIN    UINT64_C(100000000)

/* Indices of the table below, in its order. */
enum {
    RUN_DIR,
    RUN_CONTROL,
    RUN_STANDBY_OF,
    RUN_HYDRATE_FROM,
    RUN_FETCH_STALL,
    RUN_PEER_LISTEN,
    RUN_PEER_CERT,
    RUN_PEER_KEY,
    RUN_PEER_CA,
    RUN_PEER_NAME,
    RUN_PEER_PLAINTEXT,
    RUN_AFTER_HANDOVER,
    RUN_IF_DIVERGED,
    RUN_COMPATIBLE_MIN,
    RUN_COMPATIBLE_MAX,
    RUN_COMPATIBLE,
    RUN_IO,
    RUN_MODE,
    RUN_DRAIN_DEADLINE,
    RUN_SNAPSHOT_EVERY,
    RUN_RTO_TARGET,
    RUN_HYDRATE_SNAPSHOTS,
    RUN_SNAPSHOT_AT_DRAIN,
    RUN_SNAPSHOT_FORM,
    RUN_TRUST_ROOT,
    RUN_JOURNAL_MAX,
    RUN_KEEP_SNAPSHOTS,
    RUN_COMPRESS,
    RUN_CHECKPOINT_EVERY,
    RUN_SEGMENT_SIZE,
    RUN_RETIRE,
    RUN_ARCHIVE_DIR,
    RUN_ARCHIVE_COMMAND,
    RUN_OUTBOX_SIZE,
    RUN_ARENA_ADDRESS,
    RUN_ARENA_SIZE,
    RUN_ARENA_MEMORY,
    RUN_READY_FD,
    RUN_REPORT_FD,
    RUN_LOG_LEVEL,
    RUN_OPTIONS,
};

const baton_option baton_run_option_table[] = {
    [RUN_DIR] = {"dir", "DIR", NULL,
                 "where the data is: journal/ and snapshots/ (required; made when missing)"},
    [RUN_CONTROL] = {"control", "PATH", NULL, "the control socket (default: DIR/control.sock)"},
    [RUN_STANDBY_OF] = {"standby-of", "DIR|SOCKET|HOST:PORT", NULL,
                        "follow the active in that directory, or at that address, until it hands "
                        "over to this one"},
    [RUN_HYDRATE_FROM] = {"hydrate-from", "PATH", NULL,
                          "an empty standby takes its first snapshot there, the newest that the "
                          "active names: a directory of snapshots, a data directory, or a file by "
                          "`baton snapshot export`"},
    [RUN_FETCH_STALL] = {"fetch-stall", "TIME", "30s",
                         "an empty standby's start ends when its first snapshot gets less than "
                         "1 MiB further in this time"},
    [RUN_PEER_LISTEN] = {"peer-listen", "HOST:PORT", NULL,
                         "where standbys connect by TCP while this one is the active; port 0: any "
                         "free one, named in the log and the status"},
    [RUN_PEER_CERT] = {"peer-cert", "FILE", NULL,
                       "PEM: this one's certificate for TLS 1.3 with other instances, and its "
                       "chain; read anew for each connection"},
    [RUN_PEER_KEY] = {"peer-key", "FILE", NULL, "PEM: its key, which nobody else can read"},
    [RUN_PEER_CA] = {"peer-ca", "FILE", NULL,
                     "PEM: who has to have signed the other instance's certificate"},
    [RUN_PEER_NAME] = {"peer-name", "NAME", NULL,
                       "that the other's certificate has to have (default: the service's)"},
    [RUN_PEER_PLAINTEXT] = {"peer-plaintext", NULL, NULL,
                            "no TLS with other instances: on loopback only, where every user of "
                            "this machine may then follow"},
    [RUN_AFTER_HANDOVER] = {"after-handover", "exit|standby", "exit",
                            "what becomes of this process when a successor serves"},
    [RUN_IF_DIVERGED] =
        {"if-diverged", "auto|copy|end", "auto",
         "a standby whose digests differ: copies the journal on, for a handover by a "
         "snapshot; or ends; auto: copies when its version is older"},
    [RUN_COMPATIBLE_MIN] = {"compatible-min", "VERSION", NULL,
                            "of whom it follows, and who may follow it (default: a minor version "
                            "below its own, of the same major one)"},
    [RUN_COMPATIBLE_MAX] = {"compatible-max", "VERSION", NULL,
                            "likewise, with all its patch levels (default: one above)"},
    [RUN_COMPATIBLE] = {"compatible", "refuse|warn", "refuse",
                        "what becomes of one outside that range"},
    [RUN_IO] = {"io", "auto|uring|threads", "auto", "how files are written"},
    [RUN_MODE] =
        {"mode", "durable|written", "durable",
         "what an acknowledged entry survives: power loss, or only the end of the process"},
    [RUN_DRAIN_DEADLINE] = {"drain-deadline", "TIME", "25s", "from SIGTERM to the end"},
    [RUN_SNAPSHOT_EVERY] = {"snapshot-every", "N", "0",
                            "entries between snapshots at most; 0: no such limit"},
    [RUN_RTO_TARGET] = {"rto-target", "TIME", "60s",
                        "take a snapshot before a start would take longer; 0s: never for that"},
    [RUN_HYDRATE_SNAPSHOTS] = {"hydrate-snapshots", "auto|no|N", "auto",
                               "keep what a long replay has come to, for a start after a kill: by "
                               "the RTO target, or each N entries"},
    [RUN_SNAPSHOT_AT_DRAIN] = {"snapshot-at-drain", "yes|no", "yes",
                               "the last step of a drain, if there is time"},
    [RUN_SNAPSHOT_FORM] = {"snapshot-form", "auto|portable|image", "auto",
                           "rows, for any build; or the arena's pages, for builds with its layout; "
                           "auto: images, and for other builds portable ones: at a drain "
                           "with the time, or when their start would take 4 times --rto-target"},
    [RUN_TRUST_ROOT] = {"trust-root", "ROOT", NULL,
                        "go on from the snapshot of that root, in a new journal, where the journal "
                        "that named it is lost"},
    [RUN_JOURNAL_MAX] = {"journal-max", "SIZE", "8GiB",
                         "with --retire and --snapshot-form auto: of the journal that waits for "
                         "portable snapshots"},
    [RUN_KEEP_SNAPSHOTS] = {"keep-snapshots", "N", "2", "generations to keep, 2 or more"},
    [RUN_COMPRESS] = {"compress", "auto|lz4|raw", "auto", "snapshot chunks"},
    [RUN_CHECKPOINT_EVERY] = {"checkpoint-every", "N", "10000",
                              "entries between digests that every replay compares"},
    [RUN_SEGMENT_SIZE] = {"segment-size", "SIZE", "64MiB", "of a journal file"},
    [RUN_RETIRE] = {"retire", "yes|no", "no",
                    "remove journal files that no kept snapshot needs; for other builds "
                    "--snapshot-form image needs all"},
    [RUN_ARCHIVE_DIR] = {"archive-dir", "DIR", NULL,
                         "copy each journal file there before it is removed"},
    [RUN_ARCHIVE_COMMAND] = {"archive-command", "CMD", NULL,
                             "or run this with the file's path; exit 0 says that it is kept"},
    [RUN_OUTBOX_SIZE] = {"outbox-size", "SIZE", "64MiB",
                         "unconfirmed effects; past it intake stops"},
    [RUN_ARENA_ADDRESS] = BATON_OPTION_ARENA_ADDRESS,
    [RUN_ARENA_SIZE] = BATON_OPTION_ARENA_SIZE,
    [RUN_ARENA_MEMORY] = {"arena-memory", "anonymous|huge|memfd", "anonymous",
                          "what the arena's pages are"},
    [RUN_READY_FD] = {"ready-fd", "FD", NULL,
                      "write one JSON line there when ready, then close it"},
    [RUN_REPORT_FD] = {"report-fd", "FD", NULL, "write the drain report there as one JSON line"},
    [RUN_LOG_LEVEL] = {"log-level", "debug|info|warn|error", "info", "lowest level on stderr"},
};
const uint32_t baton_run_option_count = RUN_OPTIONS;

static void add(baton_option_set *set, const baton_service_option *options, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        set->options[set->options_count++] = (baton_option){
            .name = options[i].name,
            .value_name = "VALUE",
            .default_value = options[i].default_value,
            .help = options[i].help != NULL ? options[i].help : "",
        };
}

int baton_option_set_init(baton_option_set *set, const baton_option *own, uint32_t own_count,
                          const baton_doors *doors, bool with_program, baton_error *error)
{
    const uint32_t program_count = with_program ? doors->program->options_count : 0;
    const size_t count = (size_t)own_count + doors->service->options_count + program_count;
    *set = (baton_option_set){
        .options = calloc(count + 1, sizeof(*set->options)),
        .values = calloc(count + 1, sizeof(*set->values)),
    };
    if (set->options == NULL || set->values == NULL) {
        baton_option_set_fini(set);
        return baton_error_set(error, -ENOMEM, "options", NULL, "give the process more memory");
    }
    memcpy(set->options, own, own_count * sizeof(*own));
    set->options_count = own_count;
    set->service_first = own_count;
    add(set, doors->service->options, doors->service->options_count);
    set->program_first = set->options_count;
    add(set, doors->program->options, program_count);

    for (uint32_t i = own_count; i < set->options_count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(set->options[i].name, set->options[j].name) == 0) {
                const char *name = set->options[j].name;
                baton_error_setf(error, BATON_E_INVALID, "options",
                                 "rename it in the service's table", "--%s is defined twice", name);
                baton_option_set_fini(set);
                return BATON_E_INVALID;
            }
    return 0;
}

void baton_option_set_fini(baton_option_set *set)
{
    free(set->options);
    free(set->values);
    *set = (baton_option_set){0};
}

static int read_yes_no(const baton_option_set *set, uint32_t option, bool *ret_yes,
                       baton_error *error)
{
    static const char *const choices[] = {"no", "yes", NULL};
    uint32_t index = 0;
    int r =
        baton_option_choice(set->options[option].name, set->values[option], choices, &index, error);
    *ret_yes = index == 1;
    return r;
}

static int read_choice(const baton_option_set *set, uint32_t option, const char *const *choices,
                       uint32_t *ret_index, baton_error *error)
{
    return baton_option_choice(set->options[option].name, set->values[option], choices, ret_index,
                               error);
}

static int read_count(const baton_option_set *set, uint32_t option, uint64_t max,
                      uint64_t *ret_count, baton_error *error)
{
    return baton_option_count(set->options[option].name, set->values[option], max, ret_count,
                              error);
}

/* A descriptor that the parent left open for us; not to be inherited further. */
static int read_fd(const baton_option_set *set, uint32_t option, int *ret_fd, baton_error *error)
{
    uint64_t number = 0;
    *ret_fd = -1;
    if (set->values[option] == NULL)
        return 0;
    int r = read_count(set, option, INT32_MAX, &number, error);
    if (r < 0)
        return r;
    if (fcntl((int)number, F_SETFD, FD_CLOEXEC) < 0) {
        char what[64];
        snprintf(what, sizeof(what), "option --%s", set->options[option].name);
        return baton_error_setf(error, BATON_E_INVALID, what,
                                "leave it open when starting the service",
                                "descriptor %d is not open", (int)number);
    }
    *ret_fd = (int)number;
    return 0;
}

static int read_choices(baton_run_options *options, const baton_option_set *set, baton_error *error)
{
    static const char *const backends[] = {"auto", "uring", "threads", NULL};
    static const char *const modes[] = {"durable", "written", NULL};
    static const char *const codecs[] = {"auto", "lz4", "raw", NULL};
    static const char *const forms[] = {"auto", "portable", "image", NULL};
    static const char *const afters[] = {"exit", "standby", NULL};
    static const char *const divergences[] = {"auto", "copy", "end", NULL};
    static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
    static const char *const outsides[] = {"refuse", "warn", NULL};
    uint32_t backend = 0, mode = 0, codec = 0, form = 0, level = 0, after = 0, outside = 0,
             diverged = 0;
    int r;
    if ((r = read_choice(set, RUN_IO, backends, &backend, error)) < 0 ||
        (r = read_choice(set, RUN_MODE, modes, &mode, error)) < 0 ||
        (r = read_choice(set, RUN_COMPRESS, codecs, &codec, error)) < 0 ||
        (r = read_choice(set, RUN_SNAPSHOT_FORM, forms, &form, error)) < 0 ||
        (r = read_choice(set, RUN_AFTER_HANDOVER, afters, &after, error)) < 0 ||
        (r = read_choice(set, RUN_IF_DIVERGED, divergences, &diverged, error)) < 0 ||
        (r = read_choice(set, RUN_COMPATIBLE, outsides, &outside, error)) < 0 ||
        (r = read_choice(set, RUN_LOG_LEVEL, levels, &level, error)) < 0 ||
        (r = read_yes_no(set, RUN_SNAPSHOT_AT_DRAIN, &options->snapshot_at_drain, error)) < 0 ||
        (r = read_yes_no(set, RUN_RETIRE, &options->engine.retire, error)) < 0)
        return r;
    options->standby_after_handover = after == 1;
    options->if_diverged = (baton_if_diverged)diverged;
    options->engine.copies_when_diverged = options->if_diverged != BATON_IF_DIVERGED_END;
    options->compatible.warn_only = outside == 1;
    options->engine.backend = (baton_backend)backend;
    options->engine.mode = (baton_mode)mode;
    options->engine.compress = (baton_compress)codec;
    options->engine.snapshot_form = (baton_snapshot_form)form;
    options->log_level = (baton_log_level)level;
    return 0;
}

static int read_hydrate_snapshots(baton_run_options *options, const baton_option_set *set,
                                  baton_error *error)
{
    const char *text = set->values[RUN_HYDRATE_SNAPSHOTS];
    uint64_t *every = &options->engine.hydrate_snapshot_every;
    *every = strcmp(text, "no") == 0 ? UINT64_MAX : 0;
    if (*every != 0 || strcmp(text, "auto") == 0)
        return 0;
    int r = read_count(set, RUN_HYDRATE_SNAPSHOTS, INT64_MAX, every, error);
    if (r == 0 && *every == 0)
        r = baton_error_set(error, BATON_E_INVALID, "option --hydrate-snapshots",
                            "0 entries are no distance", "give auto, no, or 1 or more");
    return r;
}

static int read_trust_root(baton_run_options *options, const baton_option_set *set,
                           baton_error *error)
{
    const char *text = set->values[RUN_TRUST_ROOT];
    if (text == NULL || (baton_digest_parse(text, &options->engine.trust_root) == 0 &&
                         !baton_digest_is_zero(options->engine.trust_root)))
        return 0;
    return baton_error_setf(error, BATON_E_INVALID, "option --trust-root",
                            "give the root that `baton snapshot ls` or `info` shows",
                            "'%.100s' is no root: 32 hex digits", text);
}

int baton_arena_options_read(baton_arena_options *options, const char *address, const char *size,
                             baton_error *error)
{
    options->address = 0;
    if (strcmp(address, "auto") != 0) {
        char *end;
        errno = 0;
        options->address = strtoull(address, &end, 0);
        if (errno != 0 || *end != '\0' || address[0] < '0' || address[0] > '9' ||
            options->address == 0)
            return baton_error_setf(error, BATON_E_INVALID, "option --arena-address",
                                    "give auto, or an address as 0x551000000000",
                                    "'%.100s' does not fit", address);
    }
    return baton_option_size("arena-size", size, &options->reserve_bytes, error);
}

static int read_arena(baton_arena_options *options, const baton_option_set *set, baton_error *error)
{
    static const char *const memories[] = {"anonymous", "huge", "memfd", NULL};
    uint32_t memory = 0;
    int r = baton_arena_options_read(options, set->values[RUN_ARENA_ADDRESS],
                                     set->values[RUN_ARENA_SIZE], error);
    if (r == 0)
        r = read_choice(set, RUN_ARENA_MEMORY, memories, &memory, error);
    options->huge_pages = memory == 1;
    options->memfd = memory == 2;
    return r;
}

static int read_numbers(baton_run_options *options, const baton_option_set *set, baton_error *error)
{
    uint64_t keep = 0;
    int r;
    if ((r = baton_option_duration("fetch-stall", set->values[RUN_FETCH_STALL],
                                   &options->fetch_stall_ns, error)) < 0 ||
        (r = baton_option_duration("drain-deadline", set->values[RUN_DRAIN_DEADLINE],
                                   &options->drain_deadline_ns, error)) < 0 ||
        (r = read_count(set, RUN_SNAPSHOT_EVERY, INT64_MAX, &options->engine.snapshot_every,
                        error)) < 0 ||
        (r = baton_option_duration("rto-target", set->values[RUN_RTO_TARGET],
                                   &options->engine.rto_target_ns, error)) < 0 ||
        (r = read_count(set, RUN_KEEP_SNAPSHOTS, SNAPSHOTS_KEEP_MAX, &keep, error)) < 0 ||
        (r = read_count(set, RUN_CHECKPOINT_EVERY, INT64_MAX, &options->engine.checkpoint_every,
                        error)) < 0 ||
        (r = baton_option_size("segment-size", set->values[RUN_SEGMENT_SIZE],
                               &options->engine.segment_bytes, error)) < 0 ||
        (r = baton_option_size("journal-max", set->values[RUN_JOURNAL_MAX],
                               &options->engine.journal_bytes_max, error)) < 0 ||
        (r = baton_option_size("outbox-size", set->values[RUN_OUTBOX_SIZE],
                               &options->engine.outbox_bytes_max, error)) < 0)
        return r;
    options->engine.archive_directory = set->values[RUN_ARCHIVE_DIR];
    options->engine.archive_command = set->values[RUN_ARCHIVE_COMMAND];
    if (set->values[RUN_ARCHIVE_DIR] != NULL && set->values[RUN_ARCHIVE_COMMAND] != NULL)
        return baton_error_set(error, BATON_E_INVALID, "option --archive-command",
                               "--archive-dir is given, too", "give one of the two");
    if (keep < SNAPSHOTS_KEEP_MIN)
        return baton_error_set(error, BATON_E_INVALID, "option --keep-snapshots",
                               "one generation alone can't fall back when a chunk is damaged",
                               "give 2 or more");
    if (options->drain_deadline_ns < DEADLINE_NS_MIN)
        return baton_error_set(error, BATON_E_INVALID, "option --drain-deadline",
                               "no drain finishes in that time", "give 100ms or more");
    options->engine.snapshots_keep = (uint32_t)keep;
    return 0;
}

/* What goes over TCP is protected, or does not leave this machine. */
static int check_tcp(const baton_run_options *options, const char *option,
                     const baton_tcp_address *address, baton_error *error)
{
    char what[64];
    snprintf(what, sizeof(what), "option --%s", option);
    if (address->bytes == 0)
        return 0;
    if (!options->peer_security.plaintext && options->peer_security.certificate_path == NULL)
        return baton_error_set(error, BATON_E_INVALID, what, "TCP without TLS is not protected",
                               "give --peer-cert, --peer-key and --peer-ca; or, on loopback, "
                               "--peer-plaintext");
    if (options->peer_security.plaintext &&
        !baton_tcp_is_loopback((const struct sockaddr *)&address->address))
        return baton_error_set(
            error, BATON_E_INVALID, what,
            "--peer-plaintext is for loopback: others could read and change all of it",
            "give an address like 127.0.0.1:7460");
    return 0;
}

static int read_certificates(baton_peer_security *security, const baton_option_set *set,
                             baton_error *error)
{
    security->certificate_path = set->values[RUN_PEER_CERT];
    security->key_path = set->values[RUN_PEER_KEY];
    security->ca_path = set->values[RUN_PEER_CA];
    security->name = set->values[RUN_PEER_NAME];
    const int given = (security->certificate_path != NULL) + (security->key_path != NULL) +
                      (security->ca_path != NULL);
    if (given == 0)
        return 0;
    if (given < 3)
        return baton_error_set(error, BATON_E_INVALID,
                               "options --peer-cert, --peer-key and --peer-ca",
                               "one of them is missing", "give all three, or none");
    if (security->plaintext)
        return baton_error_set(error, BATON_E_INVALID, "option --peer-plaintext",
                               "--peer-cert is given, too", "give one of the two");
    return baton_peer_tls_check(security, error);
}

static int read_peers(baton_run_options *options, const baton_option_set *set, baton_error *error)
{
    const char *listen = set->values[RUN_PEER_LISTEN];
    baton_tcp_address active = {.bytes = 0};
    options->peer_security.plaintext = set->values[RUN_PEER_PLAINTEXT] != NULL;
    if (listen != NULL && !baton_tcp_address_parse(listen, &options->peer_listen))
        return baton_error_setf(error, BATON_E_INVALID, "option --peer-listen",
                                "give one like 127.0.0.1:7460 or [::1]:0", "'%.100s' does not fit",
                                listen);
    if (options->standby_of != NULL && !baton_tcp_address_parse(options->standby_of, &active))
        active.bytes = 0;
    if (options->hydrate_from != NULL && options->standby_of == NULL)
        return baton_error_set(error, BATON_E_INVALID, "option --hydrate-from",
                               "only a standby begins with another one's snapshot",
                               "give --standby-of, too; or see `baton snapshot import`");
    int r = read_certificates(&options->peer_security, set, error);
    if (r == 0)
        r = check_tcp(options, "peer-listen", &options->peer_listen, error);
    return r < 0 ? r : check_tcp(options, "standby-of", &active, error);
}

int baton_run_options_read(baton_run_options *options, const baton_option_set *set,
                           const char *version, baton_error *error)
{
    *options = (baton_run_options){
        .directory = set->values[RUN_DIR],
        .standby_of = set->values[RUN_STANDBY_OF],
        .hydrate_from = set->values[RUN_HYDRATE_FROM],
        .program_values = set->values + set->program_first,
        .engine.config.values = set->values + set->service_first,
        .ready_fd = -1,
        .report_fd = -1,
    };
    if (options->directory == NULL || options->directory[0] == '\0')
        return baton_error_set(error, BATON_E_INVALID, "option --dir", "it is missing",
                               "name the directory of the service's data");
    int n = set->values[RUN_CONTROL] != NULL
                ? snprintf(options->control_path, sizeof(options->control_path), "%s",
                           set->values[RUN_CONTROL])
                : snprintf(options->control_path, sizeof(options->control_path), "%s/control.sock",
                           options->directory);
    if (n < 0 || (size_t)n >= sizeof(options->control_path))
        return baton_error_set(error, -ENAMETOOLONG, "option --control", NULL,
                               "give a shorter path");

    int r = read_choices(options, set, error);
    if (r == 0)
        r = baton_compatible_init(&options->compatible, version, set->values[RUN_COMPATIBLE_MIN],
                                  set->values[RUN_COMPATIBLE_MAX], options->compatible.warn_only,
                                  error);
    if (r == 0)
        r = read_peers(options, set, error);
    if (r == 0)
        r = read_arena(&options->engine.config.arena_options, set, error);
    if (r == 0)
        r = read_numbers(options, set, error);
    if (r == 0)
        r = read_hydrate_snapshots(options, set, error);
    if (r == 0)
        r = read_trust_root(options, set, error);
    if (r == 0)
        r = read_fd(set, RUN_READY_FD, &options->ready_fd, error);
    if (r == 0)
        r = read_fd(set, RUN_REPORT_FD, &options->report_fd, error);
    return r;
}
