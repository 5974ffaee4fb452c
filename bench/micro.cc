// bench/micro.cc: single steps under Google Benchmark; the steps themselves are C, in micro.c.
#include <benchmark/benchmark.h>

#include "bench/micro.h"

static void encode_entry(benchmark::State &state)
{
    for (auto _ : state)
        micro_encode();
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(encode_entry);

static void digest(benchmark::State &state)
{
    for (auto _ : state)
        benchmark::DoNotOptimize(micro_digest(static_cast<uint32_t>(state.range(0))));
    state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(digest)->Arg(4096)->Arg(65536)->Arg(1 << 20);

static void check_batch(benchmark::State &state)
{
    for (auto _ : state)
        if (micro_check(static_cast<uint32_t>(state.range(0))) != 1)
            state.SkipWithError("the batch is not valid");
    state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(check_batch)->Arg(4096)->Arg(65536)->Arg(1 << 20);

static void histogram_record(benchmark::State &state)
{
    uint64_t value = 1;
    for (auto _ : state) {
        value = value * 6364136223846793005u + 1442695040888963407u;
        micro_histogram(value >> 40);
    }
}
BENCHMARK(histogram_record);

static void clock_read(benchmark::State &state)
{
    for (auto _ : state)
        benchmark::DoNotOptimize(micro_clock());
}
BENCHMARK(clock_read);

int main(int argc, char **argv)
{
    if (micro_open() < 0)
        return 1;
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
