// tally.cc: tally.c's service from C++17, with the state as an object. Built by install_test.py through the CMake package.
#include <baton/main.h>
#include <cstring>
#include <iostream>

namespace {

struct Tally {
    uint64_t total = 0;
};

baton_service make_service()
{
    static const baton_entry_type types[] = {{1, 1}};
    baton_service service{};
    service.name = "tally";
    service.version = "2.0.0";
    service.schema.write = 1;
    service.schema.read_min = 1;
    service.entry_types = types;
    service.entry_types_count = 1;
    service.create = [](const baton_service_config *, void **ret_state, baton_error *) {
        *ret_state = new Tally;
        return 0;
    };
    service.destroy = [](void *state) { delete static_cast<Tally *>(state); };
    service.apply = [](void *state, const baton_entry *entry, baton_effects *effects) -> int {
        uint64_t number = 0;
        if (entry->payload_bytes != sizeof number)
            return BATON_E_INVALID;
        std::memcpy(&number, entry->payload, sizeof number);
        auto &total = static_cast<Tally *>(state)->total;
        total += number;
        baton_effect_emit(effects, BATON_CONSUMER_NONE, 1, &total, sizeof total);
        return 0;
    };
    service.digest = [](const void *state, uint32_t, baton_digest *ret_digest) {
        *ret_digest = baton_digest_of(state, sizeof(uint64_t));
        return 0;
    };
    service.snapshot = [](const void *state, uint32_t, baton_snapshot_writer *writer) {
        baton_pack_section(writer, "tally");
        baton_pack_row(writer, 1);
        baton_pack_uint(writer, static_cast<const Tally *>(state)->total);
        return baton_pack_error(writer);
    };
    service.restore = [](void *state, uint32_t, baton_snapshot_reader *reader) -> int {
        uint32_t fields = 0;
        if (baton_unpack_section(reader, "tally") < 0 || baton_unpack_row(reader, &fields) != 1)
            return BATON_E_SCHEMA;
        return baton_unpack_uint(reader, &static_cast<Tally *>(state)->total);
    };
    return service;
}

baton_program make_program()
{
    baton_program program{};
    program.start = [](void *, baton_engine *engine, const char *const *, baton_error *) {
        std::cout << "found " << static_cast<const Tally *>(baton_engine_state(engine))->total << std::endl;
        int r = 0;
        uint64_t seq = 0;
        for (uint64_t number = 1; number <= 3 && r == 0; number++)
            r = baton_engine_submit(engine, 1, &number, sizeof number, &seq);
        return r;
    };
    program.release = [](void *, const baton_effect *effect) {
        uint64_t total = 0;
        std::memcpy(&total, effect->payload, sizeof total);
        std::cout << "durable: seq " << effect->seq << " total " << total << std::endl;
    };
    return program;
}

} // namespace

int main(int argc, char **argv)
{
    const baton_service service = make_service();
    const baton_program program = make_program();
    return baton_main(argc, argv, &service, &program, nullptr);
}
