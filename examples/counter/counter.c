/* A whole service: it counts the lines that come in on stdin. A count that it printed survives kill -9. */
#include <baton/main.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

static int create(const baton_service_config *config, void **state, baton_error *error) {
    (void)config, (void)error;
    return (*state = calloc(1, sizeof(uint64_t))) != NULL ? 0 : -ENOMEM;
}
static int apply(void *state, const baton_entry *entry, baton_effects *effects) { /* deterministic */
    uint64_t *lines = state;
    char text[32];
    for (uint32_t i = 0; i < entry->payload_bytes; i++)
        *lines += ((const char *)entry->payload)[i] == '\n';
    int text_bytes = snprintf(text, sizeof(text), "%" PRIu64 " lines\n", *lines);
    baton_effect_emit(effects, BATON_CONSUMER_NONE, 1, text, (uint32_t)text_bytes);
    return 0;
}
static int digest(const void *state, uint32_t schema, baton_digest *ret_digest) {
    (void)schema; /* there is only one: a number */
    *ret_digest = baton_digest_of(state, sizeof(uint64_t));
    return 0;
}
static int snapshot(const void *state, uint32_t schema, baton_snapshot_writer *writer) {
    (void)schema, baton_pack_section(writer, "lines");
    baton_pack_row(writer, 1);
    baton_pack_uint(writer, *(const uint64_t *)state);
    return 0;
}
static int restore(void *state, uint32_t schema, baton_snapshot_reader *reader) {
    uint32_t fields = 0;
    int r = baton_unpack_section(reader, "lines");
    if (r == 0 && (r = baton_unpack_row(reader, &fields)) >= 0)
        r = schema == 1 && fields == 1 ? baton_unpack_uint(reader, state) : BATON_E_SCHEMA;
    return r;
}
static void on_input(void *engine, int fd, uint32_t events) {
    char bytes[4096];
    uint64_t seq;
    ssize_t n = (events & EPOLLIN) != 0 ? read(fd, bytes, sizeof(bytes)) : 0;
    if (n <= 0 || baton_engine_submit(engine, 1, bytes, (uint32_t)n, &seq) < 0)
        baton_engine_unwatch(engine, fd); /* the input is over; SIGTERM ends the service */
}
static int start(void *context, baton_engine *engine, const char *const *values, baton_error *error) {
    (void)context, (void)values, (void)error;
    return baton_engine_watch(engine, STDIN_FILENO, EPOLLIN, on_input, engine);
}
static void release(void *context, const baton_effect *effect) { /* durable: tell the world */
    (void)context, (void)!write(STDOUT_FILENO, effect->payload, effect->payload_bytes);
}
int main(int argc, char **argv) {
    const baton_service counter = {.name = "counter", .version = "1.0.0", .schema = {1, 1},
        .entry_types = &(baton_entry_type){1, 1}, .entry_types_count = 1, .create = create,
        .destroy = free, .apply = apply, .digest = digest, .snapshot = snapshot, .restore = restore};
    return baton_main(argc, argv, &counter, &(baton_program){.start = start, .release = release}, NULL);
}
