/* drain/herald.c: "I serve, in this epoch": said once a second to the other side, until it follows. */
#include "drain/herald.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <baton/clock.h>
#include <baton/log.h>

#define EVERY_MS  1000
#define ANSWER_MS 2000

struct baton_herald {
    baton_herald_options options;
    pthread_t thread;
    baton_peer_hello
        hello; /* the thread's; made once: it reads and flushes what the journal writes, too */
    int stop_fd;
    pthread_mutex_t mutex;
    baton_herald_news news; /* under mutex */
    bool fresh;
};

static bool stopped(const baton_herald *herald, int timeout_ms)
{
    struct pollfd wanted = {.fd = herald->stop_fd, .events = POLLIN};
    return poll(&wanted, 1, timeout_ms) > 0;
}

static void take_welcome(baton_herald *herald, const baton_peer_channel *channel,
                         const baton_peer_header *header, const baton_peer_hello *hello)
{
    pthread_mutex_lock(&herald->mutex);
    herald->news = (baton_herald_news){
        .heard_ns = baton_clock_monotonic_ns(baton_clock_system()),
        .serves = baton_le32_get(hello->is_active) == 1,
        .epoch = baton_le64_get(header->epoch),
        .other = baton_partner_heard(channel, header, hello),
        .said = hello->at,
    };
    herald->fresh = true;
    pthread_mutex_unlock(&herald->mutex);
}

/* Nothing came, or it is to end: then nobody asks why. */
static int wait_for(void *context, int fd, short events, baton_error *error)
{
    const baton_herald *herald = context;
    struct pollfd wanted[] = {{.fd = fd, .events = events},
                              {.fd = herald->stop_fd, .events = POLLIN}};
    (void)error;
    return poll(wanted, 2, ANSWER_MS) > 0 && wanted[1].revents == 0 ? 0 : BATON_E_TIMEOUT;
}

static int say_hello(baton_herald *herald, const baton_peer_talk *talk)
{
    baton_peer_outgoing out = {.busy = false};
    baton_peer_names names = {.epoch = herald->options.epoch,
                              .journal_id = herald->options.journal_id};
    memcpy(names.from, herald->options.target.nonce, sizeof(names.from));
    herald->hello.at.run_epoch = baton_le64_put(herald->options.target.place->run_epoch);
    baton_peer_put(&out, BATON_PEER_HELLO, &names, &herald->hello, sizeof(herald->hello));
    return baton_peer_say(talk, &out);
}

static void tell(baton_herald *herald)
{
    baton_peer_inbox inbox = {0};
    baton_peer_channel channel = BATON_PEER_CHANNEL_NONE;
    baton_error error;
    const baton_peer_talk talk = {&channel, &inbox, wait_for, herald, &error};
    const baton_peer_header *header;
    const void *body;
    int r = baton_peer_channel_connect(&channel, &herald->options.target.active,
                                       herald->options.target.security);
    if (r == 0)
        r = baton_peer_inbox_init(&inbox, BATON_PEER_SHORT_BYTES_MAX);
    if (r == 0)
        r = say_hello(herald, &talk);
    if (r == 0)
        r = baton_peer_hear(&talk, &header, &body);
    if (r == 0 && baton_le16_get(header->type) == BATON_PEER_WELCOME)
        take_welcome(herald, &channel, header, body);
    baton_peer_inbox_fini(&inbox);
    baton_peer_channel_close(&channel);
}

static void *herald_main(void *context)
{
    baton_herald *herald = context;
    baton_follower_hello(&herald->options.target, NULL, &herald->hello);
    herald->hello.is_active = baton_le32_put(1);
    herald->hello.at = baton_place_put_active(herald->options.target.place, herald->options.epoch);
    do
        tell(herald);
    while (!stopped(herald, EVERY_MS));
    return NULL;
}

baton_herald *baton_herald_open(const baton_herald_options *options)
{
    baton_herald *herald = calloc(1, sizeof(*herald));
    if (herald == NULL)
        return NULL;
    herald->options = *options;
    herald->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&herald->mutex, NULL);
    if (herald->stop_fd < 0 || pthread_create(&herald->thread, NULL, herald_main, herald) != 0) {
        baton_log(WARN, "handover.herald", BATON_LOG_TEXT("why", "no thread for it"));
        if (herald->stop_fd >= 0)
            close(herald->stop_fd);
        pthread_mutex_destroy(&herald->mutex);
        free(herald);
        return NULL;
    }
    return herald;
}

bool baton_herald_get(baton_herald *herald, baton_herald_news *ret_news)
{
    if (herald == NULL)
        return false;
    pthread_mutex_lock(&herald->mutex);
    const bool fresh = herald->fresh;
    *ret_news = herald->news;
    herald->fresh = false;
    pthread_mutex_unlock(&herald->mutex);
    return fresh;
}

void baton_herald_close(baton_herald *herald)
{
    const uint64_t one = 1;
    if (herald == NULL)
        return;
    (void)!write(herald->stop_fd, &one, sizeof(one));
    pthread_join(herald->thread, NULL);
    close(herald->stop_fd);
    pthread_mutex_destroy(&herald->mutex);
    free(herald);
}
