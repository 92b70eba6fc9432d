// 10_scan - which TCP ports of a host answer?
//
// Shows:  many connections at once with a fixed number of workers in a group; a limit in time for
//         an operation (aio_wait_for); outcomes in words.
// Run:    cc -O2 -iquote . examples/10_scan.c -o scan -luring && ./scan 127.0.0.1 1-1024
// Prints: each open port; for up to 16 ports all outcomes; a summary. Scan only what is yours.
#include "aio_io_uring.h"

enum { WORKERS = 200 };

struct scan_state {             // shared by all workers: one thread, so no locks
    const char *host;
    int next, first, last;
    aio_result *outcome;        // by port - first: 0 is open
};

struct worker {
    aio_frame aio;
    struct scan_state *scan;
    int port;
    aio_result r;
};

aio_async(worker) {
    while (self->scan->next <= self->scan->last) {
        self->port = self->scan->next++;
        aio_await(self->r, aio_wait_for(2 * AIO_SECOND,
                                        aio_connect_tcp(self->scan->host, self->port)));
        if (self->r == -ECANCELED) return self->r;
        if (self->r >= 0) aio_await(self->r, aio_close((int)self->r));
        self->scan->outcome[self->port - self->scan->first] = self->r;
    }
} aio_end

struct scan {
    aio_frame aio;
    struct scan_state *scan;
    aio_group group;            // its tasks cannot outlive this frame
};

aio_async(scan) {
    aio_result r;
    aio_try(aio_group_enter(&self->group));
    for (int i = 0; i < WORKERS && i <= self->scan->last - self->scan->first; i++)
        (void)aio_group_spawn(&self->group, worker, .scan = self->scan);
    aio_await(r, aio_group_exit(&self->group, 0));
    return r;
} aio_end

static void scan_report(const struct scan_state *s)
{
    int n = s->last - s->first + 1, open = 0, silent = 0;
    for (int i = 0; i < n; i++) {
        aio_result r = s->outcome[i];
        open += r == 0;
        silent += r == -ETIMEDOUT;
        if (r == 0) printf("port %d: open\n", s->first + i);
        else if (n <= 16)
            printf("port %d: %s\n", s->first + i,
                   r == -ETIMEDOUT ? "no answer in 2 s" : strerror((int)-r));
    }
    printf("%s: %d of %d ports open, %d without an answer\n", s->host, open, n, silent);
}

int main(int argc, char **argv)
{
    struct scan_state s = { .host = argc > 1 ? argv[1] : "" };
    int got = argc == 3 ? sscanf(argv[2], "%d-%d", &s.first, &s.last) : 0;
    if (got == 1) s.last = s.first;
    struct in6_addr address;
    if (got < 1 || s.first < 1 || s.last < s.first || s.last > 65535)
        return fprintf(stderr, "usage: scan ADDRESS PORT or scan ADDRESS FIRST-LAST\n"), 2;
    if (inet_pton(AF_INET, s.host, &address) != 1 && inet_pton(AF_INET6, s.host, &address) != 1)
        return fprintf(stderr, "scan: \"%s\" is not a numeric IPv4 or IPv6 address\n", s.host), 2;
    s.next = s.first;
    s.outcome = (aio_result *)calloc((size_t)(s.last - s.first + 1), sizeof *s.outcome);
    if (!s.outcome) return fprintf(stderr, "scan: no memory\n"), 1;
    aio_result r = aio_run(scan, .scan = &s);
    if (r >= 0) scan_report(&s);
    else fprintf(stderr, "scan: %s\n", strerror((int)-r));
    free(s.outcome);
    return r < 0;
}
