/* Which GTD order expires next: a binary heap of slots by (expire_ns, priority). Each slot knows
 * its place, so that a cancel takes O(log n). */
#include "examples/exchange/book/book_internal.h"

static bool sooner(const order_book *book, uint32_t a, uint32_t b)
{
    const book_slot *left = &book->slots[a];
    const book_slot *right = &book->slots[b];
    if (left->expire_ns != right->expire_ns)
        return left->expire_ns < right->expire_ns;
    return left->priority < right->priority;
}

static void put(order_book *book, uint32_t index, uint32_t slot)
{
    book->expiry[index] = slot;
    book->slots[slot].expiry_index = index;
}

static void sift_up(order_book *book, uint32_t index, uint32_t slot)
{
    while (index > 0) {
        uint32_t parent = (index - 1) / 2;
        if (!sooner(book, slot, book->expiry[parent]))
            break;
        put(book, index, book->expiry[parent]);
        index = parent;
    }
    put(book, index, slot);
}

static void sift_down(order_book *book, uint32_t index, uint32_t slot)
{
    for (;;) {
        uint32_t child = 2 * index + 1;
        if (child >= book->expiry_count)
            break;
        if (child + 1 < book->expiry_count &&
            sooner(book, book->expiry[child + 1], book->expiry[child]))
            child++;
        if (!sooner(book, book->expiry[child], slot))
            break;
        put(book, index, book->expiry[child]);
        index = child;
    }
    put(book, index, slot);
}

void expiry_push(order_book *book, uint32_t slot)
{
    book_invariant(book->expiry_count < book->slots_max);
    sift_up(book, book->expiry_count++, slot);
}

void expiry_drop(order_book *book, uint32_t slot)
{
    uint32_t index = book->slots[slot].expiry_index;
    book_invariant(index < book->expiry_count && book->expiry[index] == slot);

    book->slots[slot].expiry_index = BOOK_NONE;
    uint32_t last = book->expiry[--book->expiry_count];
    if (last == slot)
        return;
    if (index > 0 && sooner(book, last, book->expiry[(index - 1) / 2]))
        sift_up(book, index, last);
    else
        sift_down(book, index, last);
}

void expiry_later(order_book *book, uint32_t slot)
{
    sift_down(book, book->slots[slot].expiry_index, slot);
}

bool expiry_holds(const order_book *book)
{
    for (uint32_t i = 0; i < book->expiry_count; i++) {
        if (book->slots[book->expiry[i]].expiry_index != i)
            return false;
        if (i > 0 && sooner(book, book->expiry[i], book->expiry[(i - 1) / 2]))
            return false;
    }
    return true;
}

uint64_t book_next_expiry_ns(const order_book *book)
{
    return book->expiry_count ? book->slots[book->expiry[0]].expire_ns : UINT64_MAX;
}

uint32_t book_expire(order_book *book, uint64_t now_ns, book_on_gone on_expired, void *context)
{
    if (now_ns <= book->counters.now_ns)
        return 0;
    book->counters.now_ns = now_ns;

    uint32_t expired = 0;
    for (; book_next_expiry_ns(book) <= now_ns && book->expiry_count; expired++) {
        uint32_t slot = book->expiry[0];
        book_resting order = slot_resting(book, slot);
        slot_remove(book, slot);
        if (on_expired)
            on_expired(context, &order);
    }
    return expired;
}
