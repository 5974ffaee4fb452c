/* fuzz_main.c: runs a libFuzzer target without libFuzzer.
 *
 *     target [--runs N] [--seed S] CORPUS_DIR|FILE ...
 *
 * Replays every file, then N seeded mutations of them. It has no coverage feedback: it keeps the
 * decoders honest under ctest, a campaign with libFuzzer finds new inputs. The command that repeats
 * a run is on stderr before it can crash. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { INPUTS_MAX = 4096, INPUT_BYTES_MAX = 1 << 20 };

typedef struct {
    uint8_t *data;
    size_t bytes;
} input;

static input inputs[INPUTS_MAX];
static size_t input_count;
static uint64_t random_state;

/* splitmix64: small, and the same everywhere. */
static uint64_t random_next(void)
{
    uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t random_below(size_t limit)
{
    return limit == 0 ? 0 : (size_t)(random_next() % limit);
}

static int load_file(const char *path)
{
    if (input_count == INPUTS_MAX)
        return -E2BIG;
    FILE *file = fopen(path, "rb");
    if (!file)
        return -errno;
    uint8_t *data = malloc(INPUT_BYTES_MAX);
    if (!data) {
        fclose(file);
        return -ENOMEM;
    }
    size_t bytes = fread(data, 1, INPUT_BYTES_MAX, file);
    fclose(file);
    inputs[input_count++] = (input){.data = data, .bytes = bytes};
    return 0;
}

static int load_path(const char *path)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return -errno;
    if (!S_ISDIR(status.st_mode))
        return load_file(path);

    struct dirent **names = NULL;
    int count =
        scandir(path, &names, NULL, alphasort); /* sorted: a run number means the same everywhere */
    if (count < 0)
        return -errno;
    int result = 0;
    for (int i = 0; i < count; i++) {
        char child[4096];
        if (names[i]->d_name[0] != '.' && result == 0) {
            snprintf(child, sizeof(child), "%s/%s", path, names[i]->d_name);
            result = load_file(child);
        }
        free(names[i]);
    }
    free(names);
    return result;
}

/* The target sees a buffer of exactly the right size, so that ASan catches a read past the end. */
static void run_exact(const uint8_t *data, size_t bytes)
{
    uint8_t *exact = malloc(bytes ? bytes : 1);
    if (!exact)
        abort();
    memcpy(exact, data, bytes);
    LLVMFuzzerTestOneInput(exact, bytes);
    free(exact);
}

static size_t mutate_once(uint8_t *data, size_t bytes)
{
    static const uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    switch (random_next() % 6) {
    case 0: /* flip a bit */
        if (bytes > 0)
            data[random_below(bytes)] ^= (uint8_t)(1u << random_below(8));
        return bytes;
    case 1: /* any byte */
        if (bytes > 0)
            data[random_below(bytes)] = (uint8_t)random_next();
        return bytes;
    case 2: /* a run of an edge value: lengths and counts live in 2, 4 and 8 bytes */
        for (size_t at = random_below(bytes), left = 1u << random_below(4); left > 0; left--, at++)
            if (at < bytes)
                data[at] = edges[random_below(sizeof(edges))];
        return bytes;
    case 3: /* cut */
        return random_below(bytes + 1);
    case 4: { /* move a piece within */
        size_t length = random_below(bytes < 64 ? bytes : 64);
        if (bytes > length)
            memmove(data + random_below(bytes - length), data + random_below(bytes - length),
                    length);
        return bytes;
    }
    default: /* grow */
        for (size_t left = 1 + random_below(16); left > 0 && bytes < INPUT_BYTES_MAX; left--)
            data[bytes++] = (uint8_t)random_next();
        return bytes;
    }
}

static void run_mutations(uint64_t runs)
{
    static uint8_t buffer[INPUT_BYTES_MAX];
    for (uint64_t run = 0; run < runs; run++) {
        const input *from = &inputs[random_below(input_count)];
        size_t bytes = from->bytes;
        memcpy(buffer, from->data, bytes);
        for (size_t left = 1 + random_below(8); left > 0; left--)
            bytes = mutate_once(buffer, bytes);
        run_exact(buffer, bytes);
    }
}

int main(int argc, char **argv)
{
    uint64_t runs = 2000;
    uint64_t seed = 0;
    bool seeded = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc) {
            runs = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
            seeded = true;
        } else {
            int r = load_path(argv[i]);
            if (r < 0) {
                fprintf(stderr, "%s: %s: %s\n", argv[0], argv[i], strerror(-r));
                return 1;
            }
        }
    }
    if (input_count == 0) {
        fprintf(stderr, "%s: no input: the corpus is empty\n", argv[0]);
        return 1;
    }
    if (!seeded) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        seed = (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
    }
    random_state = seed;
    fprintf(stderr, "%zu inputs, to repeat: %s --runs %" PRIu64 " --seed %" PRIu64 " CORPUS\n",
            input_count, argv[0], runs, seed);
    for (size_t i = 0; i < input_count; i++)
        run_exact(inputs[i].data, inputs[i].bytes);
    run_mutations(runs);
    for (size_t i = 0; i < input_count; i++)
        free(inputs[i].data);
    return 0;
}
