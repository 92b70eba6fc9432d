// 06_copy - copies a file.
//
// Shows:  files: openat, pread, pwrite_all, close. The outer coroutine is the "finally" of the
//         inner one: the inner uses aio_try freely, the outer closes what was opened.
// Run:    cc -O2 -iquote . examples/06_copy.c -o copy -luring && ./copy FROM TO
// Prints: how many bytes it copied; on an error what failed, with which file, and why (exit 1).
#include "aio_io_uring.h"

struct transfer {
    aio_frame aio;
    const char *from, *to;      // arguments
    int in, out;                // -1: not open
    const char *doing, *file;   // for the message, should it fail
    int64_t offset;             // how far it came
    char buf[65536];
};
aio_scratch(transfer, buf);     // no need to zero the buffer

// Plain system calls on open files, which do not wait.
static aio_result source_mode(int in)
{
    struct stat s;
    if (fstat(in, &s) < 0) return -errno;
    return S_ISDIR(s.st_mode) ? -EISDIR : (aio_result)(s.st_mode & 0777);
}
static aio_result empty_target(int in, int out)
{
    struct stat a, b;
    if (fstat(in, &a) < 0 || fstat(out, &b) < 0) return -errno;
    if (a.st_dev == b.st_dev && a.st_ino == b.st_ino) return -EEXIST;   // onto itself
    return S_ISREG(b.st_mode) && ftruncate(out, 0) < 0 ? -errno : 0;
}

aio_async(transfer) {
    aio_result n;
    self->in = self->out = -1;
    self->doing = "open", self->file = self->from;
    aio_try(self->in, aio_openat(AT_FDCWD, self->from, O_RDONLY, 0));
    if ((n = source_mode(self->in)) < 0) return n;
    self->file = self->to;
    aio_try(self->out, aio_openat(AT_FDCWD, self->to, O_WRONLY | O_CREAT, (mode_t)n));
    if ((n = empty_target(self->in, self->out)) < 0) return n;
    for (;;) {
        self->doing = "read", self->file = self->from;
        aio_try(n, aio_pread(self->in, self->buf, sizeof self->buf, self->offset));
        if (n == 0) return 0;
        self->doing = "write", self->file = self->to;
        aio_try(n, aio_pwrite_all(self->out, self->buf, (size_t)n, self->offset));
        self->offset += n;
    }
} aio_end

struct copy {
    aio_frame aio;
    const char *from, *to;
    aio_result r;
    struct transfer transfer;
};

aio_async(copy) {
    aio_result r;
    aio_await(self->r, aio_call(&self->transfer, transfer, .from = self->from, .to = self->to));
    if (self->transfer.in >= 0) aio_await(aio_close(self->transfer.in));
    if (self->transfer.out >= 0) {
        aio_await(r, aio_close(self->transfer.out));    // may bring the news of a failed write
        if (r < 0 && self->r >= 0) {
            self->r = r;
            self->transfer.doing = "close";
        }
    }
    if (self->r >= 0) {
        printf("copied %lld bytes\n", (long long)self->transfer.offset);
        return 0;
    }
    fprintf(stderr, "copy: cannot %s \"%s\": %s\n", self->transfer.doing, self->transfer.file,
            self->r == -EEXIST ? "it is the source itself" : strerror((int)-self->r));
    if (self->transfer.offset) fprintf(stderr, "copy: \"%s\" is incomplete\n", self->to);
    return self->r;
} aio_end

int main(int argc, char **argv)
{
    if (argc != 3) return fprintf(stderr, "usage: copy FROM TO\n"), 2;
    return aio_run(copy, .from = argv[1], .to = argv[2]) < 0;
}
