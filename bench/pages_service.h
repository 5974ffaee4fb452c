/* bench/pages_service.h: a service whose state is so many MiB of pages in an arena; an entry touches
 * four of them. */
#pragma once

#include <baton/service.h>

enum {
    PAGES_ENTRY_FILL = 1,  /* every page gets bytes that a compressor can make nothing of */
    PAGES_ENTRY_TOUCH = 2, /* the payload's first 8 bytes say which pages */
    PAGES_ENTRY_BYTES = 256,
};

typedef struct {
    uint8_t *pages;
    uint64_t pages_count;
    uint64_t applied_count;
    uint64_t sum; /* of all that was written */
} pages_state;

/* Its one option: the pages' MiB. */
extern const baton_service pages_service;

/* The payload of touching entry `index`: PAGES_ENTRY_BYTES. */
void pages_entry(uint64_t index, uint8_t *payload);
