// echo_uv.c - the echo server on libuv: a buffer per connection, uv_try_write before uv_write.
// SPDX-License-Identifier: MIT
// LIBS: -luv
#include "echo.h"
#include "protocol.h"
#include <uv.h>

struct connection {
    uv_tcp_t tcp;
    uv_write_t write;
    struct protocol protocol;
    char buffer[ECHO_BUFFER];
};

static void closed(uv_handle_t *h) { free(h->data); }
static void drop(struct connection *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp)) uv_close((uv_handle_t *)&c->tcp, closed);
}
static void room(uv_handle_t *h, size_t size, uv_buf_t *out)
{
    struct connection *c = h->data;
    (void)size;
    *out = uv_buf_init(c->buffer, sizeof c->buffer);
}
static void received(uv_stream_t *s, ssize_t n, const uv_buf_t *in);
static void written(uv_write_t *w, int status)
{
    struct connection *c = w->data;
    if (status < 0) drop(c);
    else uv_read_start((uv_stream_t *)&c->tcp, room, received);     // its buffer is free again
}
static void received(uv_stream_t *s, ssize_t n, const uv_buf_t *in)
{
    struct connection *c = s->data;
    const char *out;
    if (n < 0) {
        drop(c);
        return;
    }
    size_t size = n ? protocol_reply(&c->protocol, in->base, (size_t)n, &out) : 0;
    if (!size) return;
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)out, (unsigned)size);
    int sent = uv_try_write(s, &buf, 1);
    if (sent == (int)size) return;
    if (sent > 0) buf = uv_buf_init(buf.base + sent, (unsigned)(size - (size_t)sent));
    uv_read_stop(s);
    c->write.data = c;
    if ((sent < 0 && sent != UV_EAGAIN) || uv_write(&c->write, s, &buf, 1, written)) drop(c);
}
static void connected(uv_stream_t *listener, int status)
{
    struct connection *c = calloc(1, sizeof *c);
    if (status < 0 || !c) bench_fail("accept");
    protocol_init(&c->protocol);
    uv_tcp_init(listener->loop, &c->tcp);
    c->tcp.data = c;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp)) drop(c);
    else uv_read_start((uv_stream_t *)&c->tcp, room, received);
}
static void end(uv_poll_t *p, int status, int events)
{
    (void)p;
    (void)status;
    (void)events;
    echo_over();
}

int main(void)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    uv_poll_t input;
    uv_tcp_init(loop, &listener);
    if (uv_tcp_open(&listener, echo_listen()) ||
        uv_listen((uv_stream_t *)&listener, 4096, connected))
        bench_fail("uv_listen");
    uv_poll_init(loop, &input, 0);
    uv_poll_start(&input, UV_READABLE, end);
    return uv_run(loop, UV_RUN_DEFAULT);
}
