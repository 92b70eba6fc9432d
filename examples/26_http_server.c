// 26_http_server - HTTP/1.1 with keep-alive and pipelining; the parser is Debian's libhttp-parser.
//
// Shows:  a parser that calls back, in a coroutine that reads from top to bottom; limits of number,
//         size and time (60 s of silence, 10 s for a request); a stop that lets requests finish,
//         for 5 s at most, by Ctrl-C or SIGTERM.
// Run:    cc -O2 -iquote . examples/26_http_server.c -o http -lhttp_parser -luring && ./http 8080
//         curl 127.0.0.1:8080/     curl -d data 127.0.0.1:8080/echo     curl 127.0.0.1:8080/sleep
// LIBS: -lhttp_parser
#include "aio_io_uring.h"
#include <http_parser.h>

enum { CLIENTS = 1000, MAX_TEXT = 4096, MAX_ANSWER = MAX_TEXT + 256 };

struct text { size_t len; char data[MAX_TEXT + 1]; };
struct talk {                       // with one client
    aio_frame aio;
    int fd;
    aio_timeout limit;
    http_parser parser;
    bool keep;                      // the connection, after this answer
    const char *at, *end;           // what is not parsed yet, of `in`
    struct answer { aio_frame aio; struct talk *to; } answer;
    size_t out_len;
    struct text url, body;          // the request
    char in[16384], out[4 * MAX_ANSWER];
};
aio_scratch(talk, url);             // from there on nothing need be zeroed

// --- what the parser tells us
static struct talk *of(http_parser *p) { return p->data; }
static void may_take(struct talk *t, int64_t ns)
{
    (void)aio_timeout_reschedule(&t->limit, aio_loop_time(aio_running_loop()) + ns);
}
static int append(struct text *to, const char *at, size_t n)
{
    if (n > MAX_TEXT - to->len) return -1;          // the parser stops: HPE_CB_…
    memcpy(to->data + to->len, at, n);
    to->data[to->len += n] = 0;
    return 0;
}
static int on_url(http_parser *p, const char *at, size_t n) { return append(&of(p)->url, at, n); }
static int on_body(http_parser *p, const char *at, size_t n) { return append(&of(p)->body, at, n); }
static int on_begin(http_parser *p)
{
    of(p)->url.len = of(p)->body.len = 0;
    may_take(of(p), 10 * AIO_SECOND);
    return 0;
}
static int on_end(http_parser *p)
{
    of(p)->keep = http_should_keep_alive(p) && p->http_minor > 0;
    http_parser_pause(p, 1);        // this one is answered before the next one is parsed
    return 0;
}
static const http_parser_settings parts = { .on_message_begin = on_begin, .on_url = on_url,
                                            .on_body = on_body, .on_message_complete = on_end };

// --- answers: they gather in `out`, for what was asked together is answered together
static void say(struct talk *t, unsigned status, const char *body, size_t len)
{
    t->out_len += (size_t)snprintf(t->out + t->out_len, MAX_ANSWER,
        "HTTP/1.1 %u %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n%s\r\n", status,
        http_status_str(status), len, t->keep ? "" : "Connection: close\r\n");
    if (t->parser.method != HTTP_HEAD) memcpy(t->out + t->out_len, body, len), t->out_len += len;
}

aio_async(answer) {
    if (strcmp(self->to->url.data, "/") == 0) {
        say(self->to, 200, "Hello, world\n", 13);
    } else if (strcmp(self->to->url.data, "/echo") == 0) {
        say(self->to, 200, self->to->body.data, self->to->body.len);
    } else if (strcmp(self->to->url.data, "/sleep") == 0) {
        aio_try(aio_sleep(AIO_SECOND));             // it may await: here for no good reason
        say(self->to, 200, "That was a second.\n", 19);
    } else {
        say(self->to, 404, "There is no such thing.\n", 24);
    }
} aio_end

aio_async(talk) {
    aio_result n;
    if ((n = aio_timeout_enter(&self->limit, 60 * AIO_SECOND)) < 0) return n;
    http_parser_init(&self->parser, HTTP_REQUEST);
    self->parser.data = self;
    for (self->keep = true; self->keep;) {
        if (self->at == self->end) {
            aio_try(n, aio_recv(self->fd, self->in, sizeof self->in, 0));
            if (n == 0) return 0;
            self->end = (self->at = self->in) + n;
        }
        self->at += http_parser_execute(&self->parser, &parts, self->at,
                                        (size_t)(self->end - self->at));
        if (self->parser.http_errno == HPE_PAUSED) {
            http_parser_pause(&self->parser, 0);
            aio_try(aio_call(&self->answer, answer, .to = self));
            may_take(self, 60 * AIO_SECOND);
        } else if (self->parser.http_errno != HPE_OK) {
            self->keep = false;
            say(self, self->parser.http_errno == HPE_CB_body ? 413 : 400, "Sorry.\n", 7);
        }
        if (self->at == self->end || !self->keep || self->out_len > sizeof self->out - MAX_ANSWER) {
            aio_try(aio_send_all(self->fd, self->out, self->out_len, 0));
            self->out_len = 0;
        }
    }
    aio_try(aio_shutdown(self->fd, SHUT_WR));       // a close over unread input would be a reset,
    may_take(self, 2 * AIO_SECOND);                 // so wait till the client has seen the end
    do aio_try(n, aio_recv(self->fd, self->in, sizeof self->in, 0)); while (n > 0);
} aio_end

// --- connections
struct session { aio_frame aio; int fd; struct talk talk; };
aio_scratch(session, talk);

aio_async(session) {
    aio_task_set_user(aio_current_task(), self);
    aio_await(aio_call(&self->talk, talk, .fd = self->fd));
    aio_task_set_user(aio_current_task(), NULL);
    aio_await(aio_close(self->fd));
} aio_end

struct stop { aio_frame aio; aio_server *server; };

aio_async(stop) {       // no more connections; those that wait for a request read the end
    aio_try(aio_signal_wait(SIGINT, SIGTERM));
    aio_server_stop(self->server, 5 * AIO_SECOND);
    for (aio_task *t = aio_task_first(aio_running_loop()); t; t = aio_task_next(t))
        if (aio_task_user(t)) shutdown(((struct session *)aio_task_user(t))->fd, SHUT_RD);
} aio_end

struct server { aio_frame aio; int port, listener; aio_server web; aio_group stop; aio_result r; };

aio_async(server) {
    aio_try(self->listener, aio_listen_tcp("", self->port));
    self->web.limit = CLIENTS;
    aio_group_enter(&self->stop);
    (void)aio_group_spawn(&self->stop, stop, .server = &self->web);
    aio_await(self->r, aio_serve(&self->web, self->listener, session));
    aio_await(self->r, aio_group_exit(&self->stop, self->r));
    aio_await(aio_close(self->listener));
    return self->r;
} aio_end

int main(int argc, char **argv)
{
    aio_result r = aio_run(server, .port = argc > 1 ? atoi(argv[1]) : 8080);
    if (r < 0) fprintf(stderr, "http: %s\n", strerror((int)-r));
    return r < 0;
}
