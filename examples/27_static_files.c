// 27_static_files - a web server for the files below a folder.
//
// Shows:  aio_serve, with a limit; requests from a stream; paths that the kernel keeps below the
//         folder (openat2); large files in pieces, as fast as the client reads; limits in time.
// Run:    cc -O2 -iquote . examples/27_static_files.c -o static_files -lhttp_parser -luring
//         ./static_files 8080 /usr/share/doc
// LIBS: -lhttp_parser
#include "aio_io_uring.h"
#include <http_parser.h>
#include <linux/openat2.h>

struct session {                    // a connection: one request after another
    aio_frame aio;
    int fd, folder;
    aio_stream stream;
    aio_bytes head;                 // of the request
    http_parser parser;
    char path[1024];
    bool keep;                      // the connection, after this answer
    aio_result r;
    struct answer {
        aio_frame aio;
        struct session *s;
        int file;                   // -1: not open. Whoever calls this closes it.
        bool begun;                 // too late for an error
        struct statx info;
        int64_t at;
        aio_result n;
        char piece[65536];
    } answer;
};
aio_scratch(session, answer);       // need not be zeroed
aio_scratch(answer, piece);

static int on_url(http_parser *p, const char *url, size_t n)        // "/a%20b/?x": "a b/index.html"
{
    struct session *s = p->data;
    size_t out = 0;
    for (size_t i = 0; i < n && url[i] != '?'; i++) {
        char hex[3] = { 0 }, c = url[i];
        if (c == '%' && i + 2 < n)
            memcpy(hex, url + i + 1, 2), i += 2, c = (char)strtol(hex, NULL, 16);
        if (!c || out + sizeof "index.html" >= sizeof s->path) return -1;
        if (out || c != '/') s->path[out++] = c;
    }
    strcpy(s->path + out, !out || s->path[out - 1] == '/' ? "index.html" : "");
    return 0;
}
static const http_parser_settings parts = { .on_url = on_url };

static const char *type_of(const char *path)
{
    static const char *const types[][2] = {
        { ".html", "text/html" }, { ".css", "text/css" }, { ".js", "text/javascript" },
        { ".txt", "text/plain" }, { ".png", "image/png" }, { ".svg", "image/svg+xml" },
    };
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
        if (strcmp(dot, types[i][0]) == 0) return types[i][1];
    return "application/octet-stream";
}
static aio_result begin(struct session *s, unsigned status, const char *type, uint64_t length)
{
    char text[512];
    int n = snprintf(text, sizeof text, "HTTP/1.1 %u %s\r\nContent-Type: %s\r\n"
                     "Content-Length: %llu\r\n%s\r\n", status, http_status_str(status), type,
                     (unsigned long long)length, s->keep ? "" : "Connection: close\r\n");
    return aio_stream_write_nowait(&s->stream, text, (size_t)n);
}
static aio_result refuse(struct session *s, aio_result r)
{
    unsigned status = r == -ENOENT || r == -ENOTDIR ? 404 : r == -EINVAL ? 400 : r == -EPERM ? 405 :
                      r == -EACCES || r == -EXDEV || r == -ELOOP ? 403 : 500;
    return begin(s, status, "text/plain", 0);
}
static aio_result parse(struct session *s)
{
    http_parser *p = &s->parser;
    http_parser_init(p, HTTP_REQUEST);
    p->data = s;
    http_parser_execute(p, &parts, s->head.data, s->head.size);
    s->keep = p->http_errno == HPE_OK && http_should_keep_alive(p) && p->http_minor > 0 &&
              !(p->flags & F_CHUNKED) && (!p->content_length || p->content_length == ULLONG_MAX);
    if (p->http_errno != HPE_OK) return -EINVAL;
    return p->method == HTTP_GET || p->method == HTTP_HEAD ? 0 : -EPERM;
}

aio_async(answer) {
    static const struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    aio_result r;
    if ((r = parse(self->s)) < 0) return r;
    aio_try(self->file, aio_openat2(self->s->folder, self->s->path, &how));
    aio_try(aio_statx(self->file, "", AT_EMPTY_PATH, STATX_TYPE | STATX_SIZE, &self->info));
    if (!S_ISREG(self->info.stx_mode)) return -ENOENT;
    if ((r = begin(self->s, 200, type_of(self->s->path), self->info.stx_size)) < 0) return r;
    self->begun = true;
    while (self->s->parser.method == HTTP_GET && self->at < (int64_t)self->info.stx_size) {
        self->n = (int64_t)self->info.stx_size - self->at;
        if (self->n > (int64_t)sizeof self->piece) self->n = sizeof self->piece;
        aio_try(self->n, aio_pread(self->file, self->piece, (size_t)self->n, self->at));
        if (self->n == 0) return -EIO;              // it has become shorter
        self->at += self->n;
        aio_try(aio_wait_for(60 * AIO_SECOND,
                             aio_stream_write(&self->s->stream, self->piece, (size_t)self->n)));
    }
} aio_end

aio_async(session) {
    static const struct aio_stream_options options = { .read_limit = 8192 };
    aio_result n;
    if ((n = aio_stream_open(&self->stream, self->fd, self->fd, &options)) < 0)
        return close(self->fd), n;
    do {
        aio_await(self->r, aio_wait_for(60 * AIO_SECOND,
                            aio_stream_read_until(&self->stream, &self->head, "\r\n\r\n", 4)));
        if (self->r <= 0) break;
        aio_await(self->r, aio_call(&self->answer, answer, .s = self, .file = -1));
        if (self->answer.file >= 0) aio_await(aio_close(self->answer.file));
        if (self->r < 0 && self->r != -ECANCELED && !self->answer.begun)
            self->r = refuse(self, self->r);
    } while (self->r >= 0 && self->keep);
    if (self->r == -ECANCELED) return self->r;
    aio_await(aio_wait_for(60 * AIO_SECOND, aio_stream_close(&self->stream)));  // sends the rest
} aio_end

struct server { aio_frame aio; int port, folder, listener; aio_server server; aio_result r; };

aio_async(server) {
    aio_try(self->listener, aio_listen_tcp("", self->port));
    self->server.limit = 1000;
    aio_await(self->r, aio_serve(&self->server, self->listener, session, .folder = self->folder));
    aio_await(aio_close(self->listener));
    return self->r;
} aio_end

int main(int argc, char **argv)
{
    const char *path = argc > 2 ? argv[2] : ".";
    int folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return fprintf(stderr, "static_files: %s: %s\n", path, strerror(errno)), 1;
    aio_result r = aio_run(server, .port = argc > 1 ? atoi(argv[1]) : 8080, .folder = folder);
    close(folder);
    if (r == -EINTR) return 0;
    return fprintf(stderr, "static_files: %s\n", strerror((int)-r)), 1;
}
