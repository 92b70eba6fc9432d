// test.h - what every test program includes: cmocka with TAP output, and a few helpers.
// SPDX-License-Identifier: MIT
//
// One program per topic, tests/t_<topic>.c, with an ordinary main:
//
//     static void adds(void **state) { (void)state; assert_int_equal(1 + 1, 2); }
//     int main(void)
//     {
//         const struct CMUnitTest tests[] = { cmocka_unit_test(adds) };
//         return cmocka_run_group_tests(tests, NULL, NULL);
//     }
#ifndef TEST_H
#define TEST_H

#ifndef _GNU_SOURCE
#  define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __cplusplus
extern "C" {
#endif
#include <cmocka.h>
#ifdef __cplusplus
}
#endif

#define TEST_FN static inline __attribute__((unused))

// TAP on standard output, line by line, so that a crash loses nothing. A shell starts what runs in the
// background with these signals ignored; tests of them are about their default.
static __attribute__((constructor)) void test_start(void)
{
    setvbuf(stdout, NULL, _IOLBF, 4096);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    signal(SIGINT, SIG_DFL);
    signal(SIGQUIT, SIG_DFL);
}

// Ends the test without a verdict and says why. In CI only what tests/skips.allowed lists may do
// so.
#define test_skip(reason) \
    do { \
        printf("# SKIP-REASON %s\n", reason); \
        skip(); \
    } while (0)

// Compares two results and prints both as signed numbers.
#define assert_result(result, expected) \
    test_assert_result((long long)(result), (long long)(expected), #result, __FILE__, __LINE__)
TEST_FN void test_assert_result(long long r, long long expected, const char *text, const char *file,
                                int line)
{
    if (r == expected) return;
    print_error("%s is %lld, not %lld\n", text, r, expected);
    _fail(file, line);
}

// Runs fn(arg) in a child process with its output in `text`. Returns its wait status. For what must
// abort or end the process: WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT.
TEST_FN int test_in_child(void (*fn)(void *), void *arg, char *text, size_t size)
{
    int fds[2], status = -1;
    size_t at = 0;
    if (pipe(fds) < 0) return -1;
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) return -1;
    if (!child) {
        dup2(fds[1], 1);
        dup2(fds[1], 2);
        close(fds[0]);
        fn(arg);
        fflush(NULL);
        _exit(0);
    }
    close(fds[1]);
    for (ssize_t n; at + 1 < size && (n = read(fds[0], text + at, size - at - 1)) > 0;)
        at += (size_t)n;
    if (size) text[at] = 0;
    close(fds[0]);
    waitpid(child, &status, 0);
    return status;
}

// An allocator that counts, and fails from the n-th call on if it is told to. For
// aio_loop_options.allocator = { test_allocate, test_release, &memory }. Its memory holds nothing of
// use.
struct test_memory {
    long blocks;        // allocated and not yet released
    long calls;         // allocations so far
    long fail_from;     // the number of the first call that fails; 0: none does
};
TEST_FN void *test_allocate(void *context, size_t size)
{
    struct test_memory *m = (struct test_memory *)context;
    void *block = NULL;
    if (m->fail_from && m->calls + 1 >= m->fail_from) return NULL;
    if (posix_memalign(&block, 64, size)) return NULL;
    memset(block, 0xA5, size);
    m->calls++;
    m->blocks++;
    return block;
}
TEST_FN void test_release(void *context, void *block)
{
    struct test_memory *m = (struct test_memory *)context;
    m->blocks--;
    free(block);
}
#endif
