// The web server for files and the fetcher of many pages, at each other, under the step driver.
// TIMEOUT 1200
// LIBS: -lhttp_parser
#include "steps.h"

#include "aio_io_uring.h"

// The examples print into the void here, and their mains are not called.
static FILE *example_sink;
#define printf(...) fprintf(example_sink, __VA_ARGS__)
#undef stderr
#define stderr example_sink
#define isatty(fd) ((fd) >= 0)
#define main files_main
#include "../examples/27_static_files.c"
#undef main
#define main fetch_main
#define parts fetch_parts
#include "../examples/28_fetch_many.c"
#undef parts
#undef main
#undef isatty
#undef stderr
#undef printf

struct web { char folder[64], file[96]; int fd; };
static const char *const names[] = { "large", "none", "large?again", "" };
enum { PAGES = sizeof names / sizeof *names };

// Serves, fetches four pages with two workers, stops serving.
struct visit {
    aio_frame aio;
    int port, folder;
    char urls[PAGES][64];
    struct page pages[PAGES];
    struct list list;
    aio_task *server;
    int whole;
    aio_result r;
    struct fetch_many fetch_many;
};
aio_async(visit) {
    self->server = aio_spawn(server, .port = self->port, .folder = self->folder);
    for (int i = 0; i < PAGES; i++) {
        snprintf(self->urls[i], sizeof self->urls[i], "http://127.0.0.1:%d/%s", self->port,
                 names[i]);
        self->pages[i].url = self->urls[i];
    }
    self->list.pages = self->pages;
    self->list.n = PAGES;
    aio_await(self->r, aio_sleep(AIO_MSEC));
    if (self->r >= 0)
        aio_await(self->r, aio_call(&self->fetch_many, fetch_many, .list = &self->list, .jobs = 2));
    aio_task_cancel(self->server);
    aio_await(aio_join(self->server));
    for (int i = 0; i < PAGES; i++) {       // a page is complete, or it is an error
        if (self->pages[i].r < 0 || self->pages[i].code != 200) continue;
        assert_int_equal(self->pages[i].bytes, 300000);
        self->whole++;
    }
    return self->r < 0 ? self->r : self->whole;
} aio_end

static aio_task *spawn_visit(aio_loop *loop, void *arg)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t length = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof a));
    assert_true(!getsockname(fd, (struct sockaddr *)&a, &length));
    close(fd);
    return aio_spawn_on(loop, visit, .port = ntohs(a.sin_port), .folder = ((struct web *)arg)->fd);
}
static aio_result attach(aio_loop *loop, void *arg)
{
    (void)arg;
    return aio_uring_attach(loop, NULL);
}
static bool anything_came;
static void came_or_cancelled(aio_result r, void *arg)
{
    (void)arg;
    assert_true(r >= 0 || r == -ECANCELED);
    anything_came |= r == 2;
}
static void visit_is_safe(void **state)
{
    struct web w = { .folder = "/tmp/aio-http-XXX" "XXX" };
    struct steps s = {.spawn = spawn_visit,
                      .arg = &w,
                      .prepare = attach,
                      .victims = 7,
                      .limit = 60,
                      .real_clock = true,
                      .check = came_or_cancelled};
    aio_loop loop;
    (void)state;
    assert_result(aio_loop_init(&loop, NULL), 0);
    aio_result r = attach(&loop, NULL);
    aio_loop_close(&loop);
    if (r < 0) test_skip("io_uring is refused here");
    assert_non_null(mkdtemp(w.folder));
    snprintf(w.file, sizeof w.file, "%s/large", w.folder);
    int fd = open(w.file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && !ftruncate(fd, 300000));
    close(fd);
    w.fd = open(w.folder, O_PATH | O_CLOEXEC);
    unsigned cancels = steps_run(&s);
    close(w.fd);
    unlink(w.file);
    rmdir(w.folder);
    assert_true(cancels > 60);
    assert_true(anything_came);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(visit_is_safe) };
    example_sink = fopen("/dev/null", "we");
    return example_sink ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
