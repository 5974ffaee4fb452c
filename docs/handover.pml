/* The handover protocol of docs/handover.md, as a model for spin: rules R1.., messages M1...
 *
 * Two directories and the process of each: A, the old one, and N, the standby that the orchestrator
 * chose. A process is a set of guarded steps; one step is one act that others can see. Between any
 * two of its steps it may be killed, or simply not run for as long as the others like: a stopped
 * process is one that is not scheduled. The clock is not modelled: a time that may have run out is a
 * step that may be taken.
 *
 * What the disk does: a header or record that was submitted is FLYING until its writer learns that it
 * is durable. If the writer dies it stays so, may land at any later time, or never. A record that
 * landed unasked is VISIBLE: power loss may take it, a flush makes it DURABLE. A header that landed
 * is durable (whoever finds one flushes it, R9). Names are durable before their header is submitted;
 * one whose header is not there may be removed by the next start, and what was to land there with it.
 *
 * Left out, because nothing rests on it: M2 and M3 (clients notice nothing before M4), batches on
 * their way to N (an ordered stream: all that comes before M4 is there when M4 is), reading and
 * writing of sockets, M9 sent unasked (it may be lost anyway; N asks).
 *
 *   spin -a docs/handover.pml && gcc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m400000
 *   spin -a -DLIVENESS -DNO_JUDGE ... && gcc -O2 -DNFAIR=3 -DCOLLAPSE ... && ./pan -a -f -m400000
 *
 * -DTWO_HOSTS: no LOCK of the other directory, power is lost on A's host alone. -DMISTAKE_...: a rule
 * taken out. tests/e2e/handover_model.py runs all of them. */

#ifndef SEQS
#define SEQS 2   /* entries that clients send */
#endif
#ifndef KILLS
#define KILLS 2  /* kill -9 of either process */
#endif
#ifndef POWER
#define POWER 1  /* power loss */
#endif
#ifndef LOSSES
#define LOSSES 1 /* messages lost */
#endif
#ifndef TRIES
#define TRIES 2  /* handovers that the orchestrator asks for */
#endif

#define A      0
#define N      1
#define NOBODY 2

/* M4 M5 M7 M8 M9, M10 without and with an answer that is out, authority */
mtype = { FINAL, ANSWER, GRANT, TAKEN, ABORT, HELLO, PROMISED, YOU };
mtype = { DOWN, SERVING, STOPPED, OFFERED, SUBMITTED, GRANTED, FENCED, BEGINNING, /* old */
          FOLLOWING, ANSWERED, LOOKING, FLUSHED, DECIDING };                      /* new */
mtype = { NONE, FLYING, VISIBLE, DURABLE };

/* ---- the two processes; all of it gone when one dies ---- */
mtype st[2] = DOWN;
byte nonce[2];   /* start nonce */
byte offer;      /* A: of this try */
byte asked;      /* A: N's nonce, as M1 named it */
byte heard;      /* N: the offer that it answered */
byte heard_from; /* N: the nonce of the A that made it */
byte heard_name; /* N: the highest name in DA then: its record is of that term */

/* ---- the two directories ---- */
byte lock[2];      /* who holds LOCK */
byte name[2];      /* highest name */
byte header[2];    /* highest header; 0: none of its own */
byte flying[2];    /* a header under way */
bool blind;        /* A's header under way was begun without knowing of a record: it cuts there */
bool overrules;    /* A's highest header was begun after a grant */
bool proven[2];    /* a batch of the term after the grant was accepted */
byte length[2];    /* entries accepted */
byte wrote[8];     /* [2 * seq + directory]: whose bytes stand there */
bool entry[2];     /* an entry's write is under way */

/* ---- the record: in DA ---- */
mtype record = NONE;
byte record_epoch, record_seq, record_to;

/* ---- what clients and a reader know ---- */
byte acked;
byte acked_of[4]; /* whose bytes were acknowledged at this seq */

bool diverged; /* N's state is not A's: a digest would show it */
byte kills = KILLS, powers = POWER, losses = LOSSES;

chan to[2] = [1] of { mtype, byte, byte, byte }; /* kind, sender's nonce, receiver's nonce, value */
chan ask = [1] of { byte, byte, byte };          /* M1: nonces of A and N, number of the try */

#define ME(p)          (2 * nonce[p] + p)
#define WROTE(p, seq)  wrote[2 * (seq) + (p)]
#define ACTIVE(p)      (st[p] == SERVING || st[p] == STOPPED)
#define LOOKS_GRANTED  ((record == VISIBLE || record == DURABLE) && record_epoch == header[A])
#ifdef MISTAKE_SPOILT
#define UNSPOILT       true
#else
#define UNSPOILT       (name[A] == record_epoch)
#endif
#ifdef MISTAKE_ANY_NONCE
#define NAMES_ME(n)    ((n) > 0)
#define MAY_ACT        true
#else
#define NAMES_ME(n)    ((n) == nonce[N])
#define MAY_ACT        (st[N] == ANSWERED)
#endif
#define GRANTS_ME      (LOOKS_GRANTED && NAMES_ME(record_to))
#define QUESTION(kind) ((kind) == HELLO || (kind) == PROMISED)
#ifdef MISTAKE_WORD_BY_NONCE
#define MAY_TAKE(kind) true
#else
#define MAY_TAKE(kind) ((kind) == PROMISED)
#endif

#ifdef MISTAKE_OWN_NAMES
#define ABOVE_BOTH(p) (name[p])
#else
#define ABOVE_BOTH(p) (name[A] > name[N] -> name[A] : name[N])
#endif
#ifdef MISTAKE_NO_EPOCH
#define NEXT(x)     (x) /* a term has no number of its own */
#define NEWER(x, y) ((x) >= (y))
#else
#define NEWER(x, y) ((x) > (y))
#define NEXT(x) ((x) + 1)
#endif

/* ---- dying, and what the disk does ---- */

inline unlock(d, p)
{
    if
    :: lock[d] == p -> lock[d] = NOBODY
    :: else
    fi
}

inline die(p)
{
    st[p] = DOWN;
    unlock(A, p);
    unlock(N, p);
    if
    :: p == A -> offer = 0; asked = 0
    :: else -> heard = 0; heard_from = 0; heard_name = 0
    fi
}

inline land(d) /* the header under way is there */
{
    if
    :: NEWER(flying[d], header[d]) ->
        header[d] = flying[d];
        if
        :: d == A && blind -> overrules = false; record = NONE /* it cuts what stands behind */
        :: d == A && !blind -> overrules = true; proven[A] = false
        :: else
        fi
    :: else
    fi;
    flying[d] = 0
}

/* ---- terms ---- */

byte floor; /* the next term's epoch is above it */

inline begin(p, without_knowing) /* R9: the name, then the header */
{
    name[p] = NEXT(floor);
    floor = 0;
    flying[p] = name[p];
    if
    :: p == A -> blind = without_knowing
    :: else
    fi;
    st[p] = BEGINNING
}

inline begun(p)
{
    land(p);
#ifndef TWO_HOSTS
    unlock(1 - p, p);
#endif
    st[p] = SERVING;
    assert(!(ACTIVE(A) && ACTIVE(N)) && st[1 - p] != OFFERED);
    assert(p == A || !diverged);
    assert(length[p] >= acked); /* nothing acknowledged is missing, and nothing is another's */
    assert(acked < 1 || WROTE(p, 1) == acked_of[1]);
    assert(acked < 2 || WROTE(p, 2) == acked_of[2]);
    assert(acked < 3 || WROTE(p, 3) == acked_of[3])
}

inline accept(p) /* an entry is durable, or recovery finds it */
{
    entry[p] = false;
    length[p]++;
    WROTE(p, length[p]) = ME(p);
    proven[p] = true;
    /* One writer at a seq: nobody acknowledged other bytes there, the other directory has no others. */
    assert(length[p] > acked);
    assert(length[1 - p] < length[p] || WROTE(1 - p, length[p]) == WROTE(p, length[p]))
}

inline recover(p) /* what the dead writer had under way is there, or void from the next header on */
{
    if
    :: entry[p] -> accept(p)
    :: entry[p] = false
    fi
}

inline tidy(p) /* R5: a start that begins nothing removes the file of a header that is not there, or not */
{
    if
    :: name[p] > header[p] -> name[p] = header[p]; flying[p] = 0
    :: skip
    fi
}

#define FREE(d) (lock[d] == NOBODY)
#define CONNECTED(p, n) (st[p] != DOWN && nonce[p] == (n))
#define MAY_DIE(p) (kills > 0 && st[p] != DOWN)

/* What every active does: take an entry in, learn that it is durable, acknowledge. */
#define TAKES_IN(p)     (st[p] == SERVING && !entry[p] && length[p] < SEQS)
#define LEARNS(p)       (ACTIVE(p) && entry[p])
#define MARKS(p)        (st[p] == SERVING && !entry[p] && !proven[p]) /* a batch without entries */
#define ACKNOWLEDGES(p) (ACTIVE(p) && acked < length[p])

inline acknowledge(p)
{
    assert(!ACTIVE(1 - p));
    acked++;
    acked_of[acked] = WROTE(p, acked)
}

inline reply(p, what, number, x) /* p: the receiver; what a full pipe can't take is asked for again */
{
    if
    :: nfull(to[p]) -> to[p]!what(nonce[1 - p], number, x)
    :: full(to[p])
    fi
}

inline take() /* R5: to act on the record */
{
    assert(length[N] == record_seq && name[N] <= record_epoch);
    floor = record_epoch;
    begin(N, false)
}

inline power() /* what landed and was not flushed may be gone */
{
    die(A);
#ifdef TWO_HOSTS
    if
    :: record == VISIBLE -> record = NONE
    :: skip
    fi
#else
    die(N);
    if
    :: record == VISIBLE -> record = NONE
    :: skip
    fi
#endif
}

inline forget() /* locals that only a step uses */
{
    from = 0; dest = 0; value = 0; kind = 0
}

active proctype Old()
{
    mtype kind;
    byte from, dest, value;

    d_step { /* the active, in epoch 1 */
        lock[A] = A; nonce[A] = 1; name[A] = 1; header[A] = 1; proven[A] = true;
        st[A] = SERVING
    }
end:
    do
    /* ---- serving ---- */
    :: atomic { TAKES_IN(A) -> entry[A] = true }
    :: atomic { LEARNS(A) -> accept(A) }
    :: atomic { MARKS(A) -> proven[A] = true }
    :: atomic { ACKNOWLEDGES(A) -> acknowledge(A) }

    /* M1: only with both nonces, as they are */
    :: atomic { st[A] == SERVING && nempty(ask) ->
        ask?from,dest,value;
        if
        :: from == nonce[A] && CONNECTED(N, dest) && st[N] != DECIDING ->
            asked = dest; offer = 8 * value; st[A] = STOPPED /* R1 */
        :: else
        fi;
        forget() }
    /* M4: everything taken in is durable and released */
    :: atomic { st[A] == STOPPED && !entry[A] && acked == length[A] && nfull(to[N]) ->
        offer = offer + length[A];
        to[N]!FINAL(nonce[A], asked, offer);
        st[A] = OFFERED }
    /* R3: a timeout, a cut, an abort */
    :: atomic { st[A] == STOPPED || st[A] == OFFERED -> offer = 0; asked = 0; st[A] = SERVING }
#ifdef MISTAKE_RESUME
    :: atomic { st[A] == SUBMITTED -> offer = 0; asked = 0; st[A] = SERVING }
#endif
    /* M5 */
    :: atomic { st[A] == OFFERED && nempty(to[A]) ->
        to[A]?kind,from,dest,value;
        if
        :: dest == nonce[A] && kind == ANSWER && from == asked && value == offer -> /* R2, M6, R4 */
            record = FLYING; record_epoch = header[A]; record_seq = length[A]; record_to = asked;
            offer = 0; asked = 0;
            st[A] = SUBMITTED
        :: dest == nonce[A] && kind == ANSWER && from == asked && value == 0 -> /* unequal: R3 */
            offer = 0; asked = 0;
            st[A] = SERVING
        :: dest == nonce[A] && QUESTION(kind) && from == asked -> /* M4 or M5 was lost */
            reply(N, FINAL, from, offer)
        :: dest == nonce[A] && QUESTION(kind) && from != asked -> /* N is another now: R3 */
            offer = 0; asked = 0;
            st[A] = SERVING
        :: else
        fi;
        forget() }
    :: atomic { st[A] == SUBMITTED -> record = DURABLE; st[A] = GRANTED }

    /* ---- granted: this term is over ---- */
    /* M7, again and again; to whom it does not name, it is a question */
    :: atomic { st[A] == GRANTED && empty(to[A]) && empty(to[N]) && st[N] != DOWN ->
        if
        :: LOOKS_GRANTED && UNSPOILT -> to[N]!GRANT(nonce[A], nonce[N], record_to)
        :: else -> to[N]!GRANT(nonce[A], nonce[N], 0)
        fi }
#ifdef MISTAKE_ACT_EARLY
    :: atomic { st[A] == SUBMITTED && empty(to[N]) && st[N] != DOWN ->
        to[N]!GRANT(nonce[A], nonce[N], record_to) }
#endif
    :: atomic { st[A] == GRANTED && nempty(to[A]) ->
        to[A]?kind,from,dest,value;
        if
        :: dest != nonce[A] -> skip
        :: dest == nonce[A] && kind == TAKEN -> st[A] = FENCED /* M8 */
        :: dest == nonce[A] && QUESTION(kind) && value > header[A] -> /* R6: DN is the authority */
            st[A] = FENCED;
            reply(N, YOU, from, name[A])
        :: dest == nonce[A] && QUESTION(kind) && value <= header[A] ->
            if
            :: MAY_TAKE(kind) && from == record_to && LOOKS_GRANTED && UNSPOILT ->
                reply(N, GRANT, from, record_to)
            :: else -> floor = ABOVE_BOTH(A); begin(A, false) /* M11 */
            fi
        :: else
        fi;
        forget() }
#ifndef TWO_HOSTS
    /* R6, R7: both LOCKs */
    :: atomic { st[A] == GRANTED && FREE(N) ->
        lock[N] = A;
        if
        :: header[N] > header[A] -> lock[N] = NOBODY; st[A] = FENCED
        :: else -> floor = ABOVE_BOTH(A); begin(A, false)
        fi }
#endif
    :: atomic { st[A] == FENCED && nempty(to[A]) ->
        to[A]?kind,from,dest,value;
        if
        :: dest == nonce[A] && QUESTION(kind) && value > 0 -> reply(N, YOU, from, name[A])
        :: else
        fi;
        forget() }
    :: atomic { st[A] == BEGINNING -> begun(A) }
    /* A question to the active: nothing was granted, carry on following. */
    :: atomic { st[A] == SERVING && nempty(to[A]) ->
        to[A]?kind,from,dest,value;
        if
        :: dest == nonce[A] && QUESTION(kind) -> reply(N, ABORT, from, 0)
        :: else
        fi;
        forget() }

    /* ---- death and start ---- */
    :: atomic { MAY_DIE(A) -> kills--; die(A) }
    :: atomic { st[A] == DOWN && FREE(A) ->
        lock[A] = A;
        recover(A);
        nonce[A]++;
        if
        :: LOOKS_GRANTED -> record = DURABLE; tidy(A); st[A] = GRANTED /* R7, flushed */
        :: !LOOKS_GRANTED && overrules && !proven[A] -> tidy(A); st[A] = GRANTED
        :: else -> floor = name[A]; begin(A, true)
        fi }
    od
}

active proctype New()
{
    mtype kind;
    byte from, dest, value;

    atomic {
        lock[N] = N; nonce[N] = 1;
        if
        :: diverged = true
        :: skip
        fi;
        st[N] = FOLLOWING
    }
end:
    do
    :: atomic { TAKES_IN(N) -> entry[N] = true }
    :: atomic { LEARNS(N) -> accept(N) }
    :: atomic { MARKS(N) -> proven[N] = true }
    :: atomic { ACKNOWLEDGES(N) -> acknowledge(N) }

    :: atomic { (st[N] == FOLLOWING || st[N] == ANSWERED) && nempty(to[N]) ->
        to[N]?kind,from,dest,value;
        if
        :: dest != nonce[N] -> skip
        :: dest == nonce[N] && kind == FINAL -> /* M5 */
            do
            :: length[N] < value % 8 -> length[N]++; WROTE(N, length[N]) = WROTE(A, length[N])
            :: else -> break
            od;
            heard = value; heard_from = from; heard_name = name[A];
            st[N] = ANSWERED;
            if
            :: !diverged -> reply(A, ANSWER, from, heard)
#ifdef MISTAKE_NO_DIGEST
            :: diverged -> reply(A, ANSWER, from, heard)
#else
            :: diverged -> reply(A, ANSWER, from, 0)
#endif
            fi
        :: dest == nonce[N] && kind == GRANT && MAY_ACT && NAMES_ME(value) -> take() /* R5 a */
        :: dest == nonce[N] && kind == GRANT && MAY_ACT && !NAMES_ME(value) ->
            reply(A, PROMISED, from, 0)
        :: dest == nonce[N] && kind == GRANT && !MAY_ACT -> /* M11: the word */
            reply(A, HELLO, from, 0)
        :: dest == nonce[N] && kind == ABORT -> heard = 0; heard_from = 0; heard_name = 0; st[N] = FOLLOWING
        :: else
        fi;
        forget() }
    /* M10: nothing heard */
    :: atomic { st[N] == ANSWERED && empty(to[N]) && empty(to[A]) && st[A] != DOWN ->
        to[A]!PROMISED(nonce[N], nonce[A], 0) }
#ifndef TWO_HOSTS
    /* its A is gone, and a name stands above the record's term */
    :: atomic { st[N] == ANSWERED && !CONNECTED(A, heard_from) && name[A] > heard_name ->
        heard = 0; heard_from = 0; heard_name = 0; st[N] = FOLLOWING }
    /* R5 b: both LOCKs; let go at once */
    :: atomic { st[N] == ANSWERED && FREE(A) && GRANTS_ME && UNSPOILT ->
        record = DURABLE; /* flushed */
        take() }
    /* R5 c: beside a stopped A */
    :: atomic { st[N] == ANSWERED && empty(to[N]) && GRANTS_ME ->
        st[N] = LOOKING }
    :: atomic { st[N] == LOOKING ->
#ifndef MISTAKE_NO_FLUSH
        if
        :: record == VISIBLE -> record = DURABLE
        :: else
        fi;
#endif
        st[N] = FLUSHED }
    :: atomic { st[N] == FLUSHED ->
        if
        :: CONNECTED(A, heard_from) -> take()
#ifdef MISTAKE_NO_LAST_LOOK
        :: else -> take()
#else
        :: else -> st[N] = ANSWERED
#endif
        fi }
#endif
    :: atomic { st[N] == BEGINNING -> begun(N) }
    /* M8, when A repeats its record */
    :: atomic { st[N] == SERVING && nempty(to[N]) ->
        to[N]?kind,from,dest,value;
        if
        :: dest == nonce[N] && kind == GRANT -> reply(A, TAKEN, from, header[N])
        :: else
        fi;
        forget() }

    /* ---- R7: a header of its own, and no batch ---- */
    :: atomic { st[N] == DECIDING && empty(to[N]) && empty(to[A]) && st[A] != DOWN ->
        to[A]!HELLO(nonce[N], nonce[A], header[N]) }
    :: atomic { st[N] == DECIDING && nempty(to[N]) ->
        to[N]?kind,from,dest,value;
        if
        :: dest == nonce[N] && kind == YOU && CONNECTED(A, from) ->
            floor = (name[N] > value -> name[N] : value); begin(N, false)
        :: dest == nonce[N] && kind == ABORT -> st[N] = FOLLOWING
        :: dest == nonce[N] && kind == GRANT -> reply(A, HELLO, from, header[N])
        :: else
        fi;
        forget() }
#ifndef TWO_HOSTS
    :: atomic { st[N] == DECIDING && FREE(A) ->
        if
        :: header[N] > header[A] -> lock[A] = N; floor = ABOVE_BOTH(N); begin(N, false)
        :: else -> st[N] = FOLLOWING
        fi }
#endif

    :: atomic { MAY_DIE(N) -> kills--; die(N) }
    :: atomic { st[N] == DOWN && FREE(N) ->
        lock[N] = N;
        recover(N);
        nonce[N]++;
        if
        :: header[N] == 0 -> tidy(N); st[N] = FOLLOWING
#ifndef MISTAKE_TRUST_UNPROVEN
        :: header[N] > 0 && !proven[N] -> tidy(N); st[N] = DECIDING
#else
        :: header[N] > 0 && !proven[N] -> floor = name[N]; begin(N, false)
#endif
        :: header[N] > 0 && proven[N] -> floor = name[N]; begin(N, false)
        fi }
    od
}

/* M1; when it crashes it asks no more, or again. What it says may be old. */
active proctype Orchestrator()
{
    byte a, n, try;
end:
    do
    :: d_step { try < TRIES && a == 0 -> a = nonce[A]; n = nonce[N]; try++ }
    :: atomic { a > 0 && nfull(ask) -> ask!a,n,try; a = 0; n = 0 }
    od
}

/* Writes of the dead, lost messages, power loss, and the end of faults. */
active proctype World()
{
    mtype kind;
    byte from, dest, value;

end:
    do
    :: atomic { record == FLYING -> record = VISIBLE }
    :: atomic { flying[A] > 0 && st[A] != BEGINNING -> land(A) }
    :: atomic { flying[N] > 0 && st[N] != BEGINNING -> land(N) }
    :: atomic { losses > 0 && nempty(to[A]) -> losses--; to[A]?kind,from,dest,value; forget() }
    :: atomic { losses > 0 && nempty(to[N]) -> losses--; to[N]?kind,from,dest,value; forget() }
    :: atomic { losses > 0 && nempty(ask) -> losses--; ask?from,dest,value; forget() }
    :: atomic { powers > 0 -> powers--; power() }
    :: atomic { kills + powers + losses > 0 -> kills = 0; powers = 0; losses = 0 }
    od
}

#ifndef NO_JUDGE
active proctype Judge()
{
end:
    atomic { timeout ->
        assert((st[A] == SERVING) != (st[N] == SERVING));
        if
        :: st[A] == SERVING -> assert(acked == length[A] && acked == SEQS)
        :: else -> assert(acked == length[N] && acked == SEQS)
        fi }
}
#endif

#ifdef LIVENESS
/* Under weak fairness of the processes, once faults end: in the end exactly one serves, for good. */
ltl ends { <>[] ((st[A] == SERVING) != (st[N] == SERVING)) }
#endif
