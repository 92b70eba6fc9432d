// Every example under the step driver: cancelled at every turn, it leaks nothing and does not
// crash. TIMEOUT 1200
#include "steps.h"

#include "aio_io_uring.h"

// The examples print into the void here, and their mains are not called.
static FILE *example_sink;
static int example_sink_fd;
#define puts(text) fprintf(example_sink, "%s\n", text)
#define printf(...) fprintf(example_sink, __VA_ARGS__)
#undef stdout
#undef stderr
#define stdout example_sink
#define stderr example_sink
#undef STDOUT_FILENO
#define STDOUT_FILENO example_sink_fd

#define main hello_main
#include "../examples/01_hello.c"
#undef main
#define main sleep_main
#include "../examples/02_sleep.c"
#undef main
#define main nested_main
#include "../examples/03_nested.c"
#undef main
#define main tasks_main
#include "../examples/04_tasks.c"
#undef main
#define main echo_main
#include "../examples/05_echo.c"
#undef main
#define main copy_main
#include "../examples/06_copy.c"
#undef main
#define main cat_main
#include "../examples/07_cat.c"
#undef main
#define main virtual_time_main
#include "../examples/08_virtual_time.c"
#undef main
#define main awaitable_main
#include "../examples/09_awaitable.c"
#undef main
#define main scan_main
#include "../examples/10_scan.c"
#undef main
#define main together_main
#include "../examples/11_together.c"
#undef main
#define main sequence_main
#include "../examples/12_sequence.c"
#undef main
#define main primes_main
#include "../examples/13_primes.c"
#undef main
#define main chess_main
#include "../examples/14_chess.c"
#undef main
#define main first_main
#include "../examples/15_first.c"
#undef main
#define main retry_main
#include "../examples/16_retry.c"
#undef main
#define main fetch_main
#include "../examples/17_fetch.c"
#undef main
#define main interrupt_main
#include "../examples/18_interrupt.c"
#undef main
#define main workers_main
#include "../examples/22_workers.c"
#undef main
#define main generators_main
#include "../examples/23_generators.c"
#undef main
#undef stdout
#undef stderr

// --- time only: on the virtual clock
static void ended_or_cancelled(aio_result r, void *arg)
{
    (void)arg;
    assert_true(r >= 0 || r == -ECANCELED);
}
static void run_steps(struct steps *s, unsigned at_least)
{
    if (!s->check) s->check = ended_or_cancelled;
    unsigned cancels = steps_run(s);
    if (cancels < at_least) print_error("only %u cancels\n", cancels);
    assert_true(cancels >= at_least);
}
#define SPAWNER(name) \
    static aio_task *spawn_##name(aio_loop *loop, void *arg) \
    { \
        (void)arg; \
        return aio_spawn_on(loop, name); \
    }
SPAWNER(hello)
SPAWNER(both_ways)
SPAWNER(nested)
SPAWNER(tour)
SPAWNER(day)
SPAWNER(post_office)
SPAWNER(structured)
SPAWNER(three_ways)
SPAWNER(primes)
SPAWNER(exhibition)
SPAWNER(first_wins)
SPAWNER(persistent)
SPAWNER(fetch_twice)
SPAWNER(service)
SPAWNER(factory)
SPAWNER(watch)

static void hello_is_safe(void **state)
{
    struct steps s = { .spawn = spawn_hello };
    (void)state;
    run_steps(&s, 2);
}
static void sleep_is_safe(void **state)
{
    struct steps s = { .spawn = spawn_both_ways, .victims = 4 };
    (void)state;
    run_steps(&s, 6);
}
static void nested_is_safe(void **state)
{
    struct steps s = { .spawn = spawn_nested };
    (void)state;
    run_steps(&s, 4);
}
static void tasks_are_safe(void **state)
{
    struct steps s = { .spawn = spawn_tour, .victims = 6 };
    (void)state;
    run_steps(&s, 8);
}
static void virtual_time_is_safe(void **state)
{
    struct steps s = { .spawn = spawn_day, .victims = 3, .limit = 400 };
    (void)state;
    run_steps(&s, 100);
}
static void awaitable_is_safe(void **state)
{
    struct steps s = { .spawn = spawn_post_office, .victims = 2 };
    (void)state;
    run_steps(&s, 6);
}

static void together_or_cancelled(aio_result r, void *arg)
{
    (void)arg;      // -ETIMEDOUT: a shielded task was cancelled, and the limit ended what went on
    assert_true(r >= 0 || r == -ECANCELED || r == -ETIMEDOUT);
}
static void together_is_safe(void **state)
{
    struct steps s = { .spawn = spawn_structured, .victims = 6, .check = together_or_cancelled };
    (void)state;
    run_steps(&s, 40);
}

// --- asyncio's tutorials. (Those with threads are left out: their turns differ from run to run.)
static void sequence_is_safe(void **state)
{
    struct steps s = { .spawn = spawn_three_ways, .victims = 6 };
    (void)state;
    run_steps(&s, 30);
}
static void primes_are_safe(void **state)
{
    struct steps s = { .spawn = spawn_primes, .victims = 4, .limit = 6 };
    (void)state;
    run_steps(&s, 40);
}
static void chess_is_safe(void **state)
{
    struct steps s = {.spawn = spawn_exhibition,
                      .limit = 1500}; // one after another, and the beginning of the rest
    (void)state;
    run_steps(&s, 2000);
}
static void won_or_cancelled(aio_result r, void *arg)
{
    (void)arg;
    assert_true(r == 0 || r == -ECANCELED);
}
static void first_is_safe(void **state)
{
    struct steps s = { .spawn = spawn_first_wins, .victims = 4, .check = won_or_cancelled };
    (void)state;
    run_steps(&s, 30);
}
static void retry_is_safe(void **state)
{
    struct steps s = { .spawn = spawn_persistent, .check = won_or_cancelled };
    (void)state;
    run_steps(&s, 20);
}
static void interrupt_is_safe(void **state)
{
    struct steps s = { .spawn = spawn_service, .limit = 20 };      // the others do not end it
    (void)state;
    run_steps(&s, 20);
}
static void workers_are_safe(void **state)
{
    struct steps s = { .spawn = spawn_factory, .check = won_or_cancelled };
    (void)state;
    run_steps(&s, 20);
}
static void generators_are_safe(void **state)
{
    struct steps s = { .spawn = spawn_watch, .check = won_or_cancelled };
    (void)state;
    run_steps(&s, 100);
}

// --- with a ring. Time stands still while an operation is in flight: the virtual clock does here
// too.
static aio_result attach(aio_loop *loop, void *arg)
{
    (void)arg;
    return aio_uring_attach(loop, NULL);
}
static void need_ring(void)
{
    aio_loop loop;
    assert_result(aio_loop_init(&loop, NULL), 0);
    aio_result r = attach(&loop, NULL);
    aio_loop_close(&loop);
    if (r < 0) test_skip("io_uring is refused here");
}
static int free_port(void)          // nobody listens on it; the socket stays open, so nobody will
{
    struct sockaddr_in a;
    socklen_t length = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof a));
    assert_true(!getsockname(fd, (struct sockaddr *)&a, &length));
    close(fd);
    return ntohs(a.sin_port);
}

// The server, and a client that says something, reads the echo, says more and hangs up.
struct client {
    aio_frame aio;
    int port, fd, i;
    char buf[64];
};
aio_async(client) {
    aio_result r;
    aio_try(self->fd, aio_connect_tcp("127.0.0.1", self->port));
    for (self->i = 0; self->i < 3; self->i++) {
        aio_await(r, aio_send_all(self->fd, "hello", 5, 0));
        if (r <= 0) break;
        aio_await(r, aio_recv(self->fd, self->buf, 5, MSG_WAITALL));
        if (r <= 0) break;
    }
    aio_await(aio_shutdown(self->fd, SHUT_WR));
    aio_await(aio_close(self->fd));
    return 0;
} aio_end
struct echo_session {
    aio_frame aio;
    int port;
    aio_task *server;
    struct client client;
};
aio_async(echo_session) {
    self->server = aio_spawn(server, .port = self->port);
    aio_await(aio_sleep(0));
    aio_await(aio_call(&self->client, client, .port = self->port));
    aio_task_cancel(self->server);
    aio_await(aio_join(self->server));
    return 0;
} aio_end
static aio_task *spawn_echo(aio_loop *loop, void *arg)
{
    return aio_spawn_on(loop, echo_session, .port = *(int *)arg);
}
static void echo_is_safe(void **state)
{
    int port = free_port();
    struct steps s = {
        .spawn = spawn_echo, .arg = &port, .prepare = attach, .victims = 3, .limit = 60};
    (void)state;
    need_ring();
    run_steps(&s, 6);
}

struct files {
    char from[96], to[96], folder[64];
    size_t size;
    struct content contents[3];
};
static void files_make(struct files *f, size_t size)
{
    strcpy(f->folder, "/tmp/aio-steps-XXX" "XXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->from, sizeof f->from, "%s/from", f->folder);
    snprintf(f->to, sizeof f->to, "%s/to", f->folder);
    FILE *out = fopen(f->from, "w");
    assert_non_null(out);
    for (size_t i = 0; i < size; i++) putc((int)(i * 7 % 251), out);
    fclose(out);
    f->size = size;
}
static void files_remove(struct files *f)
{
    unlink(f->from);
    unlink(f->to);
    rmdir(f->folder);
}
static aio_task *spawn_copy(aio_loop *loop, void *arg)
{
    struct files *f = (struct files *)arg;
    unlink(f->to);
    return aio_spawn_on(loop, copy, .from = f->from, .to = f->to);
}
static void copied_or_not(aio_result r, void *arg)
{
    struct files *f = (struct files *)arg;
    struct stat s;
    assert_true(r == 0 || r == -ECANCELED);
    if (r == 0) assert_true(!stat(f->to, &s) && (size_t)s.st_size == f->size);
}
static void copy_is_safe(void **state)
{
    struct files f;
    struct steps s = { .spawn = spawn_copy, .arg = &f, .prepare = attach, .check = copied_or_not };
    (void)state;
    need_ring();
    files_make(&f, 200000);
    run_steps(&s, 5);
    files_remove(&f);
}
static aio_task *spawn_cat(aio_loop *loop, void *arg)
{
    struct files *f = (struct files *)arg;
    memset(f->contents, 0, sizeof f->contents);
    f->contents[0].name = f->contents[2].name = f->from;
    f->contents[1].name = f->folder;                    // cannot be read
    return aio_spawn_on(loop, cat, .files = f->contents, .n = 3);
}
static void cat_is_safe(void **state)
{
    struct files f;
    struct steps s = { .spawn = spawn_cat, .arg = &f, .prepare = attach, .victims = 4 };
    (void)state;
    need_ring();
    files_make(&f, 200000);
    run_steps(&s, 4);
    files_remove(&f);
}

struct scan_arg {
    struct scan_state state;
    aio_result outcome[4];
};
static aio_task *spawn_scan(aio_loop *loop, void *arg)
{
    struct scan_arg *a = (struct scan_arg *)arg;
    a->state.next = a->state.first;
    a->state.outcome = a->outcome;
    return aio_spawn_on(loop, scan, .scan = &a->state);
}
static void scan_is_safe(void **state)
{
    int port = free_port();
    struct scan_arg a = { .state = { .host = "127.0.0.1", .first = port, .last = port + 3 } };
    struct steps s = { .spawn = spawn_scan, .arg = &a, .prepare = attach, .victims = 5 };
    (void)state;
    need_ring();
    run_steps(&s, 3);
}
static void fetched_or_cancelled(aio_result r, void *arg)
{
    (void)arg; // -ENODATA: the first three, when a task of the server was cancelled and hung up
    assert_true(r == 0 || r == -ECANCELED || r == -ENODATA || r == -ECONNREFUSED ||
                r == -ECONNRESET);
}
static void fetch_is_safe(void **state)
{
    struct steps s = {.spawn = spawn_fetch_twice,
                      .prepare = attach,
                      .victims = 3,
                      .limit = 60,
                      .real_clock = true,
                      .check = fetched_or_cancelled}; // accept is always in flight
    (void)state;
    need_ring();
    run_steps(&s, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_is_safe),  cmocka_unit_test(sleep_is_safe),
        cmocka_unit_test(nested_is_safe), cmocka_unit_test(tasks_are_safe),
        cmocka_unit_test(virtual_time_is_safe), cmocka_unit_test(awaitable_is_safe),
        cmocka_unit_test(together_is_safe),
        cmocka_unit_test(echo_is_safe),   cmocka_unit_test(copy_is_safe),
        cmocka_unit_test(cat_is_safe),    cmocka_unit_test(scan_is_safe),
        cmocka_unit_test(sequence_is_safe), cmocka_unit_test(primes_are_safe),
        cmocka_unit_test(chess_is_safe), cmocka_unit_test(first_is_safe),
        cmocka_unit_test(retry_is_safe), cmocka_unit_test(interrupt_is_safe),
        cmocka_unit_test(workers_are_safe), cmocka_unit_test(generators_are_safe),
        cmocka_unit_test(fetch_is_safe),
    };
    example_sink = fopen("/dev/null", "we");
    if (!example_sink) return 1;
    example_sink_fd = fileno(example_sink);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
