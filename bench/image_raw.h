/* bench/image_raw.h: the device alone, sequentially: direct writes and reads of 1 MiB, eight in
 * flight, with io_uring or bare threads. No Baton code. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const char *path;
    uint64_t bytes; /* of the file; reads: whole units of 4 KiB */
    bool threads;   /* instead of io_uring */
    /* Page-aligned. Writes: where the bytes come from, again and again when it is smaller (whole
     * MiB then). Reads: where they go, as large as the file; NULL: eight buffers that are used
     * again, in memory that was written before. */
    uint8_t *memory;
    uint64_t memory_bytes;
} image_raw;

/* Nanoseconds to write a new file, flushed. Ends the program when it fails. */
int64_t image_raw_write(const image_raw *job);
/* Nanoseconds to read it. */
int64_t image_raw_read(const image_raw *job);
