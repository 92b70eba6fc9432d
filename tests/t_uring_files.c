// Files at their current position, and offsets on what cannot seek: what io_uring does otherwise
// than read(2) and write(2), against these.
#include "uring.h"
#include <pty.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/wait.h>

enum { BLOCK = 4096 };
static char page[16 * BLOCK] __attribute__((aligned(4096)));

// --- offsets: the same errors as the system call's, on every kind of descriptor
enum { REGULAR, APPENDED, PIPE_OUT, PIPE_IN, SOCKET, FIFO, TERMINAL, MASTER, EVENT, ZERO, NIL, FULL,
       DIRECTORY, KINDS };
static const char *const kind_names[KINDS] = { "file", "O_APPEND", "pipe's read end",
    "pipe's write end", "socket", "FIFO", "terminal", "master", "eventfd", "/dev/zero", "/dev/null",
    "/dev/full", "directory" };
struct descriptor { int fd, other; };
static struct descriptor descriptor_of(int kind)
{
    struct descriptor d = { -1, -1 };
    int fds[2];
    char path[] = "/tmp/aio-files-XXXXXX";
    switch (kind) {
    case REGULAR: d.fd = temp_file("abcdefgh"); break;
    case APPENDED:
        d.fd = temp_file("abcdefgh");
        fcntl(d.fd, F_SETFL, O_APPEND);
        break;
    case PIPE_OUT:
    case PIPE_IN:
        if (pipe2(fds, O_CLOEXEC) < 0 || write(fds[1], "abcdefgh", 8) != 8) break;
        d.fd = fds[kind == PIPE_IN];
        d.other = fds[kind != PIPE_IN];
        break;
    case SOCKET:
        pair_of(fds);
        if (write(fds[1], "abcdefgh", 8) != 8) break;
        d.fd = fds[0], d.other = fds[1];
        break;
    case FIFO:
        if (!mkdtemp(path)) break;
        strcat(path, "");
        if (chdir(path) || mkfifo("f", 0600)) break;
        d.fd = open("f", O_RDWR | O_CLOEXEC);
        unlink("f");
        if (chdir("/")) break;
        rmdir(path);
        if (write(d.fd, "abcdefgh", 8) != 8) break;
        break;
    case TERMINAL:
    case MASTER:
        openpty(&fds[0], &fds[1], NULL, NULL, NULL);
        if (write(fds[kind == MASTER], "abcdef\n", 7) != 7) break;
        d.fd = fds[kind == TERMINAL], d.other = fds[kind != TERMINAL];
        break;
    case EVENT: d.fd = eventfd(3, EFD_CLOEXEC); break;
    case ZERO: d.fd = open("/dev/zero", O_RDWR | O_CLOEXEC); break;
    case NIL: d.fd = open("/dev/null", O_RDWR | O_CLOEXEC); break;
    case FULL: d.fd = open("/dev/full", O_RDWR | O_CLOEXEC); break;
    case DIRECTORY: d.fd = open("/tmp", O_RDONLY | O_CLOEXEC); break;
    default: break;
    }
    return d;
}
static void descriptor_close(struct descriptor d)
{
    close(d.fd);
    if (d.other >= 0) close(d.other);
}
enum { PREAD, PREADV, PWRITE, PWRITEV, PWRITE_ALL, READ, READV, WRITE, WRITEV, WRITE_ALL, CALLS };
static const char *const call_names[CALLS] = { "pread", "preadv", "pwrite", "pwritev", "pwrite_all",
    "read", "readv", "write", "writev", "write_all" };
static aio_result by_system(int call, int fd, char *buf)
{
    struct iovec v[2] = { { buf, 3 }, { buf + 3, 5 } };
    ssize_t n = -1;
    switch (call) {
    case PREAD: n = pread(fd, buf, 8, 2); break;
    case PREADV: n = preadv(fd, v, 2, 2); break;
    case PWRITE:
    case PWRITE_ALL: n = pwrite(fd, buf, 8, 2); break;
    case PWRITEV: n = pwritev(fd, v, 2, 2); break;
    case READ: n = read(fd, buf, 8); break;
    case READV: n = readv(fd, v, 2); break;
    case WRITE:
    case WRITE_ALL: n = write(fd, buf, 8); break;
    default: n = writev(fd, v, 2); break;
    }
    return n < 0 ? -errno : n;
}
static aio_awaitable by_ring(int call, int fd, char *buf)
{
    static struct iovec v[2];
    v[0].iov_base = buf, v[0].iov_len = 3;
    v[1].iov_base = buf + 3, v[1].iov_len = 5;
    switch (call) {
    case PREAD: return aio_pread(fd, buf, 8, 2);
    case PREADV: return aio_preadv(fd, v, 2, 2, 0);
    case PWRITE: return aio_pwrite(fd, buf, 8, 2);
    case PWRITEV: return aio_pwritev(fd, v, 2, 2, 0);
    case PWRITE_ALL: return aio_pwrite_all(fd, buf, 8, 2);
    case READ: return aio_read_some(fd, buf, 8);
    case READV: return aio_readv_some(fd, v, 2);
    case WRITE: return aio_write_some(fd, buf, 8);
    case WRITEV: return aio_writev_some(fd, v, 2);
    default: return aio_write_all(fd, buf, 8);
    }
}
static bool would_wait(int call, int kind)      // as the system call: not tried
{
    bool reads = call == PREAD || call == PREADV || call == READ || call == READV;
    return reads && kind == PIPE_IN;
}
struct compare { aio_frame aio; int kind, call, wrong; struct descriptor d; char buf[8];
                 aio_result r, expected; };
aio_async(compare) {
    for (self->kind = 0; self->kind < KINDS; self->kind++) {
        for (self->call = 0; self->call < CALLS; self->call++) {
            if (would_wait(self->call, self->kind)) continue;
            memcpy(self->buf, "\1\0\0\0\0\0\0", 8);
            self->d = descriptor_of(self->kind);
            assert_true(self->d.fd >= 0);
            self->expected = by_system(self->call, self->d.fd, self->buf);
            descriptor_close(self->d);
            self->d = descriptor_of(self->kind);
            aio_await(self->r, by_ring(self->call, self->d.fd, self->buf));
            if (self->r != self->expected) {
                print_error("%s of a %s: %lld, system call %lld\n", call_names[self->call],
                            kind_names[self->kind], (long long)self->r, (long long)self->expected);
                self->wrong++;
            }
            descriptor_close(self->d);
        }
    }
    return self->wrong;
} aio_end
static void transfers_give_what_the_system_call_gives(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_result(run(compare), 0);
}

// --- reads at offsets: what the page cache has, and what it has not, alone and several in a turn
struct takeover { aio_frame aio; int fd, round, fds[2]; aio_result r; char buf[8]; struct iovec v; };
aio_async(takeover) {
    for (self->round = 0; self->round < 20; self->round++) {
        self->fd = temp_file("abcdefgh");
        aio_await(self->r, aio_pread(self->fd, self->buf, 3, 2));
        assert_int_equal(self->r, 3);
        assert_memory_equal(self->buf, "cde", 3);
        if (self->round & 1) aio_await(aio_sleep(0));
        assert_int_equal(pipe2(self->fds, O_CLOEXEC), 0);
        assert_int_equal(write(self->fds[1], "ab", 2), 2);
        dup2(self->fds[0], self->fd);               // not by aio_close
        self->v.iov_base = self->buf, self->v.iov_len = 2;
        if (self->round & 2) aio_await(self->r, aio_preadv(self->fd, &self->v, 1, 0, 0));
        else aio_await(self->r, aio_pread(self->fd, self->buf, 2, 0));
        assert_int_equal(self->r, -ESPIPE);
        aio_await(self->r, aio_read_some(self->fd, self->buf, 2));
        assert_int_equal(self->r, 2);               // nothing was taken
        assert_memory_equal(self->buf, "ab", 2);
        for (int i = 0; i < 2; i++) close(self->fds[i]);
        aio_await(aio_close(self->fd));
    }
    return 0;
} aio_end
static void a_number_that_a_pipe_took_over_cannot_seek(void **state)
{
    (void)state;
    assert_result(run(takeover), 0);
}
struct sweep { aio_frame aio; int fd; uint64_t state; int left; size_t at, n, align; aio_result r;
               struct iovec v[2]; char *got, *want; ssize_t expected; };
enum { SWEPT = 5 * BLOCK + 512, ROOM_EACH = 2 * BLOCK, SWEEPS = 8 };
static size_t draw(struct sweep *self, size_t below)
{
    self->state = self->state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(self->state >> 33) % below / self->align * self->align;
}
aio_async(sweep) {
    for (; self->left; self->left--) {
        self->at = draw(self, SWEPT + BLOCK);
        self->n = draw(self, ROOM_EACH);
        self->v[0].iov_base = self->got;
        self->v[0].iov_len = draw(self, self->n + 1);
        self->v[1].iov_base = self->got + self->v[0].iov_len;
        self->v[1].iov_len = self->n - self->v[0].iov_len;
        memset(self->got, 0xee, ROOM_EACH);
        memset(self->want, 0xee, ROOM_EACH);
        self->expected = pread(self->fd, self->want, self->n, (off_t)self->at);
        if (self->left % 8 == 0) posix_fadvise(self->fd, 0, 0, POSIX_FADV_DONTNEED);
        if (self->left & 1) {
            aio_await(self->r, aio_preadv(self->fd, self->v, 2, (int64_t)self->at, 0));
        } else {
            aio_await(self->r, aio_pread(self->fd, self->got, self->n, (int64_t)self->at));
        }
        assert_int_equal(self->r, self->expected);
        assert_memory_equal(self->got, self->want, ROOM_EACH);
        if (self->left & 2) aio_await(aio_sleep(0));
    }
    return 0;
} aio_end
struct sweeps { aio_frame aio; int fd, n; size_t align; aio_task *t[SWEEPS]; char *room; };
aio_async(sweeps) {
    for (int i = 0; i < self->n; i++) {
        char *room = self->room + i * 2 * ROOM_EACH;
        self->t[i] = aio_spawn(sweep, .fd = self->fd, .state = (uint64_t)i + 1, .left = 100,
                               .align = self->align, .got = room, .want = room + ROOM_EACH);
    }
    aio_await(aio_gather(self->t, (aio_result *)0, (size_t)self->n));
    return 0;
} aio_end
static void reads_at_offsets_give_what_pread_gives(void **state)
{
    (void)state;
    char *room = (char *)aligned_alloc(BLOCK, SWEEPS * 2 * ROOM_EACH);
    for (int direct = 0; direct < 2; direct++) {
        char path[] = "/tmp/aio-files-XXXXXX";
        int file = mkstemp(path);
        int fd = open(path, O_RDONLY | O_CLOEXEC | (direct ? O_DIRECT : 0));
        unlink(path);
        for (int i = 0; i < (int)sizeof page; i++) page[i] = (char)(i * 7 + i / BLOCK);
        assert_int_equal(write(file, page, SWEPT), SWEPT);
        for (int n = 1; fd >= 0 && n <= SWEEPS; n += SWEEPS - 1)        // alone, and several in a turn
            assert_result(run(sweeps, .fd = fd, .n = n, .align = direct ? 512 : 1, .room = room), 0);
        if (fd >= 0) close(fd);
        close(file);
    }
    free(room);
}

// --- a task that does nothing else than that gets its cancel all the same
enum { ENOUGH = 3000 };
struct busy { aio_frame aio; int call, fd, rounds; char buf[8]; };
aio_async(busy) {
    for (; self->rounds < ENOUGH; self->rounds++)
        aio_try(by_ring(self->call, self->fd, self->buf));
    return 0;
} aio_end
struct stop_busy { aio_frame aio; int call, fd; aio_task *t; aio_result r; };
aio_async(stop_busy) {
    self->t = aio_spawn(busy, .call = self->call, .fd = self->fd);
    aio_await(aio_sleep(0));
    aio_await(aio_sleep(0));
    aio_task_cancel(self->t);
    aio_await(self->r, aio_future_wait(aio_task_future(self->t)));
    assert_true(aio_task_frame(busy, self->t)->rounds < 100);
    aio_detach(self->t);
    return self->r;
} aio_end
static void transfers_of_a_file_without_end_can_be_cancelled(void **state)
{
    (void)state;
    for (int call = 0; call < CALLS; call++) {
        int fd = temp_file("abcdefgh");
        aio_result r = run(stop_busy, .call = call, .fd = fd);
        if (r != -ECANCELED) print_error("%s\n", call_names[call]);
        assert_result(r, -ECANCELED);
        close(fd);
    }
}

// --- a write that comes up short and then fails: no space, or the limit of a file's size
enum { ROOM = 64 * 1024, MUCH = 96 * 1024 };
static unsigned char content[MUCH], found[2 * MUCH];
enum { BY_ALL, BY_ALL_DONE, BY_SOME, BY_VECTOR, BY_STREAM, BY_CHAIN, BY_OFFSET, BY_SYSTEM, WAYS };
struct writes { aio_frame aio; int way, fd; aio_result r; size_t n, done; struct iovec v;
                aio_stream s; aio_chain c; };
aio_async(writes) {
    if (self->way == BY_ALL) aio_await(self->r, aio_write_all(self->fd, content, MUCH));
    else if (self->way == BY_ALL_DONE) {
        aio_await(self->r, aio_write_all(self->fd, content, MUCH, &self->done));
        assert_int_equal(self->done, ROOM);
    } else if (self->way == BY_SOME || self->way == BY_VECTOR) {
        for (; self->n < MUCH; self->n += (size_t)self->r) {
            self->v.iov_base = content + self->n;
            self->v.iov_len = MUCH - self->n;
            if (self->way == BY_SOME)
                aio_await(self->r, aio_write_some(self->fd, content + self->n, MUCH - self->n));
            else aio_await(self->r, aio_writev_some(self->fd, &self->v, 1));
            if (self->r < 0) break;
        }
    } else if (self->way == BY_STREAM) {
        aio_try(aio_stream_open(&self->s, -1, dup(self->fd), NULL));
        for (; self->n < MUCH && self->r >= 0; self->n += 8192)
            aio_await(self->r, aio_stream_write(&self->s, content + self->n, 8192));
        aio_await(self->r, aio_stream_close(&self->s));
    } else if (self->way == BY_CHAIN) {
        aio_chain_init(&self->c);
        aio_chain_add(&self->c, aio_write_all(self->fd, content, ROOM));
        aio_chain_add(&self->c, aio_write_all(self->fd, content + ROOM, MUCH - ROOM));
        aio_chain_add(&self->c, aio_sync_file(self->fd, 0));
        aio_await(self->r, aio_chain_run(&self->c));
        assert_result(aio_chain_result(&self->c, 2), -ECANCELED);
    } else if (self->way == BY_OFFSET) {
        aio_await(self->r, aio_pwrite_all(self->fd, content, MUCH, 0));
    } else {
        for (; self->n < MUCH; self->n += (size_t)self->r) {
            ssize_t n = write(self->fd, content + self->n, MUCH - self->n);
            self->r = n < 0 ? -errno : n;
            if (n < 0) break;
        }
    }
    return self->r;
} aio_end
static void write_beyond(const char *path, int flags, aio_result error)
{
    for (size_t i = 0; i < MUCH; i++) content[i] = (unsigned char)(i / BLOCK + 1);
    for (int way = 0; way < WAYS; way++) {
        if (way == BY_OFFSET && (flags & O_APPEND)) continue;
        int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC | flags, 0600);
        assert_true(fd >= 0);
        aio_result r = run(writes, .way = way, .fd = fd);
        off_t position = lseek(fd, 0, SEEK_CUR);
        ssize_t n = pread(fd, found, sizeof found, 0);
        close(fd);
        unlink(path);
        if (r != error || n != ROOM || memcmp(content, found, ROOM)) print_error("way %d\n", way);
        assert_result(r, error);
        assert_int_equal(n, ROOM);
        assert_memory_equal(content, found, ROOM);
        if (way != BY_OFFSET) assert_int_equal(position, ROOM);
    }
}
static void at_the_limit_of_a_files_size_nothing_is_written_twice(void **state)
{
    struct rlimit before, limit;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = ROOM;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    write_beyond("/tmp/aio-files-limit", 0, -EFBIG);
    write_beyond("/tmp/aio-files-limit", O_APPEND, -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}
static void on_a_full_disk_nothing_is_written_twice(void **state)
{
    (void)state;
    int status = 0;
    char folder[] = "/tmp/aio-files-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/f", folder);
    pid_t child = fork();
    if (!child) {
        if (unshare(CLONE_NEWNS) || mount(0, "/", 0, MS_REC | MS_PRIVATE, 0) ||
            mount("none", folder, "tmpfs", 0, "size=64k"))
            _exit(77);
        write_beyond(path, 0, -ENOSPC);
        write_beyond(path, O_APPEND, -ENOSPC);
        _exit(0);
    }
    waitpid(child, &status, 0);
    rmdir(folder);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) skip();     // not root
    assert_int_equal(status, 0);
}

// --- several tasks at one position
enum { TASKS = 4, BLOCKS = 1000, WRITTEN = 160 };
static int seen[BLOCKS];
static int position_file(int flags)
{
    char path[] = "/tmp/aio-files-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    uint32_t *b = (uint32_t *)(void *)page;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        memset(page, 0, BLOCK);
        b[0] = i;
        if (write(fd, page, BLOCK) != BLOCK) return -1;
    }
    fsync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    fd = open(path, O_RDWR | O_CLOEXEC | flags);
    unlink(path);
    memset(seen, 0, sizeof seen);
    return fd;
}
static aio_buffer_ring buffers;
struct reader { aio_frame aio; int fd, way; uint64_t with; char *b; struct iovec v[2]; aio_many it;
                aio_stream s; aio_result r; uint32_t number; };
aio_async(reader) {
    self->b = (char *)aligned_alloc(BLOCK, BLOCK);
    if (self->way == 2) aio_try(aio_read_many(&self->it, self->fd, &buffers));
    if (self->way == 3) aio_try(aio_stream_open(&self->s, dup(self->fd), -1, NULL));
    for (;;) {
        if (self->way == 0) {
            aio_await(self->r, aio_io_with(aio_read_some(self->fd, self->b, BLOCK), self->with));
        } else if (self->way == 1) {
            self->v[0].iov_base = self->b, self->v[0].iov_len = 512;
            self->v[1].iov_base = self->b + 512, self->v[1].iov_len = BLOCK - 512;
            aio_await(self->r, aio_io_with(aio_readv_some(self->fd, self->v, 2), self->with));
        } else if (self->way == 2) {
            aio_await(self->r, aio_next(&self->it));
            if (self->r == 1) self->r = (aio_result)aio_gen_value(&self->it);
            if (self->r > 0) memcpy(self->b, self->it.data, 4);
        }
        if (self->r <= 0) break;
        assert_result(self->r, BLOCK);
        memcpy(&self->number, self->b, sizeof self->number);
        assert_true(self->number < BLOCKS);
        seen[self->number]++;
    }
    free(self->b);
    return self->r;
} aio_end
struct readers { aio_frame aio; aio_task *t[TASKS]; int fd, way; uint64_t with; };
aio_async(readers) {
    aio_try(aio_buffer_ring_init(&buffers, 16, BLOCK));
    for (int i = 0; i < TASKS; i++)
        self->t[i] = aio_spawn(reader, .fd = self->fd, .way = self->way, .with = self->with);
    aio_try(aio_gather(self->t, (aio_result *)0, TASKS));
    return aio_buffer_ring_close(&buffers);
} aio_end
static void several_readers_at_one_position_get_each_block_once(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        for (int way = 0; way < 3; way++) {
            bool direct = how == 3;
            if (direct && way == 1) continue;           // its pieces are not aligned
            if (direct && way == 2) continue;           // nor is an iterator's block
            int fd = position_file(direct ? O_DIRECT : 0);
            if (fd < 0) continue;                       // a file system without it
            if (how == 1) assert_true(pread(fd, page, 16 * BLOCK, 0) > 0);      // some is cached
            assert_result(run(readers, .fd = fd, .way = way, .with = how == 2 ? AIO_IO_ASYNC : 0), 0);
            close(fd);
            for (int i = 0; i < BLOCKS; i++) {
                if (seen[i] != 1) print_error("how %d way %d block %d\n", how, way, i);
                assert_int_equal(seen[i], 1);
            }
        }
    }
}
struct writer { aio_frame aio; int fd, way, i, k; char *b; aio_stream s; struct iovec v; };
aio_async(writer) {
    self->b = (char *)aligned_alloc(BLOCK, BLOCK);
    memset(self->b, 'a' + self->i, BLOCK);
    self->v.iov_base = self->b, self->v.iov_len = BLOCK;
    if (self->way == 3) aio_try(aio_stream_open(&self->s, -1, dup(self->fd), NULL));
    for (self->k = 0; self->k < WRITTEN / TASKS; self->k++) {
        if (self->way == 0) aio_try(aio_write_all(self->fd, self->b, BLOCK));
        else if (self->way == 1) aio_try(aio_write_some(self->fd, self->b, BLOCK));
        else if (self->way == 2) aio_try(aio_writev_some(self->fd, &self->v, 1));
        else aio_try(aio_stream_write(&self->s, self->b, BLOCK));
    }
    if (self->way == 3) aio_try(aio_stream_close(&self->s));
    free(self->b);
    return 0;
} aio_end
struct writers { aio_frame aio; aio_task *t[TASKS]; int fd, way; };
aio_async(writers) {
    for (int i = 0; i < TASKS; i++)
        self->t[i] = aio_spawn(writer, .fd = self->fd, .way = self->way, .i = i);
    aio_try(aio_gather(self->t, (aio_result *)0, TASKS));
    return 0;
} aio_end
static void several_writers_at_one_position_lose_nothing(void **state)
{
    static const int flags[] = { 0, O_APPEND, O_DIRECT, O_DIRECT | O_APPEND, O_DSYNC };
    (void)state;
    for (int f = 0; f < 5; f++) {
        for (int way = 0; way < 4; way++) {
            int counts[TASKS] = { 0 };
            if (way == 3 && (flags[f] & O_DIRECT)) continue;    // a stream's buffer is not aligned
            char path[] = "/tmp/aio-files-XXXXXX";
            close(mkostemp(path, O_CLOEXEC));
            int fd = open(path, O_RDWR | O_CLOEXEC | flags[f]);
            unlink(path);
            if (fd < 0) continue;
            assert_result(run(writers, .fd = fd, .way = way), 0);
            assert_int_equal(lseek(fd, 0, SEEK_CUR), WRITTEN * BLOCK);
            for (int i = 0; i < WRITTEN; i++) {
                assert_int_equal(pread(fd, page, BLOCK, (off_t)i * BLOCK), BLOCK);
                for (int k = 1; k < BLOCK && way < 3; k++) assert_int_equal(page[k], page[0]);
                if (page[0] >= 'a' && page[0] < 'a' + TASKS) counts[page[0] - 'a']++;
            }
            close(fd);
            for (int i = 0; i < TASKS && way < 3; i++) assert_int_equal(counts[i], WRITTEN / TASKS);
        }
    }
}
// Those of one task run in the order they were begun; a cancel, or an aio_close, ends who waits.
struct ordered { aio_frame aio; aio_op ops[16]; int fd, how, i, ended; char text[16][16]; aio_result r;
                 aio_result results[16]; };
aio_async(ordered) {
    for (self->i = 0; self->i < 16; self->i++) {
        snprintf(self->text[self->i], sizeof self->text[0], "%02d,", self->i);
        aio_try(aio_start(&self->ops[self->i],
                          aio_write_some(self->fd, self->text[self->i], 3)));
    }
    if (self->how == 1) for (int i = 1; i < 16; i += 2) aio_op_cancel(&self->ops[i]);
    if (self->how == 2) aio_await(self->r, aio_close(self->fd));
    if (self->how == 3) return 0;
    for (self->i = 0; self->i < 16; self->i++)
        aio_await(self->results[self->i], aio_op_wait(&self->ops[self->i]));
    for (int i = 0; i < 16; i++) {
        aio_result r = self->results[i], stopped = self->how == 2 ? -EBADF : -ECANCELED;
        bool may_stop = self->how == 2 ? i > 0 : self->how == 1 && i % 2;
        assert_true(r == 3 || (may_stop && r == stopped) || (r == -ENOMEM && uring_memory.fail_from));
    }
    return 0;
} aio_end
static void writes_of_one_task_keep_their_order(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        char text[64] = "";
        int fd = temp_file(""), other = dup(fd), last = -1, number;
        assert_result(run(ordered, .fd = how == 2 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : fd, .how = how), 0);
        ssize_t n = pread(other, text, 63, 0);
        assert_int_equal(n % 3, 0);
        if (how == 0) assert_int_equal(n, 48);
        for (int i = 0; i < n / 3; i++) {
            assert_int_equal(sscanf(text + 3 * i, "%d", &number), 1);
            assert_true(number > last);
            last = number;
        }
        close(fd);
        close(other);
    }
}
// The position is shared with another process.
struct sharing { aio_frame aio; int fd, i; };
aio_async(sharing) {
    for (self->i = 0; self->i < 500; self->i++) aio_try(aio_write_all(self->fd, "ours...\n", 8));
    return 0;
} aio_end
static void a_position_that_another_process_shares(void **state)
{
    (void)state;
    int fd = temp_file(""), status, ours = 0, theirs = 0;
    char line[8];
    pid_t child = fork();
    if (!child) {
        for (int i = 0; i < 500; i++)
            if (write(fd, "theirs.\n", 8) != 8) _exit(1);
        _exit(0);
    }
    assert_result(run(sharing, .fd = fd), 0);
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    for (off_t at = 0; pread(fd, line, 8, at) == 8; at += 8) {
        ours += !memcmp(line, "ours...\n", 8);
        theirs += !memcmp(line, "theirs.\n", 8);
    }
    close(fd);
    assert_int_equal(ours, 500);
    assert_int_equal(theirs, 500);
}
// A long queue takes no C stack, whether it ends one by one or all at once.
enum { MANY = 5000 };
struct one_of_many { aio_frame aio; int fd; };
aio_async(one_of_many) {
    aio_result r;
    aio_await(r, aio_write_all(self->fd, "line...\n", 8));
    return r;
} aio_end
struct crowd { aio_frame aio; int fd, closes; aio_task *t[MANY]; aio_result r[MANY]; };
aio_async(crowd) {
    if (self->closes == 2) self->fd = dup(self->fd);
    for (int i = 0; i < MANY; i++) self->t[i] = aio_spawn(one_of_many, .fd = self->fd);
    if (!self->closes) {
        aio_await(aio_gather_all(self->t, self->r, MANY));
        for (int i = 0; i < MANY; i++) assert_result(self->r[i], 8);
        return 0;
    }
    for (int i = 0; i < MANY; i++) aio_detach(self->t[i]);
    aio_await(aio_sleep(0));
    if (self->closes == 2) aio_await(aio_close(self->fd));
    return 0;
} aio_end
static void *crowd_on_a_small_stack(void *arg)
{
    int *at = (int *)arg;
    aio_loop l;
    struct aio_loop_options o = uring_options();
    uring_begin();
    expect_reports();
    assert_result(aio_loop_init(&l, &o), 0);
    aio_task *t = aio_spawn_on(&l, crowd, .fd = at[0], .closes = at[1]);
    assert_result(aio_loop_run_until_complete(&l, t), 0);
    aio_detach(t);
    assert_result(aio_loop_close(&l), 0);           // over what is queued
    uring_check(__FILE__, __LINE__);
    return NULL;
}
static void a_long_queue_takes_no_stack(void **state)
{
    (void)state;
    for (int closes = 0; closes < 3; closes++) {
        int fd = temp_file(""), at[2] = { fd, closes };
        pthread_t thread;
        pthread_attr_t small;
        struct stat st;
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, 128 * 1024);
        assert_int_equal(pthread_create(&thread, &small, crowd_on_a_small_stack, at), 0);
        pthread_join(thread, NULL);
        pthread_attr_destroy(&small);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_size % 8, 0);
        if (!closes) assert_int_equal(st.st_size, MANY * 8);
        close(fd);
    }
}
// Some files of /proc make a reader wait: it can be cancelled, and does not hold a thread.
struct waits_in_proc { aio_frame aio; int fd; char buf[256]; aio_result r; };
aio_async(waits_in_proc) {
    while (read(self->fd, self->buf, sizeof self->buf) > 0) {}
    fcntl(self->fd, F_SETFL, 0);
    aio_await(self->r, aio_wait_for(20 * AIO_MSEC, aio_read_some(self->fd, self->buf, 256)));
    return self->r;
} aio_end
static void a_reader_of_proc_that_waits_can_be_cancelled(void **state)
{
    (void)state;
    int fd = open("/proc/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) skip();
    aio_result r = run(waits_in_proc, .fd = fd);
    close(fd);
    assert_true(r == -ETIMEDOUT || r > 0);
}
// The n-th allocation fails: an error, and nothing is left.
static void no_memory_for_a_file(void **state)
{
    (void)state;
    aio_result r = -ENOMEM;
    for (long n = 1; r < 0 && n < 60; n++) {
        int fd = temp_file("abcdefgh");
        struct aio_loop_options o = uring_options();
        uring_begin();
        uring_memory.fail_from = n;
        uring_expect.reports = true;
        r = aio_run_with(&o, ordered, .fd = fd);
        uring_memory.fail_from = 0;
        uring_check(__FILE__, __LINE__);
        assert_true(r == 0 || r == -ENOMEM);
        close(fd);
    }
    assert_result(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transfers_give_what_the_system_call_gives),
        cmocka_unit_test(a_number_that_a_pipe_took_over_cannot_seek),
        cmocka_unit_test(reads_at_offsets_give_what_pread_gives),
        cmocka_unit_test(transfers_of_a_file_without_end_can_be_cancelled),
        cmocka_unit_test(at_the_limit_of_a_files_size_nothing_is_written_twice),
        cmocka_unit_test(on_a_full_disk_nothing_is_written_twice),
        cmocka_unit_test(several_readers_at_one_position_get_each_block_once),
        cmocka_unit_test(several_writers_at_one_position_lose_nothing),
        cmocka_unit_test(writes_of_one_task_keep_their_order),
        cmocka_unit_test(a_position_that_another_process_shares),
        cmocka_unit_test(a_long_queue_takes_no_stack),
        cmocka_unit_test(a_reader_of_proc_that_waits_can_be_cancelled),
        cmocka_unit_test(no_memory_for_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
