#include "examples/exchange/replay/summary.h"

#include <errno.h>
#include <inttypes.h>

typedef struct {
    summary_form form;
    bool begun;
} printer;

static void begin_fact(printer *to, const char *name)
{
    if (to->form == SUMMARY_JSON)
        printf("%s\"%s\": ", to->begun ? ", " : "{", name);
    else
        printf("%-20s", name);
    to->begun = true;
}

static void end_fact(const printer *to)
{
    if (to->form == SUMMARY_TEXT)
        putchar('\n');
}

static void number(printer *to, const char *name, uint64_t value)
{
    begin_fact(to, name);
    printf("%" PRIu64, value);
    end_fact(to);
}

static void digest(printer *to, const char *name, baton_digest value)
{
    char text[BATON_DIGEST_TEXT_BYTES];
    const char *quote = to->form == SUMMARY_JSON ? "\"" : "";
    begin_fact(to, name);
    printf("%s%s%s", quote, baton_digest_text(value, text), quote);
    end_fact(to);
}

static void level(printer *to, const char *name, const book_level *value)
{
    begin_fact(to, name);
    if (value->orders_count == 0)
        printf(to->form == SUMMARY_JSON ? "null" : "none");
    else if (to->form == SUMMARY_JSON)
        printf("{\"price\": %" PRId64 ", \"size\": %" PRIu64 "}", value->price, value->size);
    else
        printf("%" PRIu64 " at %" PRId64, value->size, value->price);
    end_fact(to);
}

static int finish(const printer *to)
{
    errno = 0;
    if (to->form == SUMMARY_JSON)
        printf("}\n");
    if (fflush(stdout) != 0 || ferror(stdout))
        return errno ? -errno : -EIO;
    return 0;
}

int summary_lobster(const lobster_summary *summary, summary_form form)
{
    const lobster_counts *counts = &summary->counts;
    printer to = {.form = form};
    number(&to, "messages", counts->messages);
    number(&to, "added", counts->added);
    number(&to, "reduced", counts->reduced);
    number(&to, "deleted", counts->deleted);
    number(&to, "executed", counts->executed);
    number(&to, "executed_exactly", counts->executed_exactly);
    number(&to, "hidden", counts->hidden);
    number(&to, "halts", counts->halts);
    number(&to, "ignored", counts->ignored);
    number(&to, "fills", counts->fills);
    number(&to, "orders_resting", summary->orders_resting);
    level(&to, "best_bid", &summary->bid);
    level(&to, "best_ask", &summary->ask);
    digest(&to, "digest", summary->digest);
    return finish(&to);
}

int summary_orders(const orders_summary *summary, summary_form form)
{
    printer to = {.form = form};
    number(&to, "commands", summary->commands);
    number(&to, "accepted", summary->accepted);
    number(&to, "rejected", summary->rejected);
    number(&to, "cancelled", summary->cancelled);
    number(&to, "trades", summary->trades);
    number(&to, "filled", summary->filled);
    number(&to, "partially_filled", summary->partially_filled);
    number(&to, "orders_resting", summary->orders_resting);
    number(&to, "accounts", summary->accounts);
    digest(&to, "book_digest", summary->book_digest);
    digest(&to, "ledger_digest", summary->ledger_digest);
    return finish(&to);
}

int summary_commands(const commands_summary *summary, summary_form form)
{
    printer to = {.form = form};
    number(&to, "commands", summary->commands);
    number(&to, "done", summary->done);
    number(&to, "refused", summary->refused);
    number(&to, "trades", summary->trades);
    number(&to, "orders_resting", summary->orders_resting);
    digest(&to, "digest", summary->digest);
    return finish(&to);
}
