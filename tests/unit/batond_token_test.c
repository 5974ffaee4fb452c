/* tests/unit/batond_token_test.c: which files hold a token, and which header fits it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "drain/batond/token.h"
#include "tests/support/test_dir.h"

#define SECRET "0123456789abcdef"

typedef struct {
    test_dir directory;
    char path[TEST_PATH_BYTES + 8];
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    test_dir_make(&f->directory, "batond_token");
    snprintf(f->path, sizeof(f->path), "%s/token", f->directory.path);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    test_dir_remove(&f->directory);
    free(f);
    return 0;
}

static void write_file(const fixture *f, const char *bytes, size_t count, mode_t mode)
{
    unlink(f->path);
    const int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, count), count);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static int read_back(const fixture *f, const char *text, mode_t mode, batond_token *token)
{
    baton_error error = {0};
    write_file(f, text, strlen(text), mode);
    const int r = batond_token_read(token, f->path, &error);
    if (r < 0) {
        assert_true(error.why[0] != '\0' && error.todo[0] != '\0');
        assert_null(strstr(error.why, SECRET));
        assert_null(strstr(error.what, SECRET));
    }
    return r;
}

static void one_line_is_the_token_without_its_newline(void **state)
{
    batond_token token;
    static const char *const texts[] = {SECRET, SECRET "\n", SECRET "\r\n", SECRET "\n\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(read_back(*state, texts[i], 0600, &token), 0);
        assert_int_equal(token.bytes, strlen(SECRET));
        assert_true(batond_token_fits(&token, "Bearer " SECRET));
    }
}

static void what_is_no_token_is_refused(void **state)
{
    batond_token token;
    char text[BATOND_TOKEN_BYTES_MAX + 10];
    static const char *const texts[] = {"",
                                        "\n",
                                        "0123456789abcde",
                                        SECRET "\n" SECRET,
                                        SECRET " ",
                                        " " SECRET,
                                        SECRET "\t",
                                        "\"0123456789abcdef\"",
                                        "0123456789abcd\xc3\xa9",
                                        SECRET ":x",
                                        SECRET "\x01x"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(read_back(*state, texts[i], 0600, &token), BATON_E_REFUSED);
        assert_int_equal(token.bytes, 0);
        assert_false(batond_token_fits(&token, "Bearer "));
        assert_false(batond_token_fits(&token, "Bearer " SECRET));
    }
    memset(text, 'x', sizeof(text));
    text[BATOND_TOKEN_BYTES_MAX] = '\0';
    assert_int_equal(read_back(*state, text, 0600, &token), 0);
    text[BATOND_TOKEN_BYTES_MAX] = 'x';
    text[BATOND_TOKEN_BYTES_MAX + 1] = '\0';
    assert_int_equal(read_back(*state, text, 0600, &token), BATON_E_REFUSED);
    write_file(*state, SECRET "\0x", 18, 0600);
    assert_int_equal(batond_token_read(&token, ((fixture *)*state)->path, NULL), BATON_E_REFUSED);
}

static void who_else_can_read_or_write_the_file_decides(void **state)
{
    batond_token token;
    static const mode_t good[] = {0400, 0600, 0440, 0640, 0700};
    static const mode_t bad[] = {0604, 0602, 0606, 0644, 0660, 0620, 0666, 0777};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(read_back(*state, SECRET, good[i], &token), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(read_back(*state, SECRET, bad[i], &token), BATON_E_REFUSED);
}

static void a_file_of_another_user_is_refused(void **state)
{
    const fixture *f = *state;
    batond_token token;
    if (geteuid() != 0) {
        print_message("skipped: only root can give a file away\n");
        skip();
    }
    write_file(f, SECRET, strlen(SECRET), 0600);
    assert_int_equal(chown(f->path, 12345, (gid_t)-1), 0);
    assert_int_equal(batond_token_read(&token, f->path, NULL), BATON_E_REFUSED);
}

static void what_is_no_file_is_refused_and_does_not_block(void **state)
{
    const fixture *f = *state;
    batond_token token;
    assert_int_equal(batond_token_read(&token, f->directory.path, NULL), BATON_E_REFUSED);
    assert_int_equal(batond_token_read(&token, "/dev/null", NULL), BATON_E_REFUSED);
    assert_int_equal(mkfifo(f->path, 0600), 0);
    assert_int_equal(batond_token_read(&token, f->path, NULL), BATON_E_REFUSED);
    unlink(f->path);
    assert_true(batond_token_read(&token, f->path, NULL) < 0);
}

static void a_symbolic_link_is_followed_to_its_file(void **state)
{
    const fixture *f = *state;
    batond_token token;
    const char *link_path = test_path(&f->directory, "link");
    write_file(f, SECRET, strlen(SECRET), 0600);
    assert_int_equal(symlink("token", link_path), 0);
    assert_int_equal(batond_token_read(&token, link_path, NULL), 0);
}

static void only_the_whole_token_fits(void **state)
{
    batond_token token;
    char longer[700];
    static const char *const wrong[] = {
        "",
        "Bearer",
        "Bearer ",
        "Bearer 0123456789abcde",
        "Bearer " SECRET "0",
        "Bearer  " SECRET,
        "Bearer " SECRET " ",
        "Basic " SECRET,
        SECRET,
        "Bearer 1123456789abcdef",
        "Bearer 0123456789abcdeF",
    };
    assert_int_equal(read_back(*state, SECRET, 0600, &token), 0);
    assert_true(batond_token_fits(&token, "Bearer " SECRET));
    assert_true(batond_token_fits(&token, "bearer " SECRET)); /* RFC 7235: schemes have no case */
    assert_false(batond_token_fits(&token, NULL));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(batond_token_fits(&token, wrong[i]));
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    memcpy(longer, "Bearer " SECRET, strlen("Bearer " SECRET));
    assert_false(batond_token_fits(&token, longer));
}

static void a_wiped_token_fits_nothing(void **state)
{
    static const batond_token zero;
    batond_token token;
    assert_int_equal(read_back(*state, SECRET, 0600, &token), 0);
    batond_token_wipe(&token);
    assert_memory_equal(&token, &zero, sizeof(token));
    assert_false(batond_token_fits(&token, "Bearer " SECRET));
    assert_false(batond_token_fits(&token, "Bearer "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_line_is_the_token_without_its_newline, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_token_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_else_can_read_or_write_the_file_decides, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_of_another_user_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_file_is_refused_and_does_not_block, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_symbolic_link_is_followed_to_its_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_the_whole_token_fits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wiped_token_fits_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
