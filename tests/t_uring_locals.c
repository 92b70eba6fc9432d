// Debug mode names what stands on the C stack of a step that has ended; correct programs stay silent.
#include "aio_io_uring.h"
#include <fcntl.h>
#include <sys/wait.h>
#include "test.h"

struct nap { aio_frame aio; int n; int *out; };
aio_async(nap) {
    aio_try(aio_sleep(1));
    return self->n;
} aio_end

struct buffer_local { aio_frame aio; int p[2]; };
aio_async(buffer_local) {
    char buf[64];
    aio_try(aio_pipe(self->p, 0));
    aio_try(aio_read_some(self->p[0], buf, sizeof buf));
    return 0;
} aio_end
struct frame_local { aio_frame aio; };
aio_async(frame_local) {
    struct nap child;
    aio_try(aio_call(&child, nap, .n = 1));
    return 0;
} aio_end
struct scope_local { aio_frame aio; };
aio_async(scope_local) {
    aio_timeout limit;
    memset((void *)&limit, 0, sizeof limit);
    aio_try(aio_timeout_enter(&limit, AIO_SECOND));
    aio_try(aio_sleep(1));
    return 0;
} aio_end
struct argument_local { aio_frame aio; };
aio_async(argument_local) {
    int out;
    aio_try(aio_join(aio_spawn(nap, .n = 1, .out = &out)));
    return 0;
} aio_end
// Correct: a path that is a local, a buffer in the frame, in main, or static.
struct correct { aio_frame aio; int p[2], fd; char buf[64], *outside; };
aio_async(correct) {
    aio_try(aio_pipe(self->p, 0));
    aio_try(aio_write_all(self->p[1], "hello hello", 11));
    aio_try(aio_read_some(self->p[0], self->buf, 5));
    aio_try(aio_read_some(self->p[0], self->outside, 6));
    {
        char path[16];
        memcpy(path, "/dev/null", 10);
        aio_try(self->fd, aio_openat(AT_FDCWD, path, O_RDONLY, 0));
    }
    aio_await(aio_close(self->fd));
    aio_await(aio_close(self->p[0]));
    aio_await(aio_close(self->p[1]));
    return 0;
} aio_end

static char said[4096];
static int status;
#define IN_CHILD(...) \
    do { \
        int fds[2]; \
        assert_int_equal(pipe(fds), 0); \
        pid_t child = fork(); \
        if (!child) { \
            struct aio_loop_options options; \
            memset(&options, 0, sizeof options); \
            options.debug = true; \
            dup2(fds[1], 2); \
            _exit(aio_run_with(&options, __VA_ARGS__) < 0); \
        } \
        close(fds[1]); \
        size_t at = 0; \
        for (ssize_t n; (n = read(fds[0], said + at, sizeof said - 1 - at)) > 0;) at += (size_t)n; \
        said[at] = 0; \
        close(fds[0]); \
        assert_int_equal(waitpid(child, &status, 0), child); \
    } while (0)
static void stops_with(const char *text, const char *await)
{
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(said, text));
    assert_non_null(strstr(said, await));
}
static void an_operations_buffer_is_named(void **state)
{
    (void)state;
    IN_CHILD(buffer_local);
    stops_with("the buffer of an operation is a local", "aio_read_some(self->p[0], buf");
}
static void a_callees_frame_is_named(void **state)
{
    (void)state;
    IN_CHILD(frame_local);
    stops_with("the frame of a call is a local", "aio_call(&child, nap");
}
static void a_scope_is_named(void **state)
{
    (void)state;
    IN_CHILD(scope_local);
    stops_with("a scope (a limit, a group, an op) is a local", "aio_sleep(1)");
}
static void a_tasks_argument_is_reported(void **state)
{
    (void)state;
    IN_CHILD(argument_local);
    assert_int_equal(status, 0);
    assert_non_null(strstr(said, "an argument points to a local of a step that has ended"));
    assert_non_null(strstr(said, "nap"));
}
static void a_correct_program_stays_silent(void **state)
{
    char outside[16];
    (void)state;
    IN_CHILD(correct, .outside = outside);
    assert_string_equal(said, "");
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_operations_buffer_is_named),
        cmocka_unit_test(a_callees_frame_is_named),
        cmocka_unit_test(a_scope_is_named),
        cmocka_unit_test(a_tasks_argument_is_reported),
        cmocka_unit_test(a_correct_program_stays_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
