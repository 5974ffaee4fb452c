/* base/breakable.h: places where a test breaks the library on purpose, to show that it would be
 * noticed. In every build but that test's own BATON_BREAK is the constant 0, and nothing of it is
 * compiled. */
#pragma once

/* X(NAME, "name for the command line") */
#define BATON_BREAK_LIST(X)                                                                        \
    X(NOTHING, "nothing")                                                                          \
    X(ACKS_OUT_OF_ORDER, "acks-out-of-order")                                                      \
    X(NO_IDENTITY_CHECK, "no-epoch-and-batch-check")                                               \
    X(NO_EVIDENCE, "no-durable-position")                                                          \
    X(STALE_IS_TORN, "stale-bytes-are-torn")                                                       \
    X(NO_IDLE_MARK, "no-idle-mark")                                                                \
    X(REUSE_DEAD_SEGMENT, "reuse-of-a-dead-writers-segment")                                       \
    X(NO_DIRECTORY_FLUSH, "no-directory-flush")                                                    \
    X(STOP_AT_BAD_HEADER, "stop-at-the-first-bad-header")                                          \
    X(ACK_BEFORE_HEADER, "answers-before-the-header")

/* The same of the snapshots and of the engine's task that takes them. */
#define BATON_SNAPSHOT_BREAK_LIST(X)                                                               \
    X(NO_CHUNKS_FLUSH, "no-chunks-flush")                                                          \
    X(NO_NAMES_FLUSH, "no-directory-flush")                                                        \
    X(NO_CHUNK_DIGEST, "no-chunk-digest")                                                          \
    X(CHUNKS_REMOVED_FIRST, "chunks-removed-first")                                                \
    X(NO_FLUSH_AT_OPEN, "no-flush-of-what-a-start-builds-on")                                      \
    X(REPLAY_PAST_RECOVERY, "replay-past-what-recovery-found")                                     \
    X(PRUNE_BEFORE_ROOT, "prune-before-the-root-is-durable")                                       \
    X(TRACKER_LOSES_A_PAGE, "tracker-loses-a-page")                                                \
    X(NO_IMAGE_FLUSH, "no-flush-of-an-images-chunks")                                              \
    X(NO_IMAGE_DIGEST, "no-digest-of-an-images-chunk")                                             \
    X(STALE_PARENT, "adds-to-one-before-a-failed-image")                                           \
    X(PARENT_PRUNED, "parent-pruned-before-its-increment")                                         \
    X(PARENT_BY_ORDER, "increment-applied-on-whatever-is-older")                                   \
    X(PINNED_CHAIN_PRUNED, "parent-of-a-pinned-image-pruned")

/* And of handing over: drain/ and what it stands on. */
#define BATON_HANDOVER_BREAK_LIST(X)                                                               \
    X(ACT_EARLY, "successor-acts-before-the-record-is-durable")                                    \
    X(RESUME_LATE, "old-resumes-after-submit")                                                     \
    X(NO_DIGEST_COMPARISON, "no-digest-comparison")                                                \
    X(NO_EPOCH_CHECK, "no-epoch-check")                                                            \
    X(NO_FLUSH_BEFORE_ACTING, "no-flush-before-acting")                                            \
    X(NAMES_IGNORED, "names-above-e-ignored")                                                      \
    X(ANSWERS_UNDURABLE, "standby-acks-before-durable")                                            \
    X(FEEDS_UNDURABLE, "feeder-sends-what-is-not-durable")                                         \
    X(WORD_BY_NONCE, "who-is-named-has-its-promise-out")

typedef enum {
#define BATON_BREAK_ENUM(name, text) BATON_BREAK_##name,
    BATON_BREAK_LIST(BATON_BREAK_ENUM)
        BATON_BREAKS, /* of the journal; those of the snapshots follow */
    BATON_SNAPSHOT_BREAK_LIST(BATON_BREAK_ENUM) BATON_HANDOVER_BREAK_FIRST_,
    BATON_HANDOVER_BREAK_LIST(BATON_BREAK_ENUM)
#undef BATON_BREAK_ENUM
} baton_break;
#define BATON_HANDOVER_BREAK_FIRST (BATON_HANDOVER_BREAK_FIRST_ + 1)

#ifdef BATON_BREAKABLE
extern int baton_break_chosen; /* a baton_break */
extern const char *const baton_break_names[BATON_BREAKS];
#define BATON_BREAK(name) (baton_break_chosen == BATON_BREAK_##name)
#else
#define BATON_BREAK(name) 0
#endif
