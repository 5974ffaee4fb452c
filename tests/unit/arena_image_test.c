/* The bytes are the state: copied out, placed at the same address in another program's memory, they
 * go on where they were. And bytes that are no such image are refused, whatever they are. */
#include "tests/unit/arena_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/test_dir.h"

#define STEPS   8000u
#define RESERVE (UINT64_C(1) << 30)

static const baton_arena_options options = {.reserve_bytes = RESERVE};

static void write_all(const char *path, const void *bytes, size_t bytes_count)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, bytes_count, file), bytes_count);
    assert_int_equal(fclose(file), 0);
}

static size_t file_bytes(const char *path)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long at = ftell(file);
    fclose(file);
    return (size_t)at;
}

static void read_all(const char *path, void *bytes, size_t bytes_count)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, bytes_count, file), bytes_count);
    fclose(file);
}

/* What a digest is before and after the same further churn. */
static void print_digests(FILE *to, tree *own)
{
    char text[BATON_DIGEST_TEXT_BYTES];
    fprintf(to, "%s\n", baton_digest_text(tree_digest(own), text));
    tree_churn(own, 77, STEPS);
    fprintf(to, "%s\n", baton_digest_text(tree_digest(own), text));
    assert_null(baton_arena_check(own->arena));
}

/* The other program: this one, started again. */
static int restore(const char *image, const char *answer)
{
    baton_arena *arena = NULL;
    baton_error error = {0};
    const size_t bytes = file_bytes(image);
    FILE *to = fopen(answer, "we");
    if (to == NULL || baton_arena_place(&options, bytes, &arena, &error) < 0)
        return 2;
    read_all(image, arena, bytes);
    if (baton_arena_adopt(arena, bytes, &tree_layout, &error) < 0) {
        fprintf(stderr, "%s: %s\n", error.what, error.why);
        return 3;
    }
    print_digests(to, baton_arena_root(arena));
    if (baton_arena_scan(arena, &error) < 0)
        return 4;
    baton_arena_destroy(arena);
    return fclose(to) == 0 ? 0 : 5;
}

static void an_image_goes_on_in_another_program(void **state)
{
    (void)state;
    test_dir dir;
    char expected[256] = "", got[256] = "";
    test_dir_make(&dir, "arena_image");
    char *image = strdup(test_path(&dir, "image")), *answer = strdup(test_path(&dir, "answer"));
    baton_arena *arena = arena_made(&options);
    tree *own = tree_create(arena);
    tree_churn(own, test_seed(), STEPS);
    const baton_arena_range used = baton_arena_used(arena);
    write_all(image, used.base, used.bytes_count);

    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/proc/self/exe", "arena_image_test", "--restore", image, answer, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);

    FILE *to = fmemopen(expected, sizeof(expected), "w");
    assert_non_null(to);
    print_digests(to, own);
    fclose(to);
    read_all(answer, got, 2 * BATON_DIGEST_TEXT_BYTES);
    assert_string_equal(got, expected);
    baton_arena_destroy(arena);
    free(image);
    free(answer);
    test_dir_remove(&dir);
}

static void a_copy_goes_on_after_the_range_was_let_go(void **state)
{
    (void)state;
    baton_error error = {0};
    baton_arena *arena = arena_made(&options);
    tree *own = tree_create(arena);
    tree_churn(own, 3, STEPS);
    const baton_digest before = tree_digest(own);
    const size_t bytes = baton_arena_used(arena).bytes_count;
    void *copy = malloc(bytes);
    assert_non_null(copy);
    memcpy(copy, arena, bytes);
    tree_churn(own, 4, STEPS);
    const baton_digest after = tree_digest(own);
    baton_arena_destroy(arena);

    assert_int_equal(baton_arena_place(&options, bytes, &arena, &error), 0);
    memcpy(arena, copy, bytes);
    assert_int_equal(baton_arena_adopt(arena, bytes, &tree_layout, &error), 0);
    own = baton_arena_root(arena);
    assert_true(baton_digest_equal(tree_digest(own), before));
    tree_churn(own, 4, STEPS);
    assert_true(baton_digest_equal(tree_digest(own), after));
    baton_arena_destroy(arena);
    free(copy);
}

static void a_memfd_shows_the_same_bytes(void **state)
{
    (void)state;
    baton_arena *arena = arena_made(&(baton_arena_options){.memfd = true});
    tree_churn(tree_create(arena), 9, STEPS);
    const baton_arena_range used = baton_arena_used(arena);
    const int fd = baton_arena_memfd(arena);
    assert_true(fd >= 0);
    void *seen = mmap(NULL, used.bytes_count, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(seen, MAP_FAILED);
    assert_memory_equal(seen, used.base, used.bytes_count);
    munmap(seen, used.bytes_count);
    baton_arena_destroy(arena);
    assert_int_equal(fcntl(fd, F_GETFD), -1);

    arena = arena_made(NULL);
    assert_int_equal(baton_arena_memfd(arena), -1);
    baton_arena_destroy(arena);
}

/* Release, ASan and TSan builds alike. Another way of choosing where memory comes from changes the
 * digest; another meaning of the bytes raises BATON_ARENA_VERSION, too. */
static void the_same_calls_give_the_same_bytes_in_every_build(void **state)
{
    (void)state;
    char text[BATON_DIGEST_TEXT_BYTES];
    baton_arena *arena = arena_made(NULL);
    tree_churn(tree_create(arena), 1, STEPS);
    const baton_arena_range used = baton_arena_used(arena);
    baton_digest_text(baton_digest_of(used.base, used.bytes_count), text);
    assert_string_equal(text, "b06791f5db2ced68e41fa36235d867f2");
    baton_arena_destroy(arena);
}

/* ---- what is refused ---- */

typedef struct {
    baton_arena *arena;
    size_t bytes;
    void *copy; /* of the good image */
} placed;

static placed place_image(void)
{
    baton_error error = {0};
    placed own = {0};
    own.arena = arena_made(&options);
    tree_churn(tree_create(own.arena), 21, STEPS);
    own.bytes = baton_arena_used(own.arena).bytes_count;
    own.copy = malloc(own.bytes);
    assert_non_null(own.copy);
    memcpy(own.copy, own.arena, own.bytes);
    baton_arena_destroy(own.arena);
    assert_int_equal(baton_arena_place(&options, own.bytes, &own.arena, &error), 0);
    memcpy(own.arena, own.copy, own.bytes);
    return own;
}

static void let_go(placed *own)
{
    baton_arena_destroy(own->arena);
    free(own->copy);
}

static void expect_refused(placed *own, size_t bytes, const baton_layout *layout, int status,
                           const char *why)
{
    baton_error error = {0};
    assert_int_equal(baton_arena_adopt(own->arena, bytes, layout, &error), status);
    if (strstr(error.why, why) == NULL)
        fail_msg("'%s' does not say '%s'", error.why, why);
}

static void an_image_that_does_not_fit_is_refused_by_name(void **state)
{
    (void)state;
    baton_error error = {0};
    placed own = place_image();
    baton_layout other = tree_layout;
    other.revision++;
    expect_refused(&own, own.bytes, &other, BATON_E_SCHEMA, "other types");
    expect_refused(&own, own.bytes - 65536, &tree_layout, BATON_E_INVALID, "were placed");
    expect_refused(&own, 0, &tree_layout, BATON_E_INVALID, "no image");
    expect_refused(&own, own.bytes + RESERVE, &tree_layout, BATON_E_INVALID, "no image");
    memset(own.arena, 0, 8);
    expect_refused(&own, own.bytes, &tree_layout, BATON_E_INVALID, "no image");
    memcpy(own.arena, own.copy, own.bytes);
    ((uint8_t *)own.arena)[8]++; /* the version, after the magic */
    expect_refused(&own, own.bytes, &tree_layout, BATON_E_NEWER_FORMAT, "arena format 2");
    baton_arena_destroy(own.arena);

    const baton_arena_options elsewhere = {.address = BATON_ARENA_ADDRESS + 4 * RESERVE,
                                           .reserve_bytes = RESERVE};
    assert_int_equal(baton_arena_place(&elsewhere, own.bytes, &own.arena, &error), 0);
    memcpy(own.arena, own.copy, own.bytes);
    expect_refused(&own, own.bytes, &tree_layout, BATON_E_INVALID, "0x551000000000");
    let_go(&own);

    const baton_arena_options small = {.reserve_bytes = BATON_ARENA_RESERVE_MIN};
    baton_arena *arena = NULL;
    assert_int_equal(baton_arena_place(&small, 2 * BATON_ARENA_RESERVE_MIN, &arena, &error),
                     BATON_E_INVALID);
    assert_non_null(strstr(error.todo, "--arena-size"));
}

/* Digests keep damage out long before; what is left to this is a bug of a writer. No such image may
 * bring the reader down. */
static void no_flipped_bit_in_the_books_brings_the_check_down(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    placed own = place_image();
    uint8_t *bytes = (uint8_t *)own.arena;
    uint64_t found = 0;
    assert_null(baton_arena_check(own.arena));
    for (uint32_t i = 0; i < 4000; i++) {
        /* Half of them in the header and the block map, the others where blocks begin. */
        const size_t where =
            i % 2 == 0 ? test_below(&random, 10000)
                       : test_below(&random, own.bytes / 65536) * 65536 + test_below(&random, 600);
        const uint8_t bit = (uint8_t)(1u << test_below(&random, 8));
        bytes[where] ^= bit;
        found += baton_arena_check(own.arena) != NULL;
        bytes[where] ^= bit;
    }
    assert_null(baton_arena_check(own.arena));
    assert_true(found > 500);
    let_go(&own);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--restore") == 0)
        return restore(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_goes_on_in_another_program),
        cmocka_unit_test(a_copy_goes_on_after_the_range_was_let_go),
        cmocka_unit_test(a_memfd_shows_the_same_bytes),
        cmocka_unit_test(the_same_calls_give_the_same_bytes_in_every_build),
        cmocka_unit_test(an_image_that_does_not_fit_is_refused_by_name),
        cmocka_unit_test(no_flipped_bit_in_the_books_brings_the_check_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
