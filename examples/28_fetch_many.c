// 28_fetch_many - fetches many pages over HTTP, some at a time.
//
// Shows:  a crew of workers that share a list, which is the limit; a limit in time around all that
//         one page takes, the look-up of its name included; a progress line; errors by page.
// Run:    cc -O2 -iquote . examples/28_fetch_many.c -o fetch_many -lhttp_parser -luring
//         ./fetch_many -j 20 http://localhost:8080/ http://localhost:8080/sleep …
// LIBS: -lhttp_parser
// Prints: a line for each page, in the order of the arguments; exit status 1 if one is missing.
#include "aio_io_uring.h"
#include <http_parser.h>

struct page {
    const char *url;
    unsigned code;
    unsigned long long bytes;
    int64_t ns;
    aio_result r;
};

struct list {                   // shared: one thread, so no locks
    struct page *pages;
    int n, next, over;
    unsigned long long bytes;
};

// --- one page
struct fetch {
    aio_frame aio;
    struct list *list;
    struct page *page;
    int fd;                     // -1: not connected. Whoever calls this closes it.
    http_parser parser;
    char host[256], request[4096], buf[65536];
};
aio_scratch(fetch, host);       // need not be zeroed

static int on_body(http_parser *p, const char *at, size_t n)
{
    struct fetch *f = p->data;
    (void)at;                   // here a real program would keep it
    f->page->bytes += n;
    f->list->bytes += n;
    return 0;
}
static int on_end(http_parser *p) { return http_parser_pause(p, 1), 0; }    // it is complete
static const http_parser_settings parts = { .on_body = on_body, .on_message_complete = on_end };

// Makes the request of the page's address. Result: the port.
static aio_result prepare(struct fetch *f)
{
    struct http_parser_url u;
    const char *url = f->page->url;
    http_parser_url_init(&u);
    if (http_parser_parse_url(url, strlen(url), 0, &u)) return -EINVAL;
    if (strncasecmp(url, "http://", 7) != 0) return -EPROTONOSUPPORT;
    int host = snprintf(f->host, sizeof f->host, "%.*s", (int)u.field_data[UF_HOST].len,
                        url + u.field_data[UF_HOST].off);
    const char *authority = url + 7, *path = authority + strcspn(authority, "/?#");
    int n = snprintf(f->request, sizeof f->request, "GET %s%.*s HTTP/1.1\r\nHost: %.*s\r\n"
                     "Connection: close\r\n\r\n", *path == '/' ? "" : "/", (int)strcspn(path, "#"),
                     path, (int)(path - authority), authority);
    if (host >= (int)sizeof f->host || n >= (int)sizeof f->request) return -ENAMETOOLONG;
    return u.field_set & 1 << UF_PORT ? u.port : 80;
}

aio_async(fetch) {
    aio_result n;
    if ((n = prepare(self)) < 0) return n;
    aio_try(self->fd, aio_connect_tcp(self->host, (int)n));
    aio_try(aio_send_all(self->fd, self->request, strlen(self->request), 0));
    http_parser_init(&self->parser, HTTP_RESPONSE);
    self->parser.data = self;
    do {
        aio_try(n, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
        http_parser_execute(&self->parser, &parts, self->buf, (size_t)n);   // 0 bytes: the end
    } while (n > 0 && self->parser.http_errno == HPE_OK);
    self->page->code = self->parser.status_code;
    return self->parser.http_errno == HPE_PAUSED ? 0 : -EPROTO;
} aio_end

// --- all pages
struct worker { aio_frame aio; struct list *list; struct page *page; struct fetch fetch; };
aio_scratch(worker, fetch);

aio_async(worker) {
    while (self->list->next < self->list->n) {
        self->page = &self->list->pages[self->list->next++];
        self->page->ns = -aio_loop_time(aio_running_loop());
        aio_await(self->page->r, aio_wait_for(30 * AIO_SECOND, aio_call(&self->fetch, fetch,
                                 .list = self->list, .page = self->page, .fd = -1)));
        if (self->fetch.fd >= 0) aio_await(aio_close(self->fetch.fd));
        self->page->ns += aio_loop_time(aio_running_loop());
        self->list->over++;
        if (self->page->r == -ECANCELED) return -ECANCELED;
    }
} aio_end

struct progress { aio_frame aio; const struct list *list; };

aio_async(progress) {
    aio_result r;
    do {
        fprintf(stderr, "\r%d of %d pages, %.1f MB ", self->list->over, self->list->n,
                (double)self->list->bytes / 1e6);
        aio_await(r, aio_sleep(AIO_SECOND / 10));
    } while (r >= 0);
    fputs("\r\33[K", stderr);
    return r;
} aio_end

struct fetch_many {
    aio_frame aio;
    struct list *list;
    int jobs;
    aio_group beside, crew;
    aio_result r;
};

aio_async(fetch_many) {
    aio_group_enter(&self->beside);
    if (isatty(STDERR_FILENO))
        (void)aio_group_spawn(&self->beside, progress, .list = self->list);
    aio_group_enter(&self->crew);
    for (int i = 0; i < self->jobs && i < self->list->n; i++)
        (void)aio_group_spawn(&self->crew, worker, .list = self->list);
    aio_await(self->r, aio_group_exit(&self->crew, 0));
    aio_group_cancel(&self->beside);
    aio_await(aio_group_exit(&self->beside, 0));
    return self->r;
} aio_end

int main(int argc, char **argv)
{
    int jobs = 10, first = 1, bad = 0;
    if (argc > 2 && strcmp(argv[1], "-j") == 0) jobs = atoi(argv[2]), first = 3;
    if (argc <= first || jobs < 1) return fputs("usage: fetch_many [-j JOBS] URL...\n", stderr), 2;
    struct list list = { .n = argc - first, .pages = calloc((size_t)argc, sizeof *list.pages) };
    if (!list.pages) return fprintf(stderr, "fetch_many: no memory\n"), 1;
    for (int i = 0; i < list.n; i++)
        list.pages[i] = (struct page){ .url = argv[first + i], .r = -ECANCELED };
    aio_result r = aio_run(fetch_many, .list = &list, .jobs = jobs);
    for (int i = 0; i < list.n; i++) {
        const struct page *p = &list.pages[i];
        if (p->r < 0) printf("%s: %s\n", p->url, strerror((int)-p->r));
        else printf("%s: %u, %llu B, %d ms\n", p->url, p->code, p->bytes, (int)(p->ns / AIO_MSEC));
        bad |= p->r < 0 || p->code >= 400;
    }
    free(list.pages);
    return r == -EINTR ? 130 : r < 0 || bad;
}
