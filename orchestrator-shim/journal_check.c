/* orchestrator-shim/journal_check.c: `baton journal verify|repair`. */
#include "orchestrator-shim/command.h"

#include <stdlib.h>
#include <string.h>

static const char verify_help[] =
    "baton journal verify DIR [DIR...] [--io auto|uring|threads] [-o text|json]\n"
    "\n"
    "Check every byte that recovery would accept. With several directories also that each and the "
    "one "
    "before it are\n"
    "one journal, whichever way it was handed over: one of the two goes on exactly where the other "
    "ends, in an unbroken\n"
    "digest chain; no seq has two writers, no epoch was begun in both. Where they part, it says "
    "after "
    "which entry.\n"
    "An epoch of 4294967296 or more says that a promotion was forced, and how often.\n"
    "An absent or empty journal is fine. Exit codes: 0 good, 10 a torn tail (the next start or "
    "`repair` cuts it),\n"
    "11 acknowledged data is damaged.\n"
    "\n"
    "Example:\n"
    "  baton journal verify /var/lib/orders-old/journal /var/lib/orders/journal\n";

static const char repair_help[] =
    "baton journal repair DIR [--accept-loss] [--io auto|uring|threads] [-o text|json]\n"
    "\n"
    "Cut a torn tail, which a start does by itself. With --accept-loss also cut at damage: what is "
    "behind it is moved\n"
    "aside, never deleted; entries that were acknowledged once are gone from the journal then.\n"
    "\n"
    "Example:\n"
    "  baton journal repair /var/lib/orders/journal --accept-loss\n";

bool read_check_options(int argc, char **argv, const char *help, bool with_accept_loss,
                        check_options *chosen, int *ret_code)
{
    static const struct option options[] = {{"io", required_argument, NULL, 'i'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"accept-loss", no_argument, NULL, 'l'},
                                            {NULL, 0, NULL, 0}};
    *chosen = (check_options){0};
    *ret_code = 1;
    for (int option; (option = next_option(argc, argv, options, help)) != -1;) {
        bool fits = true;
        if (option == OPTION_HELP) {
            *ret_code = 0;
            return false;
        }
        if (option == 'i')
            fits = read_backend(optarg, &chosen->backend);
        else if (option == 'o')
            fits = read_output(optarg, &chosen->json);
        else if (option == 'l' && with_accept_loss)
            chosen->accept_loss = true;
        else if (option == 'l')
            fits = fail_usage("option --accept-loss", "only `repair` takes it", "see --help") == 0;
        if (option == OPTION_WRONG || !fits)
            return false;
    }
    if (argc == optind) {
        fail_usage("journal", "the directory is missing", "see --help");
        return false;
    }
    return true;
}

const char *journal_verdict(int status, const baton_journal_summary *summary)
{
    if (status == BATON_E_TORN)
        return "torn";
    if (status == BATON_E_DAMAGED)
        return "damaged";
    if (status < 0)
        return "error";
    return summary->batches_count == 0 && summary->recovery.last.seq == 0 ? "empty" : "good";
}

json_t *journal_describe(const char *directory, int status, const baton_journal_summary *summary,
                         const baton_error *error)
{
    json_t *object =
        json_pack("{s:o, s:s, s:o, s:o, s:o, s:b}", "directory", json_text(directory), "status",
                  journal_verdict(status, summary), "id", json_digest(summary->id), "service",
                  json_text(summary->service), "epoch", json_number(summary->epoch), "closed",
                  (int)summary->closed);
    if (object == NULL)
        return NULL;
    json_object_set_new(object, "forced_promotions",
                        json_number(baton_epoch_forced_count(summary->epoch)));
    json_object_set_new(object, "first_seq", json_number(summary->recovery.first_seq));
    json_object_set_new(object, "last_seq", json_number(summary->recovery.last.seq));
    json_object_set_new(object, "segments", json_number(summary->segments_count));
    json_object_set_new(object, "batches", json_number(summary->batches_count));
    json_object_set_new(object, "entries", json_number(summary->entries_count));
    json_object_set_new(object, "records", json_number(summary->records_count));
    json_object_set_new(object, "payload_bytes", json_number(summary->payload_bytes));
    json_object_set_new(object, "stored_bytes", json_number(summary->stored_bytes));
    json_object_set_new(object, "last_digest", json_digest(summary->last_digest));
    json_object_set_new(object, "recovery", json_recovery(&summary->recovery));
    if (status < 0)
        json_object_set_new(object, "error", json_error(error));
    return object;
}

static void print_verdict(const char *directory, int status, const baton_journal_summary *summary)
{
    const char *word = journal_verdict(status, summary);
    if (strcmp(word, "empty") == 0 || (status < 0 && status != BATON_E_TORN)) {
        printf("%s: %s\n", directory, word);
        return;
    }
    const uint64_t forced = baton_epoch_forced_count(summary->epoch);
    char promoted[80] = "";
    if (forced > 0)
        snprintf(promoted, sizeof(promoted), ", promoted by force %llu time%s",
                 (unsigned long long)forced, forced == 1 ? "" : "s");
    printf(
        "%s: %s: %llu entries, seq %llu to %llu, epoch %llu, %llu segments%s%s\n", directory, word,
        (unsigned long long)summary->entries_count, (unsigned long long)summary->recovery.first_seq,
        (unsigned long long)summary->recovery.last.seq, (unsigned long long)summary->epoch,
        (unsigned long long)summary->segments_count, summary->closed ? ", closed" : "", promoted);
}

/* Damage is worse than an error that may be about this run only, and that is worse than a tail
 * that repairs itself. */
int worse_code(int a, int b)
{
    static const int order[] = {11, 1, 7, 8, 10, 0};
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        if (a == order[i] || b == order[i])
            return order[i];
    return 1;
}

static int check_one(const char *named, const check_options *chosen, json_t *results)
{
    static char label[] = "checking";
    char room[JOURNAL_DIRECTORY_BYTES];
    const char *directory = journal_in(named, room);
    baton_error error = {.offset = UINT64_MAX};
    baton_journal_summary summary = {0};
    int r =
        baton_journal_verify(directory, chosen->backend, show_progress, label, &summary, &error);
    end_progress();
    error.status = r;
    if (chosen->json)
        json_array_append_new(results, journal_describe(directory, r, &summary, &error));
    else
        print_verdict(directory, r, &summary);
    return r < 0 ? fail_with(&error) : 0;
}

static int check_pair(const char *first, const char *second, const check_options *chosen,
                      json_t *results)
{
    baton_error error = {.offset = UINT64_MAX};
    baton_journal_pair pair = {0};
    char room[2][JOURNAL_DIRECTORY_BYTES];
    first = journal_in(first, room[0]);
    second = journal_in(second, room[1]);
    int r = baton_journal_verify_pair(first, second, chosen->backend, &pair, &error);
    error.status = r;
    const char *shorter = pair.first_goes_on ? second : first;
    const char *longer = pair.first_goes_on ? first : second;
    if (chosen->json) {
        json_t *object = json_pack("{s:o, s:o, s:b, s:b}", "previous", json_text(shorter), "next",
                                   json_text(longer), "continues", (int)(r == 0), "same_end",
                                   (int)(r == 0 && !pair.first_goes_on && !pair.second_goes_on));
        if (r < 0 && object != NULL)
            json_object_set_new(object, "error", json_error(&error));
        json_array_append_new(results, object);
    } else if (r == 0 && !pair.first_goes_on && !pair.second_goes_on) {
        printf("%s and %s end with the same batch: one chain\n", first, second);
    } else if (r == 0) {
        printf("%s goes on where %s ends: one chain, one writer for each seq\n", longer, shorter);
    }
    return r < 0 ? fail_with(&error) : 0;
}

int journal_verify(int argc, char **argv)
{
    check_options chosen;
    int code = 0;
    if (!read_check_options(argc, argv, verify_help, false, &chosen, &code))
        return code;
    json_t *journals = json_array();
    json_t *handovers = json_array();
    code = 0;
    for (int i = optind; i < argc; i++)
        code = worse_code(code, check_one(argv[i], &chosen, journals));
    for (int i = optind + 1; i < argc && (code == 0 || code == 10); i++)
        code = worse_code(code, check_pair(argv[i - 1], argv[i], &chosen, handovers));
    if (!chosen.json) {
        json_decref(journals);
        json_decref(handovers);
        return code;
    }
    const int printed = print_json(json_pack("{s:b, s:o, s:o}", "ok", (int)(code == 0), "journals",
                                             journals, "continues", handovers));
    return worse_code(code, printed);
}

int journal_repair(int argc, char **argv)
{
    check_options chosen;
    baton_error error = {.offset = UINT64_MAX};
    baton_repair_report report = {0};
    int code = 0;
    if (!read_check_options(argc, argv, repair_help, true, &chosen, &code))
        return code;
    const char *directory = one_directory(argc, argv);
    if (directory == NULL)
        return 1;
    int r = baton_journal_repair(directory, chosen.backend, chosen.accept_loss, &report, &error);
    if (r < 0) {
        error.status = r;
        return fail_with(&error);
    }
    if (chosen.json)
        return print_json(
            json_pack("{s:b, s:o, s:o, s:o, s:o}", "repaired", (int)(report.cut_bytes > 0),
                      "cut_bytes", json_number(report.cut_bytes), "lost_entries_at_least",
                      json_number(report.lost_entries_at_least), "kept_in",
                      json_text(report.kept_path), "last_seq", json_number(report.last.seq)));
    if (report.cut_bytes == 0 && report.kept_path[0] == '\0')
        printf("%s: nothing to repair\n", directory);
    else
        printf("%s: cut %llu bytes, kept in %s; it ends at seq %llu now; acknowledged entries "
               "lost: %llu%s\n",
               directory, (unsigned long long)report.cut_bytes, report.kept_path,
               (unsigned long long)report.last.seq,
               (unsigned long long)report.lost_entries_at_least,
               report.lost_entries_at_least > 0 ? " or more" : "");
    return 0;
}
