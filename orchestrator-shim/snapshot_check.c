/* orchestrator-shim/snapshot_check.c: `baton snapshot verify`. */
#include <inttypes.h>
#include <stdlib.h>

#include <baton/clock.h>

#include "orchestrator-shim/snapshot_command.h"

static const char verify_help[] =
    "baton snapshot verify DIR [--seq N ... [--epoch N]] [--no-note] [-o text|json]\n"
    "\n"
    "Read every chunk of every snapshot (or of those of the seqs given) and compare it with its "
    "digest; one line for\n"
    "each. Exit code 11: one is damaged; stderr names file and offset.\n"
    "\n"
    "That one was found good is noted in a small file beside it, for `ls`; where that can't be "
    "written, it is not.\n"
    "\n"
    "  --seq N      only this one; may be given several times\n"
    "  --epoch N    of those with that seq only this one\n"
    "  --no-note    leave everything as it is\n"
    "\n"
    "Examples:\n"
    "  baton snapshot verify /var/lib/orders\n"
    "  baton snapshot verify /backup/orders --seq 1200000 --seq 1300000 --no-note -o json\n";

/* The answer is the verification; a read-only backup has it too, without the note. */
static void note(const snapshot_choices *chosen, const baton_snapshot_listed *listed, int status)
{
    const uint64_t now_ns = status == 0 ? baton_clock_wall_ns(baton_clock_system()) : 0;
    if (!chosen->note || (status != 0 && status != BATON_E_DAMAGED))
        return;
    const int r = baton_snapshot_note_verified(chosen->directory, listed, now_ns, NULL);
    (void)r;
}

static int verify_one(const snapshot_choices *chosen, const baton_snapshot_listed *listed)
{
    static char what[] = "verify";
    baton_error error;
    int r = baton_snapshot_verify_watched(chosen->directory, listed, show_progress, what, &error);
    end_progress();
    if (r == BATON_E_GONE && chosen->seqs_count == 0)
        return 0; /* a living service has pruned it since it was listed */
    note(chosen, listed, r);
    int code = r < 0 ? exit_code(r) : 0;
    if (chosen->json) {
        json_t *object = json_pack("{s:o, s:o, s:s}", "seq", json_number(listed->info.seq), "epoch",
                                   json_number(listed->info.epoch), "status", snapshot_verdict(r));
        if (object != NULL && r < 0)
            json_object_set_new(object, "error", json_error(&error));
        if (object != NULL && r == 0)
            json_object_set_new(object, "root", json_digest(listed->info.root));
        const int printed = print_json(object);
        code = code != 0 ? code : printed;
    } else {
        printf("%" PRIu64 "-%" PRIu64 ": %s\n", listed->info.seq, listed->info.epoch,
               snapshot_verdict(r));
    }
    if (r < 0)
        fail_with(&error);
    return code;
}

/* Those that were asked for and are not there; code is what the others gave. */
static int tell_missing(const snapshot_choices *chosen, const baton_snapshot_listed *found,
                        uint32_t count, int code)
{
    for (uint32_t i = 0; i < chosen->seqs_count; i++) {
        snapshot_choices one = *chosen;
        bool there = false;
        one.seqs[0] = chosen->seqs[i];
        one.seqs_count = 1;
        for (uint32_t j = 0; j < count && !there; j++)
            there = snapshot_is_wanted(&one, &found[j]);
        if (!there) {
            const int missing = snapshot_none_such(chosen->directory, &chosen->seqs[i]);
            code = code != 0 ? code : missing;
        }
    }
    return code;
}

int snapshot_verify(int argc, char **argv)
{
    static const struct option options[] = {SNAPSHOT_OPTION_SEQ,
                                            SNAPSHOT_OPTION_EPOCH,
                                            {"no-note", no_argument, NULL, 'N'},
                                            SNAPSHOT_OPTIONS_END};
    snapshot_choices chosen;
    baton_snapshot_listed *found = NULL;
    uint32_t count = 0;
    int code;
    if (!snapshot_options_directory(argc, argv, options, verify_help, &chosen, &code))
        return code;
    code = snapshot_list(&chosen, &found, &count);
    if (code != 0)
        return code;
    for (uint32_t i = 0; i < count; i++) {
        if (!snapshot_is_wanted(&chosen, &found[i]))
            continue;
        const int one = verify_one(&chosen, &found[i]);
        code = one > code ? one : code; /* damage, 11, is the highest */
    }
    code = tell_missing(&chosen, found, count, code);
    free(found);
    return code;
}
