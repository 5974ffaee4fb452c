/* orchestrator-shim/snapshot_copy.c: `baton snapshot export` and `import`. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <baton/snapshot_export.h>

#include "orchestrator-shim/progress.h"
#include "orchestrator-shim/snapshot_command.h"

static const char export_help[] =
    "baton snapshot export A FILE [--compress auto|lz4|raw] [-o text|json]\n"
    "\n"
    "One snapshot as one file, and FILE.sha256 beside it, which `sha256sum -c` reads. Every chunk "
    "is "
    "compared with its\n"
    "digest on the way. FILE is there as a whole or not at all, and must not be there before.\n"
    "\n"
    "A is DIR (its newest), DIR@SEQ, DIR@SEQ-EPOCH, or the path of a manifest.\n"
    "\n"
    "  --compress   of chunks that are stored raw, for the way only: an import makes the very "
    "bytes "
    "that were\n"
    "               exported, under the same root. Default: lz4\n"
    "\n"
    "Examples:\n"
    "  baton snapshot export /var/lib/orders /backup/orders-today.snapshot\n"
    "  baton snapshot export /var/lib/orders@1200000 /backup/orders-1200000.snapshot\n";

static const char import_help[] =
    "baton snapshot import FILE DIR [--force] [-o text|json]\n"
    "\n"
    "Put an exported snapshot into a directory. It is published only when every byte of the file "
    "was "
    "found good, and\n"
    "FILE.sha256 fits where it is there. Exit code 11: the file is damaged or cut short; stderr "
    "says "
    "where. A service that\n"
    "runs there is in the way (exit code 7). A start trusts it where the journal names its root.\n"
    "\n"
    "  --force      also into a directory of another service or journal, and over a damaged "
    "snapshot "
    "of the same seq\n"
    "               and epoch\n"
    "\n"
    "Example:\n"
    "  baton snapshot import /backup/orders-1200000.snapshot /var/lib/orders\n";

/* What both directions carry along: the sum of every byte, and what is done before publishing. */
typedef struct {
    const char *path;
    checksum *sum;
    char text[CHECKSUM_TEXT_BYTES];
    bool written;
    uint64_t kept_bytes; /* an import that was killed had brought them */
} copying;

static void observe(void *context, const void *bytes, uint64_t bytes_count)
{
    checksum_add(((copying *)context)->sum, bytes, bytes_count);
}

static int finish_sum(copying *self, baton_error *error)
{
    checksum_end(self->sum, self->text);
    self->sum = NULL;
    if (self->text[0] != '\0')
        return 0;
    return baton_error_set(error, -EIO, "the checksum", "OpenSSL could not compute it",
                           "look at its configuration");
}

static int write_sum(void *context, baton_error *error)
{
    copying *self = context;
    int r = finish_sum(self, error);
    if (r == 0)
        r = checksum_write(self->path, self->text, error);
    self->written = r == 0;
    return r;
}

static int compare_sum(void *context, baton_error *error)
{
    copying *self = context;
    char wanted[CHECKSUM_TEXT_BYTES];
    int r = finish_sum(self, error);
    if (r == 0)
        r = checksum_read(self->path, wanted, error);
    if (r <= 0 || strcmp(wanted, self->text) == 0)
        return r < 0 ? r : 0;
    baton_error_set(error, BATON_E_DAMAGED, "import a snapshot",
                    "the file does not fit the checksum beside it",
                    "fetch both again, or use another export");
    baton_error_at(error, self->path, UINT64_MAX);
    return BATON_E_DAMAGED;
}

static void export_progress(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    static char what[] = "export";
    (void)context;
    show_progress(what, done_bytes, all_bytes);
}

/* Not the terminal's bar: it is worth knowing afterwards, too. */
static void import_resumed(void *context, uint64_t kept_bytes, uint64_t all_bytes)
{
    copying *self = context;
    char kept[HUMAN_BYTES];
    char all[HUMAN_BYTES];
    self->kept_bytes = kept_bytes;
    fprintf(stderr, "import: %s of %s are here already, from an import that was ended: verified\n",
            human_size(kept_bytes, kept), human_size(all_bytes, all));
}

static void import_progress(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    static char what[] = "import";
    (void)context;
    show_progress(what, done_bytes, all_bytes);
}

/* Two words; false when that was told. */
static bool has_two_words(int argc, const char *which)
{
    if (argc - optind == 2)
        return true;
    fail_usage("snapshot", which, "see --help");
    return false;
}

static int print_copy(const snapshot_choices *chosen, const baton_snapshot_info *info,
                      const copying *self, uint64_t bytes)
{
    char root[BATON_DIGEST_TEXT_BYTES];
    char size[HUMAN_BYTES];
    json_t *object =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:s}", "seq", json_number(info->seq), "epoch",
                  json_number(info->epoch), "service", json_text(info->service), "root",
                  json_digest(info->root), "file", json_text(self->path), "sha256", self->text);
    if (object != NULL && bytes != 0)
        json_object_set_new(object, "bytes", json_number(bytes));
    else if (object != NULL)
        json_object_set_new(object, "kept_bytes", json_number(self->kept_bytes));
    if (chosen->json)
        return print_json(object);
    json_decref(object);
    printf("%" PRIu64 "-%" PRIu64 " of %s, root %s: %s", info->seq, info->epoch, info->service,
           baton_digest_text(info->root, root), bytes != 0 ? "exported" : "imported");
    if (bytes != 0)
        printf(", %s", human_size(bytes, size));
    printf("\n");
    return 0;
}

int snapshot_export(int argc, char **argv)
{
    static const struct option options[] = {{"compress", required_argument, NULL, 'c'},
                                            SNAPSHOT_OPTIONS_END};
    snapshot_choices chosen;
    baton_snapshot_listed listed;
    baton_error error;
    uint64_t bytes = 0;
    int code;
    if (!snapshot_options(argc, argv, options, export_help, &chosen, &code))
        return code;
    if (!has_two_words(argc, "it takes a snapshot and a file"))
        return 1;
    copying self = {.path = argv[optind + 1]};
    code = snapshot_by_word(argv[optind], chosen.directory, &listed);
    if (code != 0)
        return code;
    self.sum = checksum_begin();
    if (self.sum == NULL)
        return fail_usage("export a snapshot", "memory is short", "give the process more memory");
    const baton_snapshot_transfer transfer = {.compress = chosen.compress,
                                              .observe = observe,
                                              .settle = write_sum,
                                              .progress = export_progress,
                                              .context = &self};
    int r = baton_snapshot_export(chosen.directory, &listed, self.path, &transfer, &bytes, &error);
    end_progress();
    if (r < 0) {
        char path[2 * SNAPSHOT_PATH_BYTES];
        if (self.sum != NULL)
            checksum_end(self.sum, self.text);
        snprintf(path, sizeof(path), "%s.sha256", self.path);
        if (self.written && access(self.path, F_OK) < 0)
            unlink(path);
        return fail_with(&error);
    }
    return print_copy(&chosen, &listed.info, &self, bytes);
}

static int import_locked(const snapshot_choices *chosen, copying *self)
{
    const baton_snapshot_transfer transfer = {.force = chosen->force,
                                              .observe = observe,
                                              .settle = compare_sum,
                                              .resumed = import_resumed,
                                              .progress = import_progress,
                                              .context = self};
    baton_snapshot_info info;
    baton_error error;
    self->sum = checksum_begin();
    if (self->sum == NULL)
        return fail_usage("import a snapshot", "memory is short", "give the process more memory");
    int r = baton_snapshot_import(self->path, chosen->directory, &transfer, &info, &error);
    end_progress();
    if (self->sum != NULL)
        checksum_end(self->sum, self->text);
    return r < 0 ? fail_with(&error) : print_copy(chosen, &info, self, 0);
}

int snapshot_import(int argc, char **argv)
{
    static const struct option options[] = {{"force", no_argument, NULL, 'f'},
                                            SNAPSHOT_OPTIONS_END};
    snapshot_choices chosen;
    int lock;
    int code;
    if (!snapshot_options(argc, argv, options, import_help, &chosen, &code))
        return code;
    if (!has_two_words(argc, "it takes a file and a directory") ||
        !snapshot_directory(argv[optind + 1], true, chosen.directory))
        return 1;
    copying self = {.path = argv[optind]};
    /* The lock is found from the directory; a failed import takes an empty one away again. */
    const bool made = mkdir(chosen.directory, 0750) == 0;
    code = snapshot_lock(chosen.directory, "import a snapshot", &lock);
    if (code == 0)
        code = import_locked(&chosen, &self);
    if (made && code != 0)
        rmdir(chosen.directory);
    if (lock >= 0)
        close(lock);
    return code;
}
