/* drain/herald.h: one that serves tells the other side of its last handover so, when that is on another host:
 * whoever serves there in a lower epoch is fenced by it, and who serves in a higher one is found out (R12).
 * A thread of its own: connecting may take long. */
#pragma once

#include "drain/bootstrap.h"
#include "drain/partner.h"

typedef struct baton_herald baton_herald;

typedef struct {
    baton_follower_target target; /* whom to tell; its place is this instance's */
    uint64_t epoch;
    baton_digest journal_id;
} baton_herald_options;

/* What came of it. */
typedef struct {
    uint64_t heard_ns; /* when somebody answered at last; 0: never */
    bool serves;       /* the other one said that it serves, in this epoch: */
    uint64_t epoch;
    baton_partner other;
    baton_peer_place said;
} baton_herald_news;

/* NULL: no memory or no thread; it is logged, and nothing rests on it but time. */
baton_herald *baton_herald_open(const baton_herald_options *options);
/* True: there is news since the last call. */
bool baton_herald_get(baton_herald *herald, baton_herald_news *ret_news);
void baton_herald_close(baton_herald *herald); /* NULL is fine */
