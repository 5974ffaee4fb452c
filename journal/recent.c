/* journal/recent.c: the ring of the newest batches. One machine, so numbers stand in host order;
 * recovery never looks at it.
 *
 * Positions in the ring only grow, over the terms of all writers, and a place is used again after
 * BATON_RECENT_BYTES. So one number says whether a copy is good: `begun` moves before the first
 * byte of a put, and a reader that has copied looks whether it has come round to what it copied.
 * Stores of the bytes release and loads of them acquire: who sees one of the new bytes sees the new
 * `begun` too. A writer that dies in a put has spoilt only what `begun` already covers. */
#include "journal/recent.h"

#include <string.h>

#include "base/io.h"

#define RING_WORDS (BATON_RECENT_BYTES / sizeof(uint64_t))

/* In front of each batch's used bytes. */
enum { RECORD_BATCH, RECORD_INDEX, RECORD_OFFSET, RECORD_USED, RECORD_WORDS };
#define RECORD_BYTES (RECORD_WORDS * sizeof(uint64_t))

static_assert((RING_WORDS & (RING_WORDS - 1)) == 0, "positions wrap");
static_assert(BATON_RECENT_BATCH_BYTES_MAX % BATON_IO_UNIT == 0, "padded to a unit it still fits");
static_assert(sizeof(baton_batch_header) % sizeof(uint64_t) == 0, "copied by words");

static void store(baton_recent *recent, uint64_t at, uint64_t word)
{
    atomic_store_explicit(&recent->words[at / sizeof(word) % RING_WORDS], word,
                          memory_order_release);
}

static uint64_t load(const baton_recent *recent, uint64_t at)
{
    return atomic_load_explicit(&recent->words[at / sizeof(uint64_t) % RING_WORDS],
                                memory_order_acquire);
}

void baton_recent_clear(baton_recent *recent)
{
    /* Every copy that is being made now is too old by this. */
    uint64_t begun = atomic_fetch_add(&recent->begun, BATON_RECENT_BYTES) + BATON_RECENT_BYTES;
    begun = begun / sizeof(uint64_t) * sizeof(uint64_t); /* what stood there may be anything */
    atomic_store_explicit(&recent->begun, begun, memory_order_relaxed);
    for (uint32_t i = 0; i < BATON_RECENT_SLOTS; i++)
        atomic_store_explicit(&recent->slots[i], begun, memory_order_release);
    for (uint64_t at = 0; at < BATON_RECENT_BYTES; at += sizeof(uint64_t))
        store(recent, at, 0);
}

void baton_recent_put(baton_recent *recent, const baton_batch_header *batch, uint64_t index,
                      uint64_t offset)
{
    uint64_t number = baton_le64_get(batch->batch);
    uint32_t used_bytes = baton_le32_get(batch->used_bytes);
    if (used_bytes > BATON_RECENT_BATCH_BYTES_MAX)
        return;

    uint64_t at = atomic_load_explicit(&recent->begun, memory_order_relaxed);
    atomic_store_explicit(&recent->begun, at + RECORD_BYTES + used_bytes, memory_order_relaxed);
    const uint64_t record[RECORD_WORDS] = {[RECORD_BATCH] = number,
                                           [RECORD_INDEX] = index,
                                           [RECORD_OFFSET] = offset,
                                           [RECORD_USED] = used_bytes};
    for (uint32_t i = 0; i < RECORD_WORDS; i++)
        store(recent, at + i * sizeof(uint64_t), record[i]);
    for (uint32_t done = 0; done < used_bytes; done += (uint32_t)sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, (const uint8_t *)batch + done, sizeof(word));
        store(recent, at + RECORD_BYTES + done, word);
    }
    atomic_store_explicit(&recent->slots[number % BATON_RECENT_SLOTS], at, memory_order_release);
}

uint32_t baton_recent_get(const baton_recent *recent, uint64_t batch, uint64_t index,
                          uint64_t offset, void *ret_bytes)
{
    uint64_t at =
        atomic_load_explicit(&recent->slots[batch % BATON_RECENT_SLOTS], memory_order_acquire);
    uint64_t used_bytes = load(recent, at + RECORD_USED * sizeof(uint64_t));
    if (load(recent, at + RECORD_BATCH * sizeof(uint64_t)) != batch ||
        load(recent, at + RECORD_INDEX * sizeof(uint64_t)) != index ||
        load(recent, at + RECORD_OFFSET * sizeof(uint64_t)) != offset ||
        used_bytes < sizeof(baton_batch_header) || used_bytes > BATON_RECENT_BATCH_BYTES_MAX ||
        used_bytes % sizeof(uint64_t) != 0)
        return 0;

    uint32_t batch_bytes = ((uint32_t)used_bytes + BATON_IO_UNIT - 1) & ~(BATON_IO_UNIT - 1);
    for (uint32_t done = 0; done < used_bytes; done += (uint32_t)sizeof(uint64_t)) {
        uint64_t word = load(recent, at + RECORD_BYTES + done);
        memcpy((uint8_t *)ret_bytes + done, &word, sizeof(word));
    }
    memset((uint8_t *)ret_bytes + used_bytes, 0, batch_bytes - used_bytes);

    uint64_t since = atomic_load_explicit(&recent->begun, memory_order_relaxed) - at;
    return since >= RECORD_BYTES + used_bytes && since <= BATON_RECENT_BYTES ? batch_bytes : 0;
}
