/* tests/unit/snapshot_command_test.c: `baton snapshot`: what it prints and the exit codes that
 * scripts rely on. */
#include "tests/unit/snapshot_fixture.h"

#include <fcntl.h>
#include <jansson.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator-shim/command.h"

static test_dir dir;
static char *out; /* what the last command printed; malloc'ed */
static char *err;

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "snapshot-command");
    baton_io *io = fixture_io(BATON_IO_THREADS);
    for (uint64_t seq = 1; seq <= 3; seq++) {
        const fixture_wish wish = {seq, 1, BATON_COMPRESS_RAW, 4096, 100, 0};
        fixture_publish(io, test_path(&dir, "snapshots"), &wish);
    }
    baton_io_close(io);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(out);
    free(err);
    out = err = NULL;
    test_dir_remove(&dir);
    return 0;
}

static char *slurp(FILE *file)
{
    char *text = calloc(1, 65536);
    assert_non_null(text);
    rewind(file);
    size_t n = fread(text, 1, 65535, file);
    text[n] = '\0';
    fclose(file);
    return text;
}

/* Runs it in this process with stdout and stderr caught. Words up to NULL. */
static int run(const char *which, ...)
{
    char *argv[12] = {(char *)(uintptr_t) "snapshot", (char *)(uintptr_t)which};
    int argc = which != NULL ? 2 : 1;
    va_list words;
    va_start(words, which);
    for (char *word; which != NULL && (word = va_arg(words, char *)) != NULL;)
        argv[argc++] = word;
    va_end(words);
    FILE *files[2] = {fopen(test_path(&dir, "out"), "w+b"), fopen(test_path(&dir, "err"), "w+b")};
    int kept[2];
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        assert_non_null(files[i]);
        kept[i] = dup(i + 1);
        assert_true(kept[i] >= 0 && dup2(fileno(files[i]), i + 1) >= 0);
    }
    optind = 0; /* getopt begins anew */
    int code = snapshot_command(argc, argv);
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        assert_true(dup2(kept[i], i + 1) >= 0);
        close(kept[i]);
    }
    free(out);
    free(err);
    out = slurp(files[0]);
    err = slurp(files[1]);
    return code;
}

static uint32_t lines(const char *text)
{
    uint32_t count = 0;
    for (; *text != '\0'; text++)
        count += *text == '\n';
    return count;
}

static void damage(const char *name)
{
    FILE *file = fopen(test_path(&dir, name), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 100, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, 100, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 1, file), byte ^ 1);
    assert_int_equal(fclose(file), 0);
}

static void ls_prints_one_object_a_line_newest_first(void **state)
{
    (void)state;
    assert_int_equal(run("ls", dir.path, "-o", "json", NULL), 0);
    assert_int_equal(lines(out), 3);
    char *line = strtok(out, "\n");
    for (json_int_t seq = 3; seq >= 1; seq--, line = strtok(NULL, "\n")) {
        json_t *object = json_loads(line, 0, NULL);
        assert_non_null(object);
        assert_int_equal(json_integer_value(json_object_get(object, "seq")), seq);
        assert_string_equal(json_string_value(json_object_get(object, "status")), "good");
        assert_string_equal(json_string_value(json_object_get(object, "service")),
                            "matching-engine");
        assert_int_equal(strlen(json_string_value(json_object_get(object, "root"))), 32);
        json_decref(object);
    }
    assert_int_equal(run("ls", test_path(&dir, "snapshots"), NULL), 0); /* that directory itself */
    assert_int_equal(lines(out), 4);
    assert_int_equal(run("ls", test_path(&dir, "nowhere"), NULL), 0);
    assert_string_equal(out, "");
}

static void info_shows_the_newest_or_the_one_asked_for(void **state)
{
    (void)state;
    assert_int_equal(run("info", dir.path, NULL), 0);
    assert_non_null(strstr(out, "matching-engine"));
    assert_int_equal(run("info", dir.path, "--seq", "2", "--epoch", "1", "-o", "json", NULL), 0);
    json_t *object = json_loads(out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(object, "seq")), 2);
    json_decref(object);
    assert_int_equal(run("info", dir.path, "--seq", "9", NULL), 1);
    assert_non_null(strstr(err, "baton: "));
    assert_int_equal(run("info", dir.path, "--epoch", "1", NULL), 1);
    damage("snapshots/0000000000000003-0000000000000001.manifest");
    assert_int_equal(run("info", dir.path, NULL), 11);
    assert_non_null(strstr(err, "0000000000000003-0000000000000001.manifest"));
}

static void verify_answers_11_for_damage_and_names_it(void **state)
{
    (void)state;
    assert_int_equal(run("verify", dir.path, NULL), 0);
    assert_int_equal(lines(out), 3);
    damage("snapshots/0000000000000002-0000000000000001.chunks");
    assert_int_equal(run("verify", dir.path, "-o", "json", NULL), 11);
    assert_int_equal(lines(out), 3); /* the others are still checked */
    assert_non_null(strstr(out, "\"damaged\""));
    assert_non_null(strstr(out, "0000000000000002-0000000000000001.chunks"));
    assert_non_null(strstr(err, "0000000000000002-0000000000000001.chunks"));
    assert_non_null(strstr(err, "offset 0"));
    assert_int_equal(run("verify", dir.path, "--seq", "3", NULL), 0);
    assert_int_equal(run("verify", dir.path, "--seq", "2", NULL), 11);
    assert_int_equal(run("verify", dir.path, "--seq", "4", NULL), 1);
    assert_int_equal(run("verify", dir.path, "--seq", "1", "--seq", "3", NULL), 0);
    assert_int_equal(lines(out), 2);
    assert_int_equal(run("verify", dir.path, "--seq", "1", "--seq", "9", NULL), 1);
    assert_string_equal(out, "1-1: good\n");
    assert_int_equal(run("verify", dir.path, "--seq", "2", "--seq", "9", NULL), 11);
    assert_int_equal(run("verify", dir.path, "--seq", "1", "--seq", "3", "--epoch", "1", NULL), 1);
    assert_int_equal(run("verify", test_path(&dir, "nowhere"), NULL), 0);
}

static void prune_keeps_two_and_is_refused_while_the_journal_is_locked(void **state)
{
    (void)state;
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    assert_int_equal(run("prune", dir.path, "--keep", "1", NULL), 1);
    assert_int_equal(mkdir(test_path(&dir, "journal"), 0750), 0);
    fixture_write(test_path(&dir, "journal/LOCK"), "", 0);
    int fd = open(test_path(&dir, "journal/LOCK"), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &whole), 0);
    assert_int_equal(run("prune", dir.path, NULL), 7);
    assert_non_null(strstr(err, "the service is running"));
    assert_int_equal(fixture_files(test_path(&dir, "snapshots")), 6);
    close(fd);
    assert_int_equal(run("prune", dir.path, "-o", "json", NULL), 0);
    json_t *object = json_loads(out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(object, "removed")), 1);
    json_decref(object);
    assert_int_equal(fixture_files(test_path(&dir, "snapshots")), 4);
}

static void help_and_mistakes_are_told(void **state)
{
    static const char *const verbs[] = {"ls",    "info", "verify", "prune", "pin",
                                        "unpin", "diff", "export", "import"};
    (void)state;
    assert_int_equal(run(NULL), 1);
    assert_string_equal(out, "");
    assert_int_equal(run("--help", NULL), 0);
    assert_int_equal(run("eat", dir.path, NULL), 1);
    for (uint32_t i = 0; i < 9; i++) {
        assert_int_equal(run(verbs[i], "--help", NULL), 0);
        assert_non_null(strstr(out, "Example"));
        assert_int_equal(run(verbs[i], NULL), 1);
        assert_int_equal(run(verbs[i], dir.path, dir.path, dir.path, NULL), 1);
        assert_int_equal(run(verbs[i], dir.path, "--nothing", NULL), 1);
        assert_int_equal(run(verbs[i], dir.path, "-o", "xml", NULL), 1);
        assert_int_equal(strncmp(err, "baton: ", 7), 0);
        assert_string_equal(out, "");
    }
}

static void ls_shows_pins_and_verifications(void **state)
{
    (void)state;
    assert_int_equal(run("ls", dir.path, NULL), 0);
    assert_int_equal(strncmp(out, "SEQ ", 4), 0);
    assert_null(strstr(out, "yes"));
    assert_int_equal(run("pin", dir.path, "--seq", "2", NULL), 0);
    assert_string_equal(out, "2-1: pinned\n");
    assert_int_equal(run("verify", dir.path, "--seq", "1", NULL), 0);
    assert_int_equal(run("verify", dir.path, "--seq", "3", "--no-note", NULL), 0);
    assert_int_equal(run("ls", dir.path, "-o", "json", NULL), 0);
    char *line = strtok(out, "\n");
    for (json_int_t seq = 3; seq >= 1; seq--, line = strtok(NULL, "\n")) {
        json_t *object = json_loads(line, 0, NULL);
        json_t *verified = json_object_get(object, "verified_wall_ns");
        assert_int_equal(json_is_true(json_object_get(object, "pinned")), seq == 2);
        assert_true(seq == 1 ? json_integer_value(verified) > 0 : json_is_null(verified));
        json_decref(object);
    }
    assert_int_equal(run("ls", dir.path, NULL), 0);
    assert_non_null(strstr(out, "yes"));
    assert_non_null(strstr(out, "portable"));
    assert_non_null(strstr(out, "KiB"));
}

static void damage_takes_the_note_away(void **state)
{
    (void)state;
    assert_int_equal(run("verify", dir.path, NULL), 0);
    assert_int_equal(fixture_files(test_path(&dir, "snapshots")), 9);
    damage("snapshots/0000000000000002-0000000000000001.chunks");
    assert_int_equal(run("verify", dir.path, "--no-note", NULL), 11);
    assert_int_equal(fixture_files(test_path(&dir, "snapshots")), 9);
    assert_int_equal(run("verify", dir.path, NULL), 11);
    assert_int_equal(fixture_files(test_path(&dir, "snapshots")), 8);
}

static void info_lists_the_sections(void **state)
{
    (void)state;
    assert_int_equal(run("info", dir.path, NULL), 0);
    assert_non_null(strstr(out, "\nSECTION "));
    assert_non_null(strstr(out, "\naccounts "));
    assert_int_equal(run("info", dir.path, "-o", "json", NULL), 0);
    json_t *object = json_loads(out, 0, NULL);
    json_t *sections = json_object_get(object, "section_list");
    assert_int_equal(json_array_size(sections), 3);
    json_t *first = json_array_get(sections, 0);
    assert_string_equal(json_string_value(json_object_get(first, "name")), "orders");
    assert_int_equal(json_integer_value(json_object_get(first, "rows")), 100);
    assert_int_equal(json_integer_value(json_object_get(object, "sections")), 3);
    assert_int_equal(json_integer_value(json_object_get(object, "chunk_bytes")), 4096);
    json_decref(object);
}

static void a_dry_run_removes_nothing_and_needs_no_lock(void **state)
{
    (void)state;
    assert_int_equal(run("pin", dir.path, "--seq", "1", NULL), 0);
    assert_int_equal(run("prune", dir.path, "--dry-run", "--keep-days", "0", NULL), 0);
    assert_non_null(strstr(out, "1-1: kept: pinned"));
    assert_int_equal(run("unpin", dir.path, "--seq", "1", NULL), 0);
    assert_int_equal(run("prune", dir.path, "--dry-run", "-o", "json", NULL), 0);
    json_t *object = json_loads(out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(object, "removed")), 0);
    assert_int_equal(json_integer_value(json_object_get(object, "would_remove")), 1);
    json_decref(object);
    assert_int_equal(fixture_files(test_path(&dir, "snapshots")), 6);
    assert_int_equal(run("pin", dir.path, "--seq", "9", NULL), 1);
    assert_int_equal(run("pin", dir.path, NULL), 1);
    assert_non_null(strstr(err, "--seq"));
    assert_int_equal(fixture_files(test_path(&dir, "snapshots")), 6);
}

/* One word for each way to say it. */
static void a_snapshot_is_named_by_place_and_seq(void **state)
{
    (void)state;
    static const char *const good[] = {
        "",           "@2",           "@2-1",
        "/snapshots", "/snapshots@3", "/snapshots/0000000000000002-0000000000000001.manifest"};
    static const char *const bad[] = {"@4",
                                      "@2-2",
                                      "@",
                                      "@x",
                                      "@2-",
                                      "@2-1-1",
                                      "/snapshots/0000000000000009-0000000000000001.manifest",
                                      "/nowhere/0000000000000002-0000000000000001.manifest"};
    char word[2 * TEST_PATH_BYTES];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(word, sizeof(word), "%s%s", dir.path, good[i]);
        assert_int_equal(run("diff", word, dir.path, "-o", "json", NULL), 0);
        json_t *object = json_loads(out, 0, NULL);
        json_t *a = json_object_get(object, "a");
        assert_int_equal(json_integer_value(json_object_get(a, "seq")),
                         strchr(good[i], '2') != NULL ? 2 : 3);
        assert_true(json_is_true(json_object_get(object, "equal")));
        json_decref(object);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(word, sizeof(word), "%s%s", dir.path, bad[i]);
        assert_int_equal(run("diff", word, dir.path, NULL), 1);
        assert_int_equal(strncmp(err, "baton: ", 7), 0);
    }
}

static void diff_counts_and_shows_rows(void **state)
{
    (void)state;
    char a[2 * TEST_PATH_BYTES];
    baton_io *io = fixture_io(BATON_IO_THREADS);
    const fixture_wish wish = {4, 1, BATON_COMPRESS_RAW, 4096, 102, 0}; /* its int is another */
    fixture_publish(io, test_path(&dir, "snapshots"), &wish);
    baton_io_close(io);
    snprintf(a, sizeof(a), "%s@3", dir.path);
    assert_int_equal(run("diff", a, dir.path, "--rows", "-o", "json", NULL), 0);
    const uint32_t count = lines(out); /* the last one sums up */
    uint32_t added = 0;
    for (char *line = strtok(out, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        json_t *object = json_loads(line, 0, NULL);
        assert_non_null(object);
        const char *change = json_string_value(json_object_get(object, "change"));
        if (change != NULL) {
            assert_int_equal(json_array_size(json_object_get(object, "row")), 4);
            added += strcmp(change, "added") == 0;
        } else {
            json_t *section = json_array_get(json_object_get(object, "sections"), 0);
            const json_int_t changed = json_integer_value(json_object_get(section, "changed"));
            assert_int_equal(json_integer_value(json_object_get(section, "added")), 2);
            assert_int_equal(changed, 100);
            assert_int_equal(count, 1 + 2 + 2 * changed);
            assert_true(json_is_false(json_object_get(object, "equal")));
        }
        json_decref(object);
    }
    assert_int_equal(added, 2);
    assert_int_equal(run("diff", a, dir.path, "--rows", NULL), 0);
    assert_non_null(strstr(out, "\n+ orders ["));
    assert_non_null(strstr(out, "\n> orders ["));
    assert_int_equal(strncmp(out, "< orders [", 10), 0);
    assert_non_null(strstr(out, "different\n"));
}

static void an_export_comes_back_and_its_sum_is_checked(void **state)
{
    (void)state;
    char word[2 * TEST_PATH_BYTES];
    char *file = strdup(test_path(&dir, "backup"));
    char *sums = strdup(test_path(&dir, "backup.sha256"));
    char *other = strdup(test_path(&dir, "other"));
    snprintf(word, sizeof(word), "%s@2", dir.path);
    assert_int_equal(run("export", word, file, NULL), 0);
    assert_int_equal(run("export", word, file, NULL), 1);
    assert_non_null(strstr(err, "there is a file of that name"));
    assert_int_equal(run("import", file, other, "-o", "json", NULL), 0);
    json_t *object = json_loads(out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(object, "seq")), 2);
    assert_int_equal(strlen(json_string_value(json_object_get(object, "sha256"))), 64);
    json_decref(object);
    assert_int_equal(run("verify", other, "--no-note", NULL), 0);
    assert_int_equal(fixture_files(other), 2);
    assert_int_equal(run("import", file, dir.path, NULL), 1); /* it is there */
    assert_int_equal(run("import", file, dir.path, "--force", NULL), 0);

    char *third = strdup(test_path(&dir, "third"));
    fixture_write(sums,
                  "0000000000000000000000000000000000000000000000000000000000000000  backup\n", 73);
    assert_int_equal(run("import", file, third, NULL), 11);
    assert_non_null(strstr(err, "checksum"));
    fixture_write(sums, "not a sum\n", 10);
    assert_int_equal(run("import", file, third, NULL), 11);
    assert_int_equal(unlink(sums), 0);
    damage("backup");
    assert_int_equal(run("import", file, third, NULL), 11);
    assert_non_null(strstr(err, "offset "));
    assert_true(access(third, F_OK) < 0); /* not even the directory */
    free(file);
    free(sums);
    free(other);
    free(third);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ls_prints_one_object_a_line_newest_first, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(info_shows_the_newest_or_the_one_asked_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(verify_answers_11_for_damage_and_names_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(prune_keeps_two_and_is_refused_while_the_journal_is_locked,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(ls_shows_pins_and_verifications, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damage_takes_the_note_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(info_lists_the_sections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dry_run_removes_nothing_and_needs_no_lock, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_snapshot_is_named_by_place_and_seq, set_up, tear_down),
        cmocka_unit_test_setup_teardown(diff_counts_and_shows_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_export_comes_back_and_its_sum_is_checked, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(help_and_mistakes_are_told, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
