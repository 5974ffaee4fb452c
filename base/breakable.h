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

typedef enum {
#define BATON_BREAK_ENUM(name, text) BATON_BREAK_##name,
    BATON_BREAK_LIST(BATON_BREAK_ENUM)
#undef BATON_BREAK_ENUM
        BATON_BREAKS,
} baton_break;

#ifdef BATON_BREAKABLE
extern int baton_break_chosen; /* a baton_break */
extern const char *const baton_break_names[BATON_BREAKS];
#define BATON_BREAK(name) (baton_break_chosen == BATON_BREAK_##name)
#else
#define BATON_BREAK(name) 0
#endif
