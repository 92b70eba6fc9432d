// protocol.h - what a server of the benchmarks answers: the same bytes, or with BENCH_HTTP a small
// page for each request of an HTTP/1.1 connection.
// SPDX-License-Identifier: MIT
#ifndef BENCH_PROTOCOL_H
#define BENCH_PROTOCOL_H
#include "bench.h"

#ifdef BENCH_HTTP
#  include <http_parser.h>

struct protocol {
    http_parser parser;         // parser.data: how many requests are complete
};
#    define PAGE \
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!"
enum { PAGE_BYTES = sizeof PAGE - 1, PAGES_MAX = 64 };
static char pages[PAGES_MAX * PAGE_BYTES];

static int one_more(http_parser *parser)
{
    ++*(int *)parser->data;
    return 0;
}
static inline void protocol_init(struct protocol *p)
{
    if (!pages[0]) {
        for (int i = 0; i < PAGES_MAX; i++) memcpy(pages + i * PAGE_BYTES, PAGE, PAGE_BYTES);
    }
    http_parser_init(&p->parser, HTTP_REQUEST);
}
// What answers n bytes: *out, its size is the result; 0: nothing yet.
static inline size_t protocol_reply(struct protocol *p, const char *in, size_t n, const char **out)
{
    static const http_parser_settings settings = { .on_message_complete = one_more };
    int complete = 0;
    p->parser.data = &complete;
    if (http_parser_execute(&p->parser, &settings, in, n) != n || complete > PAGES_MAX)
        bench_fail("not HTTP");
    *out = pages;
    return (size_t)complete * PAGE_BYTES;
}
#else
struct protocol {
    char none;
};
static inline void protocol_init(struct protocol *p) { (void)p; }
static inline size_t protocol_reply(struct protocol *p, const char *in, size_t n, const char **out)
{
    (void)p;
    *out = in;
    return n;
}
#endif
#endif
