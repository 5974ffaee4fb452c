/* base/io.h: the I/O seam. Every file operation of the journal and the snapshots goes through here,
 * directory operations included, so that io_uring, a pool of threads and a simulator can stand
 * behind one set of calls.
 *
 * Two ways to do an operation, the same `baton_io_op` for both:
 *   baton_io_submit, _enter, _reap, _wait: only wait blocks; for the hot path
 *   baton_io_run: blocks until it is done; for open and recovery
 *
 * Threads: a baton_io belongs to the thread that opened it. Memory: allocated in baton_io_open
 * only. Completion order is not submission order. Operations in flight at once are not ordered by
 * the seam. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <baton/clock.h>
#include <baton/status.h>

/* Offsets, lengths and addresses of direct I/O are multiples of it (J3). */
#define BATON_IO_UNIT    4096u
#define BATON_IO_NO_FILE (-1)

typedef struct baton_io baton_io;
typedef int baton_io_file; /* what baton_io_file_open returned; BATON_IO_NO_FILE is none */

typedef enum {
    BATON_IO_READ,          /* file, buffer, bytes, offset -> bytes read; short only at its end */
    BATON_IO_WRITE,         /* file, buffer, bytes, offset -> bytes: written, not durable */
    BATON_IO_WRITE_DURABLE, /* the same with RWF_DSYNC: durable when it completes */
    BATON_IO_SYNC_DATA,     /* file: fdatasync */
    BATON_IO_SYNC,          /* file: fsync; a directory opened with BATON_IO_DIRECTORY too */
    BATON_IO_OPEN,          /* path, open_flags -> the file */
    BATON_IO_CLOSE,         /* file */
    BATON_IO_RENAME,        /* path -> path_to, replacing it */
    BATON_IO_UNLINK,        /* path */
    BATON_IO_ALLOCATE,      /* file, offset, bytes: blocks and size; extents unwritten (J3) */
    BATON_IO_TRUNCATE,      /* file, offset: the new size */
    BATON_IO_KINDS,
} baton_io_kind;

enum { /* open_flags */
       BATON_IO_FOR_READ = 1,
       BATON_IO_FOR_WRITE = 2,
       BATON_IO_CREATE = 4, /* fails with -EEXIST when it is there (O_CREAT | O_EXCL, mode 0640) */
       BATON_IO_CREATE_OR_OPEN = 8,
       BATON_IO_DIRECT = 16, /* O_DIRECT: aligned to BATON_IO_UNIT */
       BATON_IO_DIRECTORY = 32,
};

/* -ENOSPC or -EDQUOT: what passes when space returns, and is told as BATON_E_NO_SPACE. */
static inline bool baton_io_is_full_disk(int64_t result)
{
    return result == -ENOSPC || result == -EDQUOT;
}

/* One operation. Caller's memory; must not move or be reused from submit until it is reaped, and so
 * must what it points to. Zero-initialise, fill the inputs named at its kind, submit. */
typedef struct baton_io_op baton_io_op;
struct baton_io_op {
    baton_io_kind kind;
    baton_io_file file;
    uint32_t open_flags;
    void *buffer; /* fastest inside baton_io_region; anywhere else works too */
    uint64_t bytes;
    uint64_t offset;
    const char *path;
    const char *path_to;
    uint32_t tag;   /* the owner's own enum: which of its operations this is */
    int64_t result; /* >= 0 as said at the kind, or -errno; valid once reaped */

    /* the backend's, not yours */
    baton_io_op *next;
    bool in_flight;
    uint32_t slot;
    uint64_t done_bytes;
};

typedef enum { BATON_IO_AUTO, BATON_IO_URING, BATON_IO_THREADS } baton_io_choice;

typedef struct baton_io_backend baton_io_backend; /* base/io_backend.h; simulators, faults */

typedef struct {
    baton_io_choice choice;   /* AUTO: io_uring, or threads where that is denied (J7) */
    uint32_t ops_max;         /* operations in flight at once, 1..1024; 0: 64 */
    uint64_t region_bytes;    /* buffer memory, rounded up to 2 MiB; 0: none */
    void *region;             /* from baton_io_region_make(), of so many bytes; NULL: its own */
    const baton_clock *clock; /* NULL: the system's */
    const baton_io_backend *custom; /* NULL, or a backend used instead of the production ones */
    void *custom_context;
} baton_io_options;

BATON_MUST_USE int baton_io_open(const baton_io_options *options, baton_io **ret_io,
                                 baton_error *error);
/* Waits for everything in flight, then frees. NULL is fine. Files still open stay open. */
void baton_io_close(baton_io *io);

/* One that a test brought (simulator, faults): then nothing runs on threads of its own beside it,
 * so that the same seed gives the same run. */
bool baton_io_is_custom(const baton_io *io);
const char *baton_io_backend_name(const baton_io *io); /* "uring", "threads", or the custom one's */
/* Why AUTO did not take io_uring, naming the likely cause; "" when it did or was not asked to. */
const char *baton_io_fallback_reason(const baton_io *io);
const baton_clock *baton_io_clock(const baton_io *io);

/* The registered region: one huge-page-friendly allocation, aligned to 2 MiB, zeroed. To touch that
 * much memory for the first time takes a while (seen: 1 ms a MiB): who opens time and again makes it
 * once, and gives it to one after the other. To be freed after the last is closed. NULL: no memory. */
void *baton_io_region_make(uint64_t bytes);
void *baton_io_region(const baton_io *io, uint64_t *ret_bytes);
/* The next `bytes` of the region (rounded up to BATON_IO_UNIT), or NULL when it is used up. Never
 * given back singly. */
void *baton_io_region_take(baton_io *io, uint64_t bytes);

/* Queue. BATON_E_FULL when ops_max are in flight or queued. Nothing reaches the kernel before
 * baton_io_enter. */
BATON_MUST_USE int baton_io_submit(baton_io *io, baton_io_op *op);
/* Hand everything queued to the kernel: at most one system call however many there are. 0 or
 * -errno. */
BATON_MUST_USE int baton_io_enter(baton_io *io);
/* The next finished operation, or NULL. Does not block; a system call only when the kernel says
 * there is work. */
baton_io_op *baton_io_reap(baton_io *io);
/* Enter, then sleep until an operation is finished or the time is over. timeout_ns UINT64_MAX: no
 * limit. 0, BATON_E_TIMEOUT, or -errno (-EINTR included). Returns at once when nothing is in
 * flight: BATON_E_TIMEOUT. */
BATON_MUST_USE int baton_io_wait(baton_io *io, uint64_t timeout_ns);
/* Queued, with the kernel, or finished but not reaped. */
uint32_t baton_io_in_flight(const baton_io *io);
/* Readable (epoll, level triggered) while finished operations wait to be reaped; call baton_io_reap
 * until NULL, which also clears it. Owned by the baton_io. */
int baton_io_event_fd(const baton_io *io);

/* Do one operation now and block until it is done. Returns op->result. Not counted in ops_max. */
BATON_MUST_USE int64_t baton_io_run(baton_io *io, baton_io_op *op);

/* The same for the common ones. */
BATON_MUST_USE int baton_io_file_open(baton_io *io, const char *path, uint32_t open_flags,
                                      baton_io_file *ret_file);
void baton_io_file_close(baton_io *io, baton_io_file file); /* BATON_IO_NO_FILE is fine */
BATON_MUST_USE int64_t baton_io_file_read(baton_io *io, baton_io_file file, void *buffer,
                                          uint64_t bytes, uint64_t offset);
/* 0 when all bytes were written, or -errno. */
BATON_MUST_USE int baton_io_file_write(baton_io *io, baton_io_file file, const void *buffer,
                                       uint64_t bytes, uint64_t offset);
BATON_MUST_USE int baton_io_file_sync(baton_io *io, baton_io_file file);
BATON_MUST_USE int baton_io_directory_sync(baton_io *io, const char *path);
BATON_MUST_USE int baton_io_rename(baton_io *io, const char *path, const char *path_to);
BATON_MUST_USE int baton_io_unlink(baton_io *io, const char *path);

/* Below: always blocking. */
BATON_MUST_USE int baton_io_file_size(baton_io *io, baton_io_file file, uint64_t *ret_bytes);
/* mkdir, mode 0750; 0 when it was already a directory. Parents must exist. */
BATON_MUST_USE int baton_io_directory_make(baton_io *io, const char *path);
/* Calls visit for each name except . and ..; a non-zero return stops and is returned. -ENOENT when
 * there is none. */
typedef int (*baton_io_visit)(void *context, const char *name);
BATON_MUST_USE int baton_io_directory_list(baton_io *io, const char *path, baton_io_visit visit,
                                           void *context);

/* Exclusive OFD lock on the whole file. BATON_E_LOCKED when another open file description holds
 * it. */
BATON_MUST_USE int baton_io_file_lock(baton_io *io, baton_io_file file);
/* 1 when somebody else holds the lock, 0 when not, or -errno. */
BATON_MUST_USE int baton_io_file_is_locked(baton_io *io, baton_io_file file);
/* The ring holds the file open too, so that its lock outlives a killed process until its writes
 * have landed (J10). At most one file. The thread backend has nothing to hold: a killed thread's
 * write ends before the process does. */
BATON_MUST_USE int baton_io_file_hold(baton_io *io, baton_io_file file);
/* Optional speed-up for files with many operations: registers it with the ring. Undone by
 * baton_io_file_close. Never fails for lack of room: the file is then used unregistered. */
void baton_io_file_register(baton_io *io, baton_io_file file);

/* Shared mapping of the first `bytes`, PROT_READ or also PROT_WRITE. Undo with baton_io_unmap. */
BATON_MUST_USE int baton_io_map(baton_io *io, baton_io_file file, uint64_t bytes, bool writable,
                                void **ret_address);
void baton_io_unmap(baton_io *io, void *address, uint64_t bytes);

/* What a directory's file system and device can promise; probed once at open. */
typedef struct {
    char file_system[32]; /* "ext4", "xfs", "tmpfs", ..., or "0x..." */
    char device[64];      /* kernel name of the block device, or "" */
    char write_cache[16]; /* "write back", "write through", or "unknown" */
    bool device_fua;
    bool direct_io;            /* O_DIRECT works with BATON_IO_UNIT alignment */
    uint32_t direct_alignment; /* what statx says, 0 when it says nothing */
    bool write_durable;        /* RWF_DSYNC works here */
    bool refuse_durable;       /* durable mode must: tmpfs, network, nobarrier, data=journal */
    char refuse_why[128];      /* one clause, "" when not refused */
    char warning[128];         /* copy-on-write, ext4 without journal: one clause, or "" */
    uint64_t free_bytes;       /* for an unprivileged user */
} baton_io_probe;
BATON_MUST_USE int baton_io_probe_directory(baton_io *io, const char *path,
                                            baton_io_probe *ret_probe);
