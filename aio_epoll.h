// aio_epoll.h - a ring in user space, for aio_io_uring.h where io_uring is refused.
// SPDX-License-Identifier: MIT
//
// aio_io_uring.h includes this file by itself if it lies beside it: there is nothing to call. Where
// the kernel refuses io_uring (containers, kernel.io_uring_disabled, old kernels), loops use this
// instead, with the same operations and results. AIO_RING=epoll in the environment forces it.
//
//                   the loop's thread                                   |  threads of two lanes
//                                                                       |
//   submission ring -> start -- done at once -------------> completion  |
//                       |  |                                ring        |
//                       |  `- waits for a descriptor -.      ^  ^       |
//                       |                             v      |  |       |
//                       |      epoll -> events -> try again -'  |       |
//                       |                                       |       |
//                       `--- blocks: the queue of a lane ------ | ----- | -> system call
//                                         eventfd <- finished <-+------ | ------'
//
// An entry is tried first, with a call that does not block. Done, it was one system call and left
// nothing behind. Else it is copied into an operation, which waits in the list of its descriptor
// (in the order of submission: a later send does not overtake an earlier one), or in the queue of
// a lane. Completions go into the ring, or where that is full into a list of operations that wait
// for room: none is lost, and none needs memory of its own.
//
// Descriptors are registered with epoll once, edge-triggered, for both directions, at their first
// wait: afterwards a wait costs nothing. epoll watches an open file, not a number: aio_close
// forgets the registration, and numbers that are made here begin as unknown; but a number that
// somebody else closes and uses again looks registered and is not. So a wait that has heard nothing
// for AIO__EP_DOUBT_NS is registered anew. That costs an idle descriptor one call per wait.
//
// A read of a TCP socket that gave less than was asked for has emptied it: the next one waits for
// an edge without trying, unless the peer has shut down or there is urgent data.
//
// What has no non-blocking form runs on a thread: in one lane what ends by itself (files, names),
// in the other what may wait for somebody (opening a FIFO, splice, terminals, futexes), so that the
// second kind does not starve the first. A cancel of what already runs there answers -EALREADY, and
// interrupts the thread with a real-time signal that nobody else uses; its result counts.
#ifndef AIO__EPOLL_KERNEL
#  include "aio_io_uring.h"     // which includes this file at its place
#elif !defined AIO_EPOLL_H
#define AIO_EPOLL_H

// -------------------------------------------------------------------------------------- >>types
enum {
    AIO__EP_EVENTS = 128,           // taken from epoll at a time
    AIO__EP_BURST = 32,             // completions of a multishot operation at a time
    AIO__EP_FILE_THREADS = 16,      // of the lane for what ends by itself
    AIO__EP_IDLE_SECONDS = 5,       // until a thread without work ends
    AIO__EP_OPS_IN_SLAB = 32,
    AIO__EP_UNSEEN = 4,             // turns with enough to do, before epoll is looked at
};
#define AIO__EP_DOUBT_NS (10 * AIO_MSEC)
#define AIO__EP_IN ((unsigned)(EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLHUP | EPOLLERR))
#define AIO__EP_OUT ((unsigned)(EPOLLOUT | EPOLLHUP | EPOLLERR))
#define AIO__EP_WAKE UINT32_MAX     // in epoll_data: threads have finished something
// What an attempt gives if no result: below all errors.
#define AIO__EP_WAIT_IN (-5001L)        // until the descriptor is readable
#define AIO__EP_WAIT_OUT (-5002L)
#define AIO__EP_WAIT_POLL (-5003L)      // until it has the events of a poll
#define AIO__EP_FILE (-5004L)           // a thread of the lane for what ends by itself
#define AIO__EP_SLOW (-5005L)           // … for what may wait for somebody
#define AIO__EP_AGAIN (-5006L)          // has more to do, and lets others go first
#define AIO__EP_TIMER (-5007L)
enum aio__ep_where {
    AIO__EP_NOWHERE,
    AIO__EP_ON_FD,                  // in the list of its descriptor
    AIO__EP_QUEUED,                 // in a lane
    AIO__EP_RUNS,                   // on a thread
    AIO__EP_TIMED,                  // in the list of timers
};
struct aio__ep_op {
    struct aio__ep_op *next, *prev;     // of where it is
    struct aio__ep_op *same_hash;       // by user_data
    struct aio__ep_op *link, *link_last;    // what follows in its chain; of a head: the last
    struct io_uring_sqe e;
    void *copies;                       // of paths, addresses, vectors
    uint32_t copies_class;
    unsigned events;                    // of the list: what it waits for
    enum aio__ep_where where;
    int lane;
    int res;                            // of a finished job, or of a completion without room
    unsigned cqe_flags;
    int64_t deadline;
    pthread_t thread;                   // that runs it
    bool interrupted, hashed, proven;
};
struct aio__ep_list { struct aio__ep_op *first, *last; };
// What is known of a number.
struct aio__ep_fd {
    struct aio__ep_list ops;
    uint32_t jobs;                      // operations on threads that use it
    uint32_t events;                    // told by epoll, not yet acted on
    int next_ready, next_doubt;         // in these lists; -1: the last, -2: not listed
    bool registered, nonblocking, tcp, drained, heard, close_owed;
};
struct aio__ep_lane {
    struct aio__ep_list queue;
    unsigned threads, idle, limit;
};
struct aio__ep_group {                  // a ring of provided buffers
    struct aio__ep_group *next;
    struct io_uring_buf *entries;
    uint16_t group, head, mask;
};
struct aio__ep {
    aio_uring *uring;
    aio_executor *executor;
    unsigned sq_head, sq_tail, sq_flags, sq_mask, sq_entries;
    unsigned cq_head, cq_tail, cq_mask, cq_entries;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
    int epoll, wake;
    struct aio__ep_fd *fds;
    uint32_t fd_capacity;
    int ready, ready_last;              // descriptors with events; -1: none
    int doubt, doubt_old;               // descriptors whose registration is in doubt
    int64_t doubt_since;
    struct aio__ep_op *chain;           // whose entries are being collected
    bool chain_broken;                  // … and end, for want of memory
    struct aio__ep_op *free;
    void *slabs;
    struct aio__ep_op **hash;
    uint32_t hash_mask, hashed;
    uint32_t waiting;                   // of these, but for the loop's wake-up
    struct aio__ep_list no_room;        // completions that wait for room
    struct aio__ep_list timers;
    struct aio__ep_group *groups;
    struct iovec *buffers;
    int *slots;
    uint32_t buffer_count, slot_count, slot_free;
    uint64_t allowed;                   // operations
    uint32_t jobs, interrupted;         // on threads; asked to end
    unsigned unseen;                    // turns that did not look at epoll
    bool searching;                     // the table of operations must not grow now
    bool old_wait;                      // no epoll_pwait2 (5.11)
    // What the threads touch, under the lock.
    pthread_mutex_t lock;
    pthread_cond_t work[2], gone;
    struct aio__ep_lane lanes[2];
    struct aio__ep_list finished;
    bool stop;
};
__attribute__((weak, visibility("hidden"))) int aio__ep_signal = 0;     // 0: not chosen, -1: none

// ------------------------------------------------------------------------------ >>implementation
AIO_FN struct aio__ep *aio__ep_of(const aio_uring *u) { return (struct aio__ep *)u->kernel_state; }
AIO_FN void aio__ep_append(struct aio__ep_list *l, struct aio__ep_op *op)
{
    op->next = 0;
    op->prev = l->last;
    if (l->last) l->last->next = op;
    else l->first = op;
    l->last = op;
}
AIO_FN void aio__ep_unlink(struct aio__ep_list *l, struct aio__ep_op *op)
{
    if (op->prev) op->prev->next = op->next;
    else l->first = op->next;
    if (op->next) op->next->prev = op->prev;
    else l->last = op->prev;
}
// How far an entry has come, in the entry: no operation for descriptors uses its last word.
AIO_FN uint64_t aio__ep_done(const struct io_uring_sqe *e)
{
    uint64_t done;
    __builtin_memcpy(&done, (const char *)e + 56, sizeof done);
    return done;
}
AIO_FN void aio__ep_set_done(struct io_uring_sqe *e, uint64_t done)
{
    aio__store((char *)e + 56, done);
}

// --- completions
AIO_FN unsigned aio__ep_room(const struct aio__ep *k)
{
    return k->no_room.first ? 0
                            : k->cq_entries -
                                  (k->cq_tail - __atomic_load_n(&k->cq_head, __ATOMIC_RELAXED));
}
AIO_FN void aio__ep_post(struct aio__ep *k, uint64_t user_data, int res, unsigned flags)
{
    struct io_uring_cqe *c = &k->cqes[k->cq_tail & k->cq_mask];
    c->user_data = user_data;
    c->res = res;
    c->flags = flags;
    __atomic_store_n(&k->cq_tail, k->cq_tail + 1, __ATOMIC_RELEASE);
}

// --- operations: entries that could not be done at once
AIO_FN struct aio__ep_op **aio__ep_bucket(struct aio__ep *k, uint64_t user_data)
{
    return &k->hash[(user_data * UINT64_C(0x9e3779b97f4a7c15) >> 32) & k->hash_mask];
}
AIO_COLD void aio__ep_hash_grow(struct aio__ep *k)      // without memory it stays, and is slower
{
    uint32_t mask = k->hash_mask * 2 + 1;
    size_t size = ((size_t)mask + 1) * sizeof *k->hash;
    struct aio__ep_op **old = k->hash, *op;
    struct aio__ep_op **grown = (struct aio__ep_op **)aio__chunk_new(k->executor, size);
    if (!grown) return;
    uint32_t buckets = k->hash_mask + 1;
    memset((void *)grown, 0, size);
    k->hash = grown;
    k->hash_mask = mask;
    for (uint32_t i = 0; i < buckets; i++) {
        while ((op = old[i]) != 0) {
            struct aio__ep_op **at = aio__ep_bucket(k, op->e.user_data);
            old[i] = op->same_hash;
            op->same_hash = *at;
            *at = op;
        }
    }
    aio__chunk_free(k->executor, (void *)old);
}
AIO_FN void aio__ep_hash_in(struct aio__ep *k, struct aio__ep_op *op)
{
    if (op->hashed) return;
    if (AIO__UNLIKELY(k->hashed > k->hash_mask && !k->searching)) aio__ep_hash_grow(k);
    struct aio__ep_op **at = aio__ep_bucket(k, op->e.user_data);
    op->same_hash = *at;
    op->hashed = true;
    k->hashed++;
    k->waiting += op->e.user_data != AIO__UD_WAKE;
    *at = op;
}
AIO_FN void aio__ep_hash_out(struct aio__ep *k, struct aio__ep_op *op)
{
    struct aio__ep_op **at = aio__ep_bucket(k, op->e.user_data);
    if (!op->hashed) return;
    while (*at != op) at = &(*at)->same_hash;
    *at = op->same_hash;
    op->hashed = false;
    k->hashed--;
    k->waiting -= op->e.user_data != AIO__UD_WAKE;
}
AIO_COLD bool aio__ep_slab(struct aio__ep *k)
{
    size_t size = sizeof(void *) + AIO__EP_OPS_IN_SLAB * sizeof(struct aio__ep_op);
    void **slab = (void **)aio__chunk_new(k->executor, size);
    if (!slab) return false;
    *slab = k->slabs;
    k->slabs = slab;
    struct aio__ep_op *ops = (struct aio__ep_op *)(void *)(slab + 1);
    for (int i = 0; i < AIO__EP_OPS_IN_SLAB; i++) {
        ops[i].next = k->free;
        k->free = &ops[i];
    }
    return true;
}
AIO_FN void aio__ep_free(struct aio__ep *k, struct aio__ep_op *op)
{
    if (op->copies) aio__free(k->executor, op->copies, op->copies_class);
    op->next = k->free;
    k->free = op;
}
// Null: no memory. What the entry points to may be gone once it is consumed: copied.
AIO_FN bool aio__ep_copy_in(struct aio__ep *k, struct aio__ep_op *op);
AIO_FN struct aio__ep_op *aio__ep_take(struct aio__ep *k, const struct io_uring_sqe *e)
{
    struct aio__ep_op *op = k->free;
    if (AIO__UNLIKELY(!op) && !aio__ep_slab(k)) return 0;
    op = k->free;
    k->free = op->next;
    memcpy((void *)&op->e, e, sizeof *e);
    op->copies = 0;
    op->link = op->link_last = 0;
    op->where = AIO__EP_NOWHERE;
    op->interrupted = op->hashed = op->proven = false;
    if (aio__ep_copy_in(k, op)) return op;
    aio__ep_free(k, op);
    return 0;
}
AIO_FN size_t aio__ep_copy(char **to, uint64_t *word, size_t size)
{
    size_t room = (size + 7) & ~(size_t)7;
    if (!*word) return 0;
    if (!*to) return room;
    memcpy(*to, (const void *)(uintptr_t)*word, size);
    *word = (uint64_t)(uintptr_t)*to;
    *to += room;
    return room;
}
AIO_FN size_t aio__ep_text(char **to, uint64_t *word)
{
    return *word ? aio__ep_copy(to, word, strlen((const char *)(uintptr_t)*word) + 1) : 0;
}
// Copies what `what` names, to `to`; null: only counts. Returns the size.
AIO_FN size_t aio__ep_copy_all(char *to, uint64_t *word, unsigned len, unsigned what)
{
    size_t n = 0;
    if (what & AIO__COPY_PATH) n += aio__ep_text(&to, &word[2]);
    if (what & AIO__COPY_PATH2) n += aio__ep_text(&to, &word[1]);
    if (what & AIO__COPY_PATH3) n += aio__ep_text(&to, &word[6]);
    if (what & AIO__COPY_ADDRESS) n += aio__ep_copy(&to, &word[2], (size_t)word[1]);
    if (what & AIO__COPY_VECTOR) n += aio__ep_copy(&to, &word[2], len * sizeof(struct iovec));
    if (what & AIO__COPY_HOW) n += aio__ep_copy(&to, &word[1], AIO__OPEN_HOW_BYTES);
    return n;
}
AIO_FN bool aio__ep_copy_in(struct aio__ep *k, struct aio__ep_op *op)
{
    const struct aio__operation *o = aio__operation_of(op->e.opcode);
    uint64_t word[8];
    if (AIO__LIKELY(!o || !o->copies)) return true;
    if ((o->copies & AIO__COPY_ADDRESS) && op->e.off > sizeof(struct sockaddr_storage)) return true;
    if ((o->copies & AIO__COPY_VECTOR) && op->e.len > 1024) return true;    // IOV_MAX: refused
    memcpy(word, &op->e, sizeof word);
    size_t size = aio__ep_copy_all(0, word, op->e.len, o->copies);
    if (!size) return true;
    op->copies_class = aio__class_of(size);
    op->copies = aio__alloc(k->executor, op->copies_class, size);
    if (!op->copies) return false;
    aio__ep_copy_all((char *)op->copies, word, op->e.len, o->copies);
    memcpy((void *)&op->e, word, sizeof word);
    return true;
}
// Has it failed in the sense of links?
AIO_FN bool aio__ep_breaks(const struct io_uring_sqe *e, int res)
{
    uint64_t whole = e->len;
    const struct aio__operation *o = aio__operation_of(e->opcode);
    if (!o) return res < 0;
    if (res < 0) return !(o->traits & AIO__OP_GOES_ON);
    if ((o->traits & AIO__OP_WAITALL) && (e->msg_flags & MSG_WAITALL)) {
        whole += aio__ep_done(e);
        if (o->traits & AIO__OP_MESSAGE) {
            const struct msghdr *m = (const struct msghdr *)(uintptr_t)e->addr;
            whole = 0;
            for (size_t i = 0; i < (size_t)m->msg_iovlen; i++) whole += m->msg_iov[i].iov_len;
        }
        return (uint64_t)res < whole;
    }
    if (!(o->traits & AIO__OP_SHORT)) return false;
    if (o->traits & AIO__OP_VECTOR) {
        const struct iovec *v = (const struct iovec *)(uintptr_t)e->addr;
        whole = 0;
        for (uint32_t i = 0; i < e->len; i++) whole += v[i].iov_len;
    }
    return (uint64_t)res < whole;
}
AIO_FN void aio__ep_go(struct aio__ep *k, struct aio__ep_op *op);
AIO_FN void aio__ep_settle(struct aio__ep *k, struct aio__ep_op *op, int res, unsigned flags)
{
    bool skip = res >= 0 && (op->e.flags & IOSQE_CQE_SKIP_SUCCESS);
    op->link = 0;
    if (skip) {
        aio__ep_free(k, op);
    } else if (aio__ep_room(k)) {
        aio__ep_post(k, op->e.user_data, res, flags);
        aio__ep_free(k, op);
    } else {
        op->res = res;
        op->cqe_flags = flags;
        aio__ep_append(&k->no_room, op);
    }
}
// The end of an operation, which is in no list any more; what is linked to it begins or ends.
AIO_FN void aio__ep_end(struct aio__ep *k, struct aio__ep_op *op, int res, unsigned flags)
{
    struct aio__ep_op *next = op->link, *after;
    bool goes_on = (op->e.flags & IOSQE_IO_HARDLINK) || !aio__ep_breaks(&op->e, res);
    aio__ep_hash_out(k, op);
    aio__ep_settle(k, op, res, flags);
    if (!next) return;
    if (goes_on) {
        aio__ep_go(k, next);
        return;
    }
    for (; next; next = after) {
        after = next->link;
        aio__ep_settle(k, next, -ECANCELED, 0);
    }
}
AIO_COLD void aio__ep_flush(struct aio__ep *k)      // into the room that there is now
{
    struct aio__ep_op *op;
    unsigned room = k->cq_entries - (k->cq_tail - __atomic_load_n(&k->cq_head, __ATOMIC_RELAXED));
    for (; room && (op = k->no_room.first) != 0; room--) {
        aio__ep_unlink(&k->no_room, op);
        aio__ep_post(k, op->e.user_data, op->res, op->cqe_flags);
        aio__ep_free(k, op);
    }
}

// --- what is known of descriptors
AIO_COLD bool aio__ep_fds_grow(struct aio__ep *k, uint32_t fd)
{
    uint32_t capacity = k->fd_capacity ? k->fd_capacity : 64;
    while (capacity <= fd) capacity *= 2;
    size_t size = (size_t)capacity * sizeof *k->fds;
    struct aio__ep_fd *fds = (struct aio__ep_fd *)aio__chunk_new(k->executor, size);
    if (!fds) return false;
    memset((void *)fds, 0, size);
    if (k->fds) memcpy((void *)fds, k->fds, (size_t)k->fd_capacity * sizeof *fds);
    for (uint32_t i = k->fd_capacity; i < capacity; i++)
        fds[i].next_ready = fds[i].next_doubt = -2;
    if (k->fds) aio__chunk_free(k->executor, k->fds);
    k->fds = fds;
    k->fd_capacity = capacity;
    return true;
}
AIO_FN struct aio__ep_fd *aio__ep_fd_of(struct aio__ep *k, int fd)     // null: nothing is known
{
    return (uint32_t)fd < k->fd_capacity ? &k->fds[fd] : 0;
}
// The number means another file from now on, or none.
AIO_FN void aio__ep_forget(struct aio__ep *k, int fd)
{
    struct aio__ep_fd *f = aio__ep_fd_of(k, fd);
    if (f) f->registered = f->drained = false;
}
AIO_FN void aio__ep_ready_add(struct aio__ep *k, int fd, uint32_t events)
{
    struct aio__ep_fd *f = &k->fds[fd];
    f->events |= events;
    if (f->next_ready != -2) return;
    f->next_ready = -1;
    if (k->ready >= 0) k->fds[k->ready_last].next_ready = fd;
    else k->ready = fd;
    k->ready_last = fd;
}
AIO_FN int aio__ep_control(struct aio__ep *k, int fd, int first)
{
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
    event.data.u64 = (uint32_t)fd;
    if (!epoll_ctl(k->epoll, first, fd, &event)) return 0;
    int other = errno == EEXIST ? EPOLL_CTL_MOD : errno == ENOENT ? EPOLL_CTL_ADD : 0;
    if (other && !epoll_ctl(k->epoll, other, fd, &event)) return 0;
    return -errno;
}
// Lets epoll watch fd, if it does not. Result: 0, or -EPERM: always ready (a file).
AIO_FN int aio__ep_watch(struct aio__ep *k, int fd)
{
    int protocol = 0, flags;
    socklen_t size = sizeof protocol;
    if (fd < 0) return -EBADF;
    if ((uint32_t)fd >= k->fd_capacity) {
        if (fcntl(fd, F_GETFD) < 0) return -EBADF;      // a wild number must not cost gigabytes
        if (!aio__ep_fds_grow(k, (uint32_t)fd)) return -ENOMEM;
    }
    struct aio__ep_fd *f = &k->fds[fd];
    if (f->registered) return 0;
    int r = aio__ep_control(k, fd, EPOLL_CTL_ADD);
    if (r < 0) return r;
    flags = fcntl(fd, F_GETFL);
    f->nonblocking = flags >= 0 && (flags & O_NONBLOCK);
    f->tcp = !getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) && protocol == IPPROTO_TCP;
    f->registered = f->heard = true;
    f->drained = false;
    return 0;
}
AIO_FN void aio__ep_doubt(struct aio__ep *k, int fd)
{
    struct aio__ep_fd *f = &k->fds[fd];
    f->heard = false;
    if (f->next_doubt != -2) return;
    if (k->doubt < 0 && k->doubt_old < 0) k->doubt_since = aio__clock();
    f->next_doubt = k->doubt;
    k->doubt = fd;
}
AIO_FN bool aio__ep_in_doubt(const struct aio__ep *k) { return k->doubt >= 0 || k->doubt_old >= 0; }
AIO_FN void aio__ep_end_all_on(struct aio__ep *k, int fd, int why)
{
    struct aio__ep_op *op;
    while ((op = k->fds[fd].ops.first) != 0) {
        aio__ep_unlink(&k->fds[fd].ops, op);
        aio__ep_end(k, op, why, 0);
    }
}
// Registers anew what has heard nothing since before the last time.
AIO_COLD void aio__ep_verify(struct aio__ep *k)
{
    int fd = k->doubt_old, next;
    for (; fd >= 0; fd = next) {
        struct aio__ep_fd *f = &k->fds[fd];
        next = f->next_doubt;
        f->next_doubt = -2;
        if (!f->ops.first || f->heard) continue;
        int r = aio__ep_control(k, fd, EPOLL_CTL_MOD);
        f->drained = false;
        f->heard = true;
        if (r == -EPERM) f->registered = false;
        if (r == -EPERM) aio__ep_ready_add(k, fd, EPOLLIN | EPOLLOUT);
        else if (r < 0) aio__ep_end_all_on(k, fd, r);
    }
    k->doubt_old = k->doubt;
    k->doubt = -1;
    k->doubt_since = aio__clock();
}
AIO_FN int aio__ep_poll(int fd, unsigned events)        // result: what is there, or an error
{
    struct pollfd p;
    p.fd = fd;
    p.events = (short)events;
    p.revents = 0;
    int r = poll(&p, 1, 0);
    if (r > 0 && (p.revents & POLLNVAL)) return -EBADF;
    return r < 0 ? -errno : r ? (unsigned short)p.revents : 0;
}
AIO_FN bool aio__ep_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_NONBLOCK);
}

// --- direct descriptors: each slot has a descriptor of its own, which nobody else knows
AIO_FN void aio__ep_close_owned(struct aio__ep *k, int fd)
{
    struct aio__ep_fd *f = aio__ep_fd_of(k, fd);
    if (f && (f->ops.first || f->jobs)) {       // they hold the file: it goes when they have ended
        f->close_owed = true;
        return;
    }
    aio__ep_forget(k, fd);
    close(fd);
}
AIO_FN void aio__ep_idle(struct aio__ep *k, int fd)
{
    struct aio__ep_fd *f = aio__ep_fd_of(k, fd);
    if (AIO__LIKELY(!f || !f->close_owed) || f->ops.first || f->jobs) return;
    f->close_owed = false;
    aio__ep_close_owned(k, fd);
}
// Puts a descriptor, which it takes, into slot index - 1, or into any free one.
AIO_FN int aio__ep_into(struct aio__ep *k, int fd, uint32_t index)
{
    uint32_t slot = index - 1;
    if (fd < 0) return fd;
    if (index == UINT32_MAX) {
        for (slot = 0; slot < k->slot_count && k->slots[slot] >= 0; slot++) {
        }
        if (slot == k->slot_count) slot = UINT32_MAX;
    } else if (slot >= k->slot_count) {
        close(fd);
        return k->slot_count ? -EINVAL : -ENXIO;
    }
    if (slot == UINT32_MAX) {
        close(fd);
        return k->slot_count ? -ENFILE : -ENXIO;
    }
    if (k->slots[slot] >= 0) aio__ep_close_owned(k, k->slots[slot]);
    k->slots[slot] = fd;
    return index == UINT32_MAX ? (int)slot : 0;
}
AIO_FN int aio__ep_slot_put(struct aio__ep *k, unsigned slot, int fd)
{
    if (slot >= k->slot_count) return -EINVAL;
    int own = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (fd >= 0 && own < 0) return -errno;
    if (own >= 0) aio__ep_forget(k, own);
    if (k->slots[slot] >= 0) aio__ep_close_owned(k, k->slots[slot]);
    k->slots[slot] = own;
    return 1;
}
AIO_FN int aio__ep_slot_fd(const struct aio__ep *k, int slot)
{
    return (uint32_t)slot < k->slot_count ? k->slots[slot] : -1;
}

// --- buffers that the ring provides
AIO_FN struct aio__ep_group *aio__ep_group_of(struct aio__ep *k, unsigned group)
{
    struct aio__ep_group *g = k->groups;
    while (g && g->group != group) g = g->next;
    return g;
}
// Null: none is left. It is not taken yet.
AIO_FN struct io_uring_buf *aio__ep_buffer(struct aio__ep *k, const struct io_uring_sqe *e,
                                           struct aio__ep_group **g)
{
    *g = aio__ep_group_of(k, e->buf_group);
    if (!*g) return 0;
    uint16_t tail = __atomic_load_n(&(*g)->entries[0].resv, __ATOMIC_ACQUIRE);
    return tail == (*g)->head ? 0 : &(*g)->entries[(*g)->head & (*g)->mask];
}
AIO_FN unsigned aio__ep_buffer_take(struct aio__ep_group *g, const struct io_uring_buf *b)
{
    unsigned flags = IORING_CQE_F_BUFFER | (unsigned)b->bid << IORING_CQE_BUFFER_SHIFT;
    g->head++;
    return flags;
}

// --- attempts: sockets
AIO_FN long aio__ep_result(long r) { return r < 0 ? -errno : r; }
// EAGAIN: waits, unless the caller or the descriptor says not to.
AIO_FN long aio__ep_unless_ready(const struct io_uring_sqe *e, long r, long wait)
{
    return r != -EAGAIN || (e->msg_flags & MSG_DONTWAIT) ? r : wait;
}
AIO_FN long aio__ep_recv_bytes(struct aio__ep *k, struct io_uring_sqe *e, void *to, size_t size)
{
    struct aio__ep_fd *f = aio__ep_fd_of(k, e->fd);
    int flags = (int)e->msg_flags;
    if (f && f->drained && !f->nonblocking && !(flags & (MSG_DONTWAIT | MSG_OOB | MSG_ERRQUEUE)))
        return AIO__EP_WAIT_IN;
    long r = aio__ep_result(recv(e->fd, to, size, (flags & ~MSG_WAITALL) | MSG_DONTWAIT));
    if (f && f->registered && f->tcp && r > 0 && (size_t)r < size && !flags) f->drained = f->heard;
    return r;
}
// Transfers with MSG_WAITALL go on until all is there.
AIO_FN long aio__ep_whole(struct io_uring_sqe *e, long r, long wait)
{
    uint64_t done = aio__ep_done(e);
    if (!(e->msg_flags & MSG_WAITALL)) return aio__ep_unless_ready(e, r, wait);
    if (r > 0 && (uint32_t)r < e->len) {
        aio__ep_set_done(e, done + (uint64_t)r);
        e->addr += (uint64_t)r;
        e->len -= (uint32_t)r;
        return AIO__EP_AGAIN;
    }
    if (r > 0) {
        e->len -= (uint32_t)r;
        aio__ep_set_done(e, done + (uint64_t)r);
        return (long)done + r;
    }
    if (r == -EAGAIN) return aio__ep_unless_ready(e, done && (e->msg_flags & MSG_DONTWAIT)
                                                        ? (long)done : r, wait);
    return done ? (long)done : r;
}
AIO_FN long aio__ep_recv(struct aio__ep *k, struct io_uring_sqe *e, unsigned *cqe_flags)
{
    struct aio__ep_group *g;
    long r;
    if (!(e->flags & IOSQE_BUFFER_SELECT)) {
        do {
            r = aio__ep_recv_bytes(k, e, (void *)(uintptr_t)e->addr, e->len);
            r = aio__ep_whole(e, r, AIO__EP_WAIT_IN);
        } while (r == AIO__EP_AGAIN);
        return r;
    }
    struct io_uring_buf *b = aio__ep_buffer(k, e, &g);
    if (!b) return -ENOBUFS;
    size_t size = e->len && e->len < b->len ? e->len : b->len;
    r = aio__ep_recv_bytes(k, e, (void *)(uintptr_t)b->addr, size);
    if (r > 0) *cqe_flags |= aio__ep_buffer_take(g, b);
    return aio__ep_unless_ready(e, r, AIO__EP_WAIT_IN);
}
// Into a provided buffer: its head, a name, control data, the payload.
AIO_FN long aio__ep_recvmsg_into(struct aio__ep *k, struct io_uring_sqe *e, unsigned *cqe_flags)
{
    struct aio__ep_group *g;
    const struct msghdr *ask = (const struct msghdr *)(uintptr_t)e->addr;
    struct io_uring_buf *b = aio__ep_buffer(k, e, &g);
    bool many = e->ioprio & IORING_RECV_MULTISHOT;
    struct io_uring_recvmsg_out out;
    struct msghdr m;
    struct iovec v;
    if (!b) return -ENOBUFS;
    char *at = (char *)(uintptr_t)b->addr;
    size_t head = many ? sizeof out + ask->msg_namelen + (size_t)ask->msg_controllen : 0;
    if (b->len < head) return -EFAULT;
    memcpy(&m, ask, sizeof m);
    if (many) {
        m.msg_name = at + sizeof out;
        m.msg_control = at + sizeof out + ask->msg_namelen;
    }
    v.iov_base = at + head;
    v.iov_len = b->len - head;
    if (!many && ask->msg_iovlen && ask->msg_iov[0].iov_len && ask->msg_iov[0].iov_len < v.iov_len)
        v.iov_len = ask->msg_iov[0].iov_len;
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    long r = aio__ep_result(recvmsg(e->fd, &m, (int)e->msg_flags | MSG_DONTWAIT));
    if (r < 0) return r;
    if (many) {
        out.namelen = m.msg_namelen;
        out.controllen = (uint32_t)m.msg_controllen;
        out.payloadlen = (uint32_t)r;
        out.flags = (uint32_t)m.msg_flags;
        memcpy(at, &out, sizeof out);
    } else {
        struct msghdr *back = (struct msghdr *)(uintptr_t)e->addr;
        back->msg_namelen = m.msg_namelen;
        back->msg_controllen = m.msg_controllen;
        back->msg_flags = m.msg_flags;
    }
    *cqe_flags |= aio__ep_buffer_take(g, b);
    return r + (long)head;
}
AIO_FN long aio__ep_recvmsg(struct aio__ep *k, struct io_uring_sqe *e, unsigned *cqe_flags)
{
    if (e->flags & IOSQE_BUFFER_SELECT)
        return aio__ep_unless_ready(e, aio__ep_recvmsg_into(k, e, cqe_flags), AIO__EP_WAIT_IN);
    struct msghdr *m = (struct msghdr *)(uintptr_t)e->addr;
    long r = aio__ep_result(recvmsg(e->fd, m, (int)e->msg_flags | MSG_DONTWAIT));
    return aio__ep_unless_ready(e, r, AIO__EP_WAIT_IN);
}
AIO_FN long aio__ep_send(struct io_uring_sqe *e)
{
    const struct sockaddr *to = (const struct sockaddr *)(uintptr_t)e->addr2;
    int flags = ((int)e->msg_flags & ~MSG_WAITALL) | MSG_DONTWAIT | MSG_NOSIGNAL;
    long r;
    do {
        const void *from = (const void *)(uintptr_t)e->addr;
        if (to) r = sendto(e->fd, from, e->len, flags, to, e->addr_len);
        else r = send(e->fd, from, e->len, flags);
        r = aio__ep_whole(e, aio__ep_result(r), AIO__EP_WAIT_OUT);
    } while (r == AIO__EP_AGAIN);
    return r;
}
AIO_FN long aio__ep_sendmsg(struct io_uring_sqe *e)
{
    const struct msghdr *m = (const struct msghdr *)(uintptr_t)e->addr;
    long r = sendmsg(e->fd, m, (int)e->msg_flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    return aio__ep_unless_ready(e, aio__ep_result(r), AIO__EP_WAIT_OUT);
}
// A call that has no flag for it does not block: for its moment the open file does not. Everybody
// who has a copy of the descriptor shares that, so it is asked for only when it is needed.
AIO_FN long aio__ep_accept(const struct io_uring_sqe *e)
{
    int flags = fcntl(e->fd, F_GETFL);
    if (flags < 0) return -errno;
    bool blocks = !(flags & O_NONBLOCK);
    if (blocks) {
        int ready = aio__ep_poll(e->fd, POLLIN);
        if (ready <= 0) return ready ? ready : AIO__EP_WAIT_IN;
        fcntl(e->fd, F_SETFL, flags | O_NONBLOCK);
    }
    long r = accept4(e->fd, (struct sockaddr *)(uintptr_t)e->addr,
                     (socklen_t *)(uintptr_t)e->addr2, (int)e->accept_flags);
    r = aio__ep_result(r);
    if (blocks) fcntl(e->fd, F_SETFL, flags);
    return r == -EAGAIN && blocks ? AIO__EP_WAIT_IN : r;
}
AIO_FN long aio__ep_connected(const struct io_uring_sqe *e)
{
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    int error = 0;
    socklen_t error_size = sizeof error;
    if (getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &error, &error_size) < 0) return -errno;
    if (error) return -error;
    if (!getpeername(e->fd, (struct sockaddr *)&peer, &size)) return 0;
    return errno == ENOTCONN ? AIO__EP_WAIT_OUT : -errno;
}
AIO_FN long aio__ep_connect(struct io_uring_sqe *e)
{
    if (aio__ep_done(e)) return aio__ep_connected(e);
    int flags = fcntl(e->fd, F_GETFL);
    if (flags < 0) return -errno;
    bool blocks = !(flags & O_NONBLOCK);
    if (blocks) fcntl(e->fd, F_SETFL, flags | O_NONBLOCK);
    long r = connect(e->fd, (const struct sockaddr *)(uintptr_t)e->addr, (socklen_t)e->off);
    r = aio__ep_result(r);
    if (blocks) fcntl(e->fd, F_SETFL, flags);
    if (r == -EINPROGRESS) {
        aio__ep_set_done(e, 1);
        return AIO__EP_WAIT_OUT;
    }
    return r == -EAGAIN && blocks ? AIO__EP_SLOW : r;   // a Unix socket's backlog is full
}

// --- attempts: reading and writing
AIO_FN bool aio__ep_writes(const struct io_uring_sqe *e)
{
    return e->opcode == IORING_OP_WRITE || e->opcode == IORING_OP_WRITEV ||
           e->opcode == IORING_OP_WRITE_FIXED || e->opcode == AIO__OP_WRITEV_FIXED;
}
AIO_FN bool aio__ep_vector(const struct io_uring_sqe *e, struct iovec *one, struct iovec **v,
                           int *n)
{
    bool many = e->opcode == IORING_OP_READV || e->opcode == IORING_OP_WRITEV ||
                e->opcode == AIO__OP_READV_FIXED || e->opcode == AIO__OP_WRITEV_FIXED;
    one->iov_base = (void *)(uintptr_t)e->addr;
    one->iov_len = e->len;
    *v = many ? (struct iovec *)(uintptr_t)e->addr : one;
    *n = many ? (int)e->len : 1;
    return many;
}
AIO_FN long aio__ep_transfer(const struct io_uring_sqe *e, int flags)
{
    struct iovec one, *v;
    int n;
    aio__ep_vector(e, &one, &v, &n);
    flags |= (int)e->rw_flags;
    if (aio__ep_writes(e)) return aio__ep_result(pwritev2(e->fd, v, n, (off_t)e->off, flags));
    return aio__ep_result(preadv2(e->fd, v, n, (off_t)e->off, flags));
}
AIO_FN bool aio__ep_inside(const struct aio__ep *k, unsigned index, const struct iovec *v)
{
    if (index >= k->buffer_count) return false;
    const char *from = (const char *)k->buffers[index].iov_base, *at = (const char *)v->iov_base;
    size_t size = k->buffers[index].iov_len;
    return at >= from && v->iov_len <= size && (size_t)(at - from) <= size - v->iov_len;
}
AIO_FN bool aio__ep_registered(const struct aio__ep *k, const struct io_uring_sqe *e)
{
    struct iovec one, *v;
    int n;
    aio__ep_vector(e, &one, &v, &n);
    for (int i = 0; i < n; i++)
        if (!aio__ep_inside(k, e->buf_index, &v[i])) return false;
    return true;
}
// Neither can it be asked not to block, nor is that needed if it is ready or is a file.
AIO_FN long aio__ep_transfer_later(struct aio__ep *k, const struct io_uring_sqe *e, bool asked)
{
    bool writes = aio__ep_writes(e);
    int r = aio__ep_watch(k, e->fd);
    if (r == -EPERM) return AIO__EP_FILE;
    if (r < 0) return r;
    if (k->fds[e->fd].nonblocking) return asked ? -EAGAIN : aio__ep_transfer(e, 0);
    if (asked) return writes ? AIO__EP_WAIT_OUT : AIO__EP_WAIT_IN;
    r = aio__ep_poll(e->fd, writes ? POLLOUT : POLLIN);
    return r > 0 ? AIO__EP_SLOW : r < 0 ? r : writes ? AIO__EP_WAIT_OUT : AIO__EP_WAIT_IN;
}
AIO_FN long aio__ep_rw(struct aio__ep *k, struct io_uring_sqe *e)
{
    struct iovec one, *v;
    int n;
    if (aio__op_is(e->opcode, AIO__OP_BUFFER) && !aio__ep_registered(k, e)) return -EFAULT;
    if ((e->flags & IOSQE_ASYNC) && aio__ep_watch(k, e->fd) == -EPERM) return AIO__EP_FILE;
    long r = aio__ep_transfer(e, RWF_NOWAIT);
    bool again = r > 0 && (int64_t)e->off >= 0 && !aio__ep_vector(e, &one, &v, &n) &&
                 (uint32_t)r < e->len;
    if (again && !aio__ep_writes(e)) {          // the end, or not in memory?
        one.iov_base = (char *)one.iov_base + r;
        one.iov_len -= (size_t)r;
        long more = aio__ep_result(preadv2(e->fd, &one, 1, (off_t)e->off + r,
                                           (int)e->rw_flags | RWF_NOWAIT));
        return more > 0 ? r + more : more == -EAGAIN ? AIO__EP_FILE : r;
    }
    if (r != -EAGAIN && r != -EOPNOTSUPP) return r;
    if (e->rw_flags & RWF_NOWAIT) return r;
    return aio__ep_transfer_later(k, e, r == -EAGAIN);
}
AIO_FN long aio__ep_read_into(struct aio__ep *k, struct io_uring_sqe *e, unsigned *cqe_flags)
{
    struct aio__ep_group *g;
    struct io_uring_buf *b = aio__ep_buffer(k, e, &g);
    struct io_uring_sqe one;
    if (!b) return -ENOBUFS;
    memcpy((void *)&one, e, sizeof one);
    one.opcode = IORING_OP_READ;
    one.flags = 0;
    one.addr = b->addr;
    one.len = e->len && e->len < b->len ? e->len : b->len;
    if (e->opcode == AIO__OP_READ_MULTISHOT) one.off = UINT64_MAX;
    long r = aio__ep_rw(k, &one);
    if (r == AIO__EP_FILE && e->opcode == AIO__OP_READ_MULTISHOT) return -EBADFD;
    if (r == AIO__EP_FILE || r == AIO__EP_SLOW) r = aio__ep_transfer(&one, 0);
    if (r > 0) *cqe_flags |= aio__ep_buffer_take(g, b);
    return r;
}

// --- attempts: the rest
AIO_FN unsigned aio__ep_poll_events(const struct io_uring_sqe *e)
{
    unsigned events = e->poll32_events;
    return AIO__POLL_EVENTS(events);
}
AIO_FN long aio__ep_poll_try(const struct io_uring_sqe *e)
{
    int r = aio__ep_poll(e->fd, aio__ep_poll_events(e) & 0x3fff);
    return r ? r : AIO__EP_WAIT_POLL;
}
AIO_FN long aio__ep_close(struct aio__ep *k, const struct io_uring_sqe *e)
{
    if (e->file_index) {
        if (aio__ep_slot_fd(k, (int)(e->file_index - 1)) < 0) return -EBADF;
        aio__ep_close_owned(k, k->slots[e->file_index - 1]);
        k->slots[e->file_index - 1] = -1;
        return 0;
    }
    aio__ep_forget(k, e->fd);
    if (e->flags & IOSQE_ASYNC) return AIO__EP_SLOW;        // it lingers
    return aio__ep_result(close(e->fd));
}
AIO_FN long aio__ep_pipe(struct aio__ep *k, const struct io_uring_sqe *e)
{
    int fds[2], *to = (int *)(uintptr_t)e->addr;
    unsigned flags = e->msg_flags;
    bool into = e->file_index;
    if (pipe2(into ? fds : to, (int)flags | (into ? O_CLOEXEC : 0)) < 0) return -errno;
    for (int i = 0; i < 2; i++) aio__ep_forget(k, into ? fds[i] : to[i]);
    if (!into) return 0;
    uint32_t second = e->file_index == UINT32_MAX ? UINT32_MAX : e->file_index + 1;
    int r = aio__ep_into(k, fds[0], e->file_index), s;
    if (r < 0) close(fds[1]);
    if (r < 0) return r;
    to[0] = e->file_index == UINT32_MAX ? r : (int)e->file_index - 1;
    s = aio__ep_into(k, fds[1], second);
    if (s < 0) aio__ep_slot_put(k, (unsigned)to[0], -1);
    to[1] = second == UINT32_MAX ? s : (int)second - 1;
    return s < 0 ? s : 0;
}
AIO_FN long aio__ep_files_update(struct aio__ep *k, const struct io_uring_sqe *e)
{
    const int *fds = (const int *)(uintptr_t)e->addr;
    int n = 0, r = 1;
    if (!fds) return e->len ? -EFAULT : -EINVAL;
    for (; n < (int)e->len; n++) {
        r = aio__ep_slot_put(k, (unsigned)e->off + (unsigned)n, fds[n]);
        if (r < 0) break;
    }
    return n ? n : r < 0 ? r : 0;
}
// The calls of aio_io_uring.h for these, which want an entry as an awaitable has it.
AIO_FN void aio__ep_words(const struct io_uring_sqe *e, uint64_t *words)
{
    memcpy(words, e, 32);
    memcpy(words + 4, (const char *)e + 40, 24);
}
AIO_FN long aio__ep_prompt(const struct io_uring_sqe *e)
{
    uint64_t words[7];
    aio__ep_words(e, words);
    return aio__ep_result(aio__prompt_call(words));
}
AIO_FN long aio__ep_epoll_wait(const struct io_uring_sqe *e)
{
    struct epoll_event *events = (struct epoll_event *)(uintptr_t)e->addr;
    int r = epoll_wait(e->fd, events, (int)e->len, 0);
    return r < 0 ? -errno : r ? r : AIO__EP_WAIT_IN;
}
AIO_FN long aio__ep_install(const struct io_uring_sqe *e)
{
    return aio__ep_result(fcntl(e->fd, e->len & 1 ? F_DUPFD : F_DUPFD_CLOEXEC, 0));
}
AIO_FN int64_t aio__ep_clock(unsigned flags)
{
    struct timespec ts;
    clockid_t id = CLOCK_MONOTONIC;
    if (flags & IORING_TIMEOUT_BOOTTIME) id = CLOCK_BOOTTIME;
    if (flags & IORING_TIMEOUT_REALTIME) id = CLOCK_REALTIME;
    clock_gettime(id, &ts);
    return ts.tv_sec * AIO_SECOND + ts.tv_nsec;
}
// `done` becomes the time at which it ends, by the monotonic clock.
AIO_FN long aio__ep_timeout(struct io_uring_sqe *e)
{
    const unsigned known = IORING_TIMEOUT_ABS | IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME |
                           IORING_TIMEOUT_ETIME_SUCCESS;
    struct __kernel_timespec ts;
    if (e->len != 1) return -EINVAL;
    if (e->off || (e->timeout_flags & ~known)) return -EOPNOTSUPP;
    if (!e->addr) return -EFAULT;
    memcpy(&ts, (const void *)(uintptr_t)e->addr, sizeof ts);
    int64_t left = ts.tv_sec > INT64_MAX / AIO_SECOND - 1 ? INT64_MAX / 2
                                                         : ts.tv_sec * AIO_SECOND + ts.tv_nsec;
    if (e->timeout_flags & IORING_TIMEOUT_ABS) left -= aio__ep_clock(e->timeout_flags);
    aio__ep_set_done(e, (uint64_t)(aio__ep_clock(0) + left));
    return AIO__EP_TIMER;
}
AIO_FN long aio__ep_cancel(struct aio__ep *k, const struct io_uring_sqe *e);
AIO_FN long aio__ep_cancel_data(struct aio__ep *k, uint64_t user_data, unsigned opcode);

// What does not block, or says that it would.
AIO_FN long aio__ep_attempt(struct aio__ep *k, struct io_uring_sqe *e, unsigned *cqe_flags)
{
    switch (e->opcode) {
    case IORING_OP_NOP: return e->rw_flags & 1 ? (int)e->len : 0;   // IORING_NOP_INJECT_RESULT
    case IORING_OP_RECV: return aio__ep_recv(k, e, cqe_flags);
    case IORING_OP_SEND:
    case IORING_OP_SEND_ZC: return aio__ep_send(e);
    case IORING_OP_RECVMSG: return aio__ep_recvmsg(k, e, cqe_flags);
    case IORING_OP_SENDMSG:
    case AIO__OP_SENDMSG_ZC: return aio__ep_sendmsg(e);
    case IORING_OP_ACCEPT: return aio__ep_accept(e);
    case IORING_OP_CONNECT: return aio__ep_connect(e);
    case IORING_OP_POLL_ADD: return aio__ep_poll_try(e);
    case IORING_OP_READ:
    case IORING_OP_READV:
        if (e->flags & IOSQE_BUFFER_SELECT) return aio__ep_read_into(k, e, cqe_flags);
        return aio__ep_rw(k, e);
    case AIO__OP_READ_MULTISHOT: return aio__ep_read_into(k, e, cqe_flags);
    case IORING_OP_WRITE:
    case IORING_OP_WRITEV:
    case IORING_OP_READ_FIXED:
    case IORING_OP_WRITE_FIXED:
    case AIO__OP_READV_FIXED:
    case AIO__OP_WRITEV_FIXED: return aio__ep_rw(k, e);
    case IORING_OP_CLOSE: return aio__ep_close(k, e);
    case IORING_OP_ASYNC_CANCEL: return aio__ep_cancel(k, e);
    case IORING_OP_POLL_REMOVE:
        if (e->len) return -EOPNOTSUPP;                 // updates: poll again instead
        return aio__ep_cancel_data(k, e->addr, IORING_OP_POLL_ADD);
    case IORING_OP_TIMEOUT: return aio__ep_timeout(e);
    case IORING_OP_TIMEOUT_REMOVE:
        if (e->timeout_flags) return -EOPNOTSUPP;
        return aio__ep_cancel_data(k, e->addr, IORING_OP_TIMEOUT);
    case IORING_OP_FILES_UPDATE: return aio__ep_files_update(k, e);
    case AIO__OP_PIPE: return aio__ep_pipe(k, e);
    case AIO__OP_FIXED_FD_INSTALL: return aio__ep_install(e);
    case AIO__OP_EPOLL_WAIT: return aio__ep_epoll_wait(e);
    case IORING_OP_SOCKET: return aio__ep_result(socket(e->fd, (int)e->off, (int)e->len));
    case IORING_OP_EPOLL_CTL:
        return aio__ep_result(epoll_ctl(e->fd, (int)e->len, (int)e->off,
                                        (struct epoll_event *)(uintptr_t)e->addr));
    case IORING_OP_SHUTDOWN:
    case AIO__OP_BIND:
    case AIO__OP_LISTEN:
    case IORING_OP_URING_CMD:
    case AIO__OP_FUTEX_WAKE: return aio__ep_prompt(e);
    case IORING_OP_FSYNC:
    case IORING_OP_SYNC_FILE_RANGE:
    case IORING_OP_FALLOCATE:
    case IORING_OP_STATX:
    case IORING_OP_FADVISE:
    case IORING_OP_MADVISE:
    case IORING_OP_RENAMEAT:
    case IORING_OP_UNLINKAT:
    case IORING_OP_MKDIRAT:
    case IORING_OP_SYMLINKAT:
    case IORING_OP_LINKAT:
    case IORING_OP_FSETXATTR:
    case IORING_OP_SETXATTR:
    case IORING_OP_FGETXATTR:
    case IORING_OP_GETXATTR:
    case AIO__OP_FTRUNCATE: return AIO__EP_FILE;
    case IORING_OP_OPENAT:
    case IORING_OP_OPENAT2:
    case IORING_OP_SPLICE:
    case IORING_OP_TEE:
    case AIO__OP_FUTEX_WAIT:
    case AIO__OP_FUTEX_WAITV: return AIO__EP_SLOW;
    case IORING_OP_LINK_TIMEOUT: return -EINVAL;
    default: return -EOPNOTSUPP;
    }
}

// --- threads
// A signal that interrupts the call of a thread: one that nobody handles.
AIO_FN void aio__ep_interrupted(int number) { (void)number; }
AIO_COLD int aio__ep_choose_signal(void)
{
    int number = __atomic_load_n(&aio__ep_signal, __ATOMIC_RELAXED);
    struct sigaction old, ours;
    if (number) return number;
    memset((void *)&ours, 0, sizeof ours);
    ours.sa_handler = aio__ep_interrupted;      // no SA_RESTART
    for (number = SIGRTMAX; number > SIGRTMIN; number--) {
        if (!sigaction(number, 0, &old) && old.sa_handler == SIG_DFL &&
            !sigaction(number, &ours, 0))
            break;
    }
    if (number == SIGRTMIN) number = -1;
    __atomic_store_n(&aio__ep_signal, number, __ATOMIC_RELAXED);
    return number;
}
AIO_FN long aio__ep_futex_wait(const struct io_uring_sqe *e)
{
    int op = FUTEX_WAIT_BITSET | ((unsigned)e->fd & AIO_FUTEX_PRIVATE ? FUTEX_PRIVATE_FLAG : 0);
    uint64_t mask;
    memcpy(&mask, (const char *)e + 48, sizeof mask);
    if (((unsigned)e->fd & ~AIO_FUTEX_PRIVATE) != AIO_FUTEX_U32) return -EINVAL;
    if (mask > UINT32_MAX) return -EINVAL;
    return aio__ep_result(syscall(SYS_futex, (void *)(uintptr_t)e->addr, op, (uint32_t)e->off, 0, 0,
                                  (uint32_t)mask));
}
#define AIO__EP_SYS_FUTEX_WAITV 449
// On a thread.
AIO_FN long aio__ep_blocking_call(const struct io_uring_sqe *e)
{
    void *addr = (void *)(uintptr_t)e->addr, *addr2 = (void *)(uintptr_t)e->addr2;
    const char *path = (const char *)addr;
    uint64_t words[7];
    int64_t in = (int64_t)e->splice_off_in, out = (int64_t)e->off;
    off_t to = (off_t)(e->len ? e->off + e->len : 0);
    long r = -1;
    switch (e->opcode) {
    case IORING_OP_FSYNC:
        if (e->fsync_flags & ~IORING_FSYNC_DATASYNC) return -EINVAL;
        r = e->fsync_flags & IORING_FSYNC_DATASYNC ? fdatasync(e->fd) : fsync(e->fd);
        break;
    case IORING_OP_SYNC_FILE_RANGE:
        r = sync_file_range(e->fd, (off_t)e->off, to ? to - (off_t)e->off : 0,
                            e->sync_range_flags);
        break;
    case IORING_OP_FALLOCATE:
        r = fallocate(e->fd, (int)e->len, (off_t)e->off, (off_t)e->addr);
        break;
    case IORING_OP_STATX:
        r = syscall(SYS_statx, e->fd, path, e->statx_flags, e->len, addr2);
        break;
    case IORING_OP_FADVISE:
        return -posix_fadvise(e->fd, (off_t)e->off, (off_t)(e->len ? e->len : e->addr),
                              (int)e->fadvise_advice);
    case IORING_OP_MADVISE:
        r = madvise(addr, e->len ? e->len : (size_t)e->off, (int)e->fadvise_advice);
        break;
    case IORING_OP_RENAMEAT:
        r = syscall(SYS_renameat2, e->fd, path, (int)e->len, addr2, e->rename_flags);
        break;
    case IORING_OP_UNLINKAT: r = unlinkat(e->fd, path, (int)e->unlink_flags); break;
    case IORING_OP_OPENAT:
        r = openat(e->fd, path, (int)e->open_flags, (mode_t)e->len);
        break;
    case IORING_OP_OPENAT2: r = syscall(437, e->fd, path, addr2, (size_t)e->len); break;
    case IORING_OP_SPLICE:
        if (!e->len && fcntl(e->fd, F_GETFD) < 0) return -EBADF;
        r = splice(e->splice_fd_in, in == -1 ? 0 : &in, e->fd, out == -1 ? 0 : &out, e->len,
                   e->splice_flags & ~SPLICE_F_FD_IN_FIXED);
        break;
    case IORING_OP_TEE:
        if (!e->len && fcntl(e->fd, F_GETFD) < 0) return -EBADF;
        r = tee(e->splice_fd_in, e->fd, e->len, e->splice_flags & ~SPLICE_F_FD_IN_FIXED);
        break;
    case IORING_OP_CLOSE: r = close(e->fd); break;
    case IORING_OP_CONNECT: r = connect(e->fd, (struct sockaddr *)addr, (socklen_t)e->off); break;
    case AIO__OP_FUTEX_WAIT: return aio__ep_futex_wait(e);
    case AIO__OP_FUTEX_WAITV: r = syscall(AIO__EP_SYS_FUTEX_WAITV, addr, e->len, 0, 0, 0); break;
    case IORING_OP_MKDIRAT:
    case IORING_OP_SYMLINKAT:
    case IORING_OP_LINKAT:
    case IORING_OP_FSETXATTR:
    case IORING_OP_SETXATTR:
    case IORING_OP_FGETXATTR:
    case IORING_OP_GETXATTR:
    case AIO__OP_FTRUNCATE: aio__ep_words(e, words); return aio__entry_call(words);
    default: return aio__ep_transfer(e, 0);
    }
    return aio__ep_result(r);
}
// Tells the loop's thread. Called under the lock.
AIO_FN void aio__ep_finish(struct aio__ep *k, struct aio__ep_op *op)
{
    uint64_t one = 1;
    bool first = !k->finished.first;
    aio__ep_append(&k->finished, op);
    while (first && write(k->wake, &one, sizeof one) < 0 && errno == EINTR) {
    }
}
AIO_FN bool aio__ep_wait_for_work(struct aio__ep *k, int lane)  // false: idle for long
{
    struct timespec until;
    struct aio__ep_lane *l = &k->lanes[lane];
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += AIO__EP_IDLE_SECONDS;
    l->idle++;
    int r = pthread_cond_timedwait(&k->work[lane], &k->lock, &until);
    l->idle--;
    return r != ETIMEDOUT || l->queue.first;
}
AIO_FN void aio__ep_thread(struct aio__ep *k, int lane)
{
    struct aio__ep_lane *l = &k->lanes[lane];
    struct aio__ep_op *op;
    pthread_mutex_lock(&k->lock);
    while (!k->stop || l->queue.first) {
        if (!(op = l->queue.first)) {
            if (!aio__ep_wait_for_work(k, lane)) break;
            continue;
        }
        aio__ep_unlink(&l->queue, op);
        op->where = AIO__EP_RUNS;
        op->thread = pthread_self();
        pthread_mutex_unlock(&k->lock);
        long r = aio__ep_blocking_call(&op->e);
        pthread_mutex_lock(&k->lock);
        op->where = AIO__EP_NOWHERE;
        op->res = (int)r;
        aio__ep_finish(k, op);
    }
    l->threads--;
    pthread_cond_signal(&k->gone);
    pthread_mutex_unlock(&k->lock);
}
AIO_FN void *aio__ep_file_thread(void *arg)
{
    aio__ep_thread((struct aio__ep *)arg, 0);
    return 0;
}
AIO_FN void *aio__ep_slow_thread(void *arg)
{
    sigset_t wanted;
    int number = aio__ep_choose_signal();
    sigemptyset(&wanted);
    if (number > 0) sigaddset(&wanted, number);
    pthread_sigmask(SIG_UNBLOCK, &wanted, 0);
    aio__ep_thread((struct aio__ep *)arg, 1);
    return 0;
}
AIO_FN void aio__ep_job_fd(struct aio__ep *k, const struct aio__ep_op *op, int by)
{
    struct aio__ep_fd *f = aio__ep_fd_of(k, op->e.fd);
    if (f && aio__op_is(op->e.opcode, AIO__OP_FD)) f->jobs += (uint32_t)by;
    if (!aio__op_is(op->e.opcode, AIO__OP_TWO_FDS)) return;
    f = aio__ep_fd_of(k, op->e.splice_fd_in);
    if (f) f->jobs += (uint32_t)by;
}
// Result: 0, or -EAGAIN: there is no thread, and none can be made.
AIO_FN int aio__ep_enqueue(struct aio__ep *k, struct aio__ep_op *op, int lane)
{
    struct aio__ep_lane *l = &k->lanes[lane];
    int r = 0;
    pthread_mutex_lock(&k->lock);
    if (!l->idle && l->threads < l->limit) {
        aio_result made = aio__thread_new(lane ? aio__ep_slow_thread : aio__ep_file_thread, k);
        if (made >= 0) l->threads++;
        else if (!l->threads) r = -EAGAIN;
    }
    if (r >= 0) {
        op->lane = lane;
        op->where = AIO__EP_QUEUED;
        aio__ep_append(&l->queue, op);
        pthread_cond_signal(&k->work[lane]);
    }
    pthread_mutex_unlock(&k->lock);
    if (r < 0) return r;
    aio__ep_hash_in(k, op);
    aio__ep_job_fd(k, op, 1);
    k->jobs++;
    return 0;
}
AIO_FN void aio__ep_returned(struct aio__ep *k, struct aio__ep_op *op)  // from its lane
{
    k->jobs--;
    k->interrupted -= op->interrupted;
    aio__ep_job_fd(k, op, -1);
    aio__ep_idle(k, op->e.fd);
    if (aio__op_is(op->e.opcode, AIO__OP_TWO_FDS)) aio__ep_idle(k, op->e.splice_fd_in);
}
AIO_COLD void aio__ep_interrupt_again(struct aio__ep *k)
{
    int number = aio__ep_choose_signal();
    if (number < 0) return;
    pthread_mutex_lock(&k->lock);               // a thread that runs does not end meanwhile
    for (uint32_t i = 0; i <= k->hash_mask; i++) {
        for (struct aio__ep_op *op = k->hash[i]; op; op = op->same_hash)
            if (op->where == AIO__EP_RUNS && op->interrupted && op->lane)
                pthread_kill(op->thread, number);
    }
    pthread_mutex_unlock(&k->lock);
}

// --- beginning, waiting, going on
AIO_FN bool aio__ep_multishot(const struct io_uring_sqe *e)
{
    switch (e->opcode) {
    case IORING_OP_ACCEPT: return e->ioprio & IORING_ACCEPT_MULTISHOT;
    case IORING_OP_RECV:
    case IORING_OP_RECVMSG: return e->ioprio & IORING_RECV_MULTISHOT;
    case IORING_OP_POLL_ADD: return e->len & IORING_POLL_ADD_MULTI;
    case AIO__OP_READ_MULTISHOT: return true;
    default: return false;
    }
}
AIO_FN bool aio__ep_waits(long r)
{
    return r == AIO__EP_WAIT_IN || r == AIO__EP_WAIT_OUT || r == AIO__EP_WAIT_POLL;
}
// A descriptor that an operation has made: the number is new, and may belong into a slot.
AIO_FN long aio__ep_made(struct aio__ep *k, const struct io_uring_sqe *e, long r)
{
    if (r < 0 || !aio__op_is(e->opcode, AIO__OP_GIVES_FD)) return r;
    aio__ep_forget(k, (int)r);
    bool into = e->opcode != AIO__OP_FIXED_FD_INSTALL && e->file_index;
    return into ? aio__ep_into(k, (int)r, e->file_index) : r;
}
// The end of one that cannot be done later, or had to be done in full.
AIO_FN void aio__ep_wait_begin(struct aio__ep *k, struct aio__ep_op *op, long r)
{
    int fd = op->e.fd;
    struct aio__ep_fd *f = aio__ep_fd_of(k, fd);
    bool was = f && f->registered;
    int watch = aio__ep_watch(k, fd);
    f = aio__ep_fd_of(k, fd);
    if (watch == -EPERM && r != AIO__EP_WAIT_POLL) watch = -EAGAIN;
    if (watch == -EPERM) watch = (int)aio__ep_poll_events(&op->e) & (POLLIN | POLLOUT);
    if (watch || (f->nonblocking && r != AIO__EP_WAIT_POLL && !aio__ep_done(&op->e) &&
                  aio__ep_nonblocking(fd))) {
        aio__ep_end(k, op, watch ? watch : -EAGAIN, 0);
        return;
    }
    op->events = r == AIO__EP_WAIT_IN    ? AIO__EP_IN
                 : r == AIO__EP_WAIT_OUT ? AIO__EP_OUT
                                         : (aio__ep_poll_events(&op->e) & 0x3fff) |
                                               (unsigned)(EPOLLHUP | EPOLLERR);
    op->where = AIO__EP_ON_FD;
    aio__ep_append(&f->ops, op);
    aio__ep_hash_in(k, op);
    if (was) aio__ep_doubt(k, fd);
}
AIO_FN void aio__ep_notify(struct aio__ep *k, struct aio__ep_op *op, long r)
{
    bool zc = r >= 0 && aio__op_is(op->e.opcode, AIO__OP_SEND_ZC);
    uint64_t user_data = op->e.user_data;
    if (!zc) {
        aio__ep_end(k, op, (int)r, 0);
    } else if (aio__ep_room(k) > 1) {       // the notification is the end
        aio__ep_post(k, user_data, (int)r, IORING_CQE_F_MORE);
        op->e.flags &= (uint8_t)~IOSQE_CQE_SKIP_SUCCESS;
        struct aio__ep_op *next = op->link;
        bool goes_on = (op->e.flags & IOSQE_IO_HARDLINK) || !aio__ep_breaks(&op->e, (int)r);
        op->link = 0;
        aio__ep_end(k, op, 0, AIO__CQE_NOTIF);
        if (next && goes_on) aio__ep_go(k, next);
        for (struct aio__ep_op *after; next && !goes_on; next = after) {
            after = next->link;
            aio__ep_settle(k, next, -ECANCELED, 0);
        }
    } else {                                // what it sent is free: nothing is left to be told
        aio__ep_end(k, op, (int)r, 0);
    }
}
AIO_FN void aio__ep_timer_begin(struct aio__ep *k, struct aio__ep_op *op)
{
    op->deadline = (int64_t)aio__ep_done(&op->e);
    op->where = AIO__EP_TIMED;
    aio__ep_append(&k->timers, op);
    aio__ep_hash_in(k, op);
}
// What an attempt of an operation that is in no list gave.
AIO_FN void aio__ep_after(struct aio__ep *k, struct aio__ep_op *op, long r, unsigned cqe_flags)
{
    if (aio__ep_waits(r)) {
        aio__ep_wait_begin(k, op, r);
    } else if (r == AIO__EP_FILE || r == AIO__EP_SLOW) {
        int began = aio__ep_enqueue(k, op, r == AIO__EP_SLOW);
        if (began < 0) aio__ep_end(k, op, began, 0);
    } else if (r == AIO__EP_TIMER) {
        aio__ep_timer_begin(k, op);
    } else if (aio__op_is(op->e.opcode, AIO__OP_SEND_ZC)) {
        aio__ep_notify(k, op, r);
    } else {
        aio__ep_end(k, op, (int)aio__ep_made(k, &op->e, r), cqe_flags);
    }
}
// One that goes on: posts what there is now. Result: as an attempt's, and AIO__EP_AGAIN; a result
// is its last.
AIO_FN long aio__ep_many(struct aio__ep *k, struct aio__ep_op *op, unsigned *last_flags)
{
    for (int n = 0; n < AIO__EP_BURST; n++) {
        unsigned cqe_flags = 0;
        if (aio__ep_room(k) < 2) return AIO__EP_AGAIN;
        long r = aio__ep_attempt(k, &op->e, &cqe_flags);
        bool over = r < 0 || (r == 0 && op->e.opcode != IORING_OP_ACCEPT &&
                              !(cqe_flags & IORING_CQE_F_BUFFER));
        *last_flags = cqe_flags;
        if (over) return r;
        r = aio__ep_made(k, &op->e, r);
        if (r < 0) return r;
        aio__ep_post(k, op->e.user_data, (int)r, cqe_flags | IORING_CQE_F_MORE);
        if (op->e.opcode == IORING_OP_POLL_ADD) return AIO__EP_WAIT_POLL;
    }
    return AIO__EP_AGAIN;
}
AIO_FN void aio__ep_many_begin(struct aio__ep *k, struct aio__ep_op *op)
{
    unsigned cqe_flags = 0;
    long r = aio__ep_many(k, op, &cqe_flags);
    bool again = r == AIO__EP_AGAIN;
    int fd = op->e.fd;
    if (again) r = op->e.opcode == IORING_OP_POLL_ADD ? AIO__EP_WAIT_POLL : AIO__EP_WAIT_IN;
    aio__ep_after(k, op, r, cqe_flags);
    if (again && aio__ep_fd_of(k, fd) && k->fds[fd].ops.first) aio__ep_ready_add(k, fd, AIO__EP_IN);
}
// Transfers keep their order: 1: in, 2: out, 0: no transfer.
AIO_FN unsigned aio__ep_direction(unsigned op)
{
    const uint64_t in =
        UINT64_C(1) << IORING_OP_READ | UINT64_C(1) << IORING_OP_READV |
        UINT64_C(1) << IORING_OP_READ_FIXED | UINT64_C(1) << AIO__OP_READV_FIXED |
        UINT64_C(1) << AIO__OP_READ_MULTISHOT | UINT64_C(1) << IORING_OP_RECV |
        UINT64_C(1) << IORING_OP_RECVMSG | UINT64_C(1) << IORING_OP_ACCEPT;
    const uint64_t out =
        UINT64_C(1) << IORING_OP_WRITE | UINT64_C(1) << IORING_OP_WRITEV |
        UINT64_C(1) << IORING_OP_WRITE_FIXED | UINT64_C(1) << AIO__OP_WRITEV_FIXED |
        UINT64_C(1) << IORING_OP_SEND | UINT64_C(1) << IORING_OP_SENDMSG |
        UINT64_C(1) << IORING_OP_SEND_ZC | UINT64_C(1) << AIO__OP_SENDMSG_ZC;
    uint64_t bit = aio__op_bit(op);
    return bit & in ? 1 : bit & out ? 2 : 0;
}
// Another one of its direction waits already: behind it.
AIO_FN long aio__ep_behind(const struct aio__ep *k, const struct io_uring_sqe *e)
{
    if ((uint32_t)e->fd >= k->fd_capacity || !k->fds[e->fd].ops.first) return 0;
    unsigned direction = aio__ep_direction(e->opcode);
    if (!direction) return 0;
    for (const struct aio__ep_op *op = k->fds[e->fd].ops.first; op; op = op->next) {
        if (aio__ep_direction(op->e.opcode) == direction)
            return direction == 2 ? AIO__EP_WAIT_OUT : AIO__EP_WAIT_IN;
    }
    return 0;
}
// Direct descriptors become those behind them. Result: 0, or why it cannot begin.
AIO_FN long aio__ep_prepare(struct aio__ep *k, struct io_uring_sqe *e)
{
    struct iovec v;
    if (!(k->allowed & aio__op_bit(e->opcode))) return e->opcode < 64 ? -EACCES : -EINVAL;
    if (e->opcode != IORING_OP_CLOSE && (e->flags & IOSQE_FIXED_FILE)) {
        e->fd = aio__ep_slot_fd(k, e->fd);
        e->flags &= (uint8_t)~IOSQE_FIXED_FILE;
        if (e->fd < 0) return -EBADF;
    }
    if (aio__op_is(e->opcode, AIO__OP_TWO_FDS) && (e->splice_flags & SPLICE_F_FD_IN_FIXED)) {
        e->splice_fd_in = aio__ep_slot_fd(k, e->splice_fd_in);
        if (e->splice_fd_in < 0) return -EBADF;
    }
    if (aio__op_is(e->opcode, AIO__OP_SEND_ZC) && (e->ioprio & IORING_RECVSEND_FIXED_BUF)) {
        v.iov_base = (void *)(uintptr_t)e->addr;
        v.iov_len = e->len;
        if (!aio__ep_inside(k, e->buf_index, &v)) return -EFAULT;
    }
    if (e->flags & IOSQE_IO_DRAIN) return -EOPNOTSUPP;      // nobody asks for it
    if (aio__op_is(e->opcode, AIO__OP_FD)) aio__ep_set_done(e, 0);
    return 0;
}
AIO_FN void aio__ep_go(struct aio__ep *k, struct aio__ep_op *op)
{
    unsigned cqe_flags = 0;
    long r = aio__ep_prepare(k, &op->e);
    if (!r) r = aio__ep_behind(k, &op->e);
    else if (r < 0) {
        aio__ep_end(k, op, (int)r, 0);
        return;
    }
    if (!r && aio__ep_multishot(&op->e)) {
        aio__ep_many_begin(k, op);
        return;
    }
    if (!r) r = aio__ep_attempt(k, &op->e, &cqe_flags);
    aio__ep_after(k, op, r, cqe_flags);
}
// One entry of its own.
AIO_FN void aio__ep_start(struct aio__ep *k, struct io_uring_sqe *e)
{
    unsigned cqe_flags = 0;
    struct aio__ep_op *op;
    long r = aio__ep_prepare(k, e);
    bool many = !r && aio__ep_multishot(e);
    if (!r) r = aio__ep_behind(k, e);
    if (!r && !many) r = aio__ep_attempt(k, e, &cqe_flags);
    if (AIO__LIKELY(!many && r > AIO__EP_WAIT_IN && !aio__op_is(e->opcode, AIO__OP_SEND_ZC))) {
        r = aio__ep_made(k, e, r);
        if (r < 0 || !(e->flags & IOSQE_CQE_SKIP_SUCCESS))
            aio__ep_post(k, e->user_data, (int)r, cqe_flags);
        return;
    }
    op = aio__ep_take(k, e);
    if (!op) {                          // what has been transferred is not lost
        bool some = aio__ep_direction(e->opcode) && aio__ep_done(e);
        if (r <= AIO__EP_WAIT_IN || many) r = some ? (long)aio__ep_done(e) : -ENOMEM;
        aio__ep_post(k, e->user_data, (int)r, 0);
        return;
    }
    if (many && !r) aio__ep_many_begin(k, op);
    else aio__ep_after(k, op, r, cqe_flags);
}
// Collects the entries of a chain, and begins it after its last. Without memory for one it ends.
AIO_FN void aio__ep_collect(struct aio__ep *k, const struct io_uring_sqe *e)
{
    struct aio__ep_op *op = k->chain_broken ? 0 : aio__ep_take(k, e), *head = k->chain, *next;
    bool last = !(e->flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK));
    if (!op) {
        aio__ep_post(k, e->user_data, k->chain_broken ? -ECANCELED : -ENOMEM, 0);
        for (k->chain = 0; head; head = next) {
            next = head->link;
            aio__ep_settle(k, head, -ECANCELED, 0);
        }
    } else {
        if (!head) head = k->chain = op;
        else head->link_last->link = op;
        head->link_last = op;
    }
    k->chain_broken = !op && !last;
    if (!op || !last) return;
    k->chain = 0;
    aio__ep_go(k, head);
}
// As io_uring's: a chain that is cut by the end of what is submitted begins, without the rest.
AIO_FN int aio__ep_submit(struct aio__ep *k, uint32_t submit)
{
    int n = 0, why = 0;
    for (; submit && k->sq_head != k->sq_tail; n++, submit--) {
        struct io_uring_sqe *e = &k->sqes[k->sq_head & k->sq_mask];
        bool linked = k->chain || k->chain_broken ||
                      (e->flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK));
        if (aio__ep_room(k) < 2) why = -EBUSY;
        if (why) break;
        if (linked) aio__ep_collect(k, e);
        else aio__ep_start(k, e);
        __atomic_store_n(&k->sq_head, k->sq_head + 1, __ATOMIC_RELEASE);
    }
    struct aio__ep_op *cut = k->chain;
    k->chain = 0;
    k->chain_broken = false;
    if (cut) aio__ep_go(k, cut);
    return n ? n : why;
}

// --- events
// Tries one that waits in a list again. False: it waits on.
AIO_FN bool aio__ep_retry(struct aio__ep *k, int fd, struct aio__ep_op *op, uint32_t events)
{
    unsigned cqe_flags = 0;
    bool many = aio__ep_multishot(&op->e), poll = op->e.opcode == IORING_OP_POLL_ADD;
    long r;
    if (many && poll) {                     // an edge is all it wants, whatever came of it
        if (aio__ep_room(k) < 2) {
            aio__ep_ready_add(k, fd, events);
            return false;
        }
        aio__ep_post(k, op->e.user_data, (int)(events & op->events), IORING_CQE_F_MORE);
        return false;
    }
    r = many ? aio__ep_many(k, op, &cqe_flags) : aio__ep_attempt(k, &op->e, &cqe_flags);
    if (r == AIO__EP_AGAIN) aio__ep_ready_add(k, fd, events & op->events);
    if (r == AIO__EP_AGAIN || aio__ep_waits(r)) return false;
    aio__ep_unlink(&k->fds[fd].ops, op);
    op->where = AIO__EP_NOWHERE;
    aio__ep_after(k, op, r, cqe_flags);
    aio__ep_idle(k, fd);
    return true;
}
// Later ones of a kind do not overtake one that waits on.
AIO_FN void aio__ep_act(struct aio__ep *k, int fd, uint32_t events)
{
    struct aio__ep_op *op = k->fds[fd].ops.first, *next, *last = k->fds[fd].ops.last;
    bool stuck[3] = { false, false, false };
    for (; op; op = next) {
        unsigned direction = aio__ep_direction(op->e.opcode);
        next = op == last ? 0 : op->next;
        if (!(op->events & events) || stuck[direction]) continue;
        if (aio__ep_room(k) < 2) {
            aio__ep_ready_add(k, fd, events);
            return;
        }
        if (!aio__ep_retry(k, fd, op, events)) stuck[direction] = direction != 0;
    }
}
AIO_FN void aio__ep_act_on_all(struct aio__ep *k)
{
    int last = k->ready < 0 ? -1 : k->ready_last, fd;
    while ((fd = k->ready) >= 0 && aio__ep_room(k) > 1) {
        struct aio__ep_fd *f = &k->fds[fd];
        uint32_t events = f->events;
        k->ready = f->next_ready;
        f->next_ready = -2;
        f->events = 0;
        if (f->ops.first) aio__ep_act(k, fd, events);
        if (fd == last) break;              // those that came since wait for the next turn
    }
}
AIO_COLD void aio__ep_collect_finished(struct aio__ep *k)
{
    struct aio__ep_op *op, *next;
    pthread_mutex_lock(&k->lock);
    op = k->finished.first;
    k->finished.first = k->finished.last = 0;
    pthread_mutex_unlock(&k->lock);
    for (; op; op = next) {
        next = op->next;
        aio__ep_returned(k, op);
        int r = op->res;
        if (r == -EINTR && !op->interrupted) {
            aio__ep_after(k, op, op->lane ? AIO__EP_SLOW : AIO__EP_FILE, 0);
            continue;
        }
        aio__ep_end(k, op, (int)aio__ep_made(k, &op->e, r), 0);
    }
}
AIO_FN void aio__ep_told(struct aio__ep *k, const struct epoll_event *event)
{
    uint64_t count;
    if (event->data.u64 == AIO__EP_WAKE) {
        while (read(k->wake, &count, sizeof count) < 0 && errno == EINTR) {
        }
        aio__ep_collect_finished(k);
        return;
    }
    struct aio__ep_fd *f = &k->fds[event->data.u64];
    f->heard = true;
    f->drained = false;
    // The end of the stream, or urgent data: a short read does not mean that it is empty.
    if (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) f->tcp = false;
    if (f->ops.first) aio__ep_ready_add(k, (int)event->data.u64, event->events);
}
AIO_COLD int64_t aio__ep_expire(struct aio__ep *k)      // timers; until the next one, or FOREVER
{
    int64_t now = aio__ep_clock(0), left = AIO_FOREVER;
    struct aio__ep_op *op = k->timers.first, *next;
    for (; op; op = next) {
        next = op->next;
        if (op->deadline > now) {
            if (op->deadline - now < left) left = op->deadline - now;
            continue;
        }
        aio__ep_unlink(&k->timers, op);
        op->where = AIO__EP_NOWHERE;
        aio__ep_end(k, op, -ETIME, 0);
    }
    return left;
}
AIO_FN int aio__ep_sleep(struct aio__ep *k, struct epoll_event *events, int64_t ns)
{
    const int pwait2 = 441;
    if (ns > 0 && ns < AIO_FOREVER && ns % AIO_MSEC && !k->old_wait) {
        struct __kernel_timespec ts;
        ts.tv_sec = ns / AIO_SECOND;
        ts.tv_nsec = ns % AIO_SECOND;
        long r = syscall(pwait2, k->epoll, events, (int)AIO__EP_EVENTS, &ts, 0, 0);
        if (r >= 0 || (errno != ENOSYS && errno != EPERM)) return (int)r;
        k->old_wait = true;
    }
    int64_t ms = ns == AIO_FOREVER ? -1 : ns / AIO_MSEC + (ns % AIO_MSEC != 0);
    return epoll_wait(k->epoll, events, AIO__EP_EVENTS, ms > INT32_MAX ? INT32_MAX : (int)ms);
}
AIO_FN bool aio__ep_posted(const struct aio__ep *k)     // is there something to take?
{
    return k->cq_tail != __atomic_load_n(&k->cq_head, __ATOMIC_RELAXED);
}
// How long it may sleep of timeout_ns; what is due is done.
AIO_FN int64_t aio__ep_limit(struct aio__ep *k, int64_t timeout_ns)
{
    int64_t limit = timeout_ns;
    if (k->timers.first) {
        int64_t left = aio__ep_expire(k);
        if (left < limit) limit = left;
    }
    if (k->interrupted) {
        aio__ep_interrupt_again(k);
        if (limit > 10 * AIO_MSEC) limit = 10 * AIO_MSEC;
    }
    if (aio__ep_in_doubt(k)) {
        if (aio__clock() - k->doubt_since >= AIO__EP_DOUBT_NS) aio__ep_verify(k);
        if (aio__ep_in_doubt(k) && limit > AIO__EP_DOUBT_NS) limit = AIO__EP_DOUBT_NS;
    }
    return aio__ep_posted(k) || k->ready >= 0 ? 0 : limit;
}
AIO_FN int aio__ep_enter(aio_uring *u, uint32_t submit, int64_t timeout_ns)
{
    struct aio__ep *k = aio__ep_of(u);
    struct epoll_event events[AIO__EP_EVENTS];
    if (u->ring.ring_fd < 0) return -EBADF;
    if (k->no_room.first) aio__ep_flush(k);
    int submitted = submit ? aio__ep_submit(k, submit) : 0, n;
    if (submitted < (int)submit) timeout_ns = 0;        // there is no room: it is to be made first
    int64_t until = timeout_ns > 0 && timeout_ns < AIO_FOREVER ? aio__clock() + timeout_ns : 0;
    for (;;) {
        int64_t limit = aio__ep_limit(k, timeout_ns);
        bool enough = aio__ep_posted(k) && k->ready < 0 && ++k->unseen < AIO__EP_UNSEEN;
        if (enough || (!limit && !k->hashed)) break;
        k->unseen = 0;
        n = aio__ep_sleep(k, events, limit);
        if (n < 0 && errno != EINTR) return errno == EINVAL ? -EBADF : -errno;
        if (n < 0 && limit) return -EINTR;
        for (int i = 0; i < n; i++) aio__ep_told(k, &events[i]);
        aio__ep_act_on_all(k);
        if (aio__ep_posted(k) || !timeout_ns) break;
        if (timeout_ns != AIO_FOREVER && (timeout_ns = until - aio__clock()) <= 0) {
            submitted = submitted ? submitted : -ETIME;
            break;
        }
    }
    k->sq_flags = k->waiting || k->ready >= 0 || k->no_room.first ? IORING_SQ_TASKRUN : 0;
    return submitted;
}

// --- cancelling
// Result: 0, or -EALREADY: it runs.
AIO_FN int aio__ep_cancel_one(struct aio__ep *k, struct aio__ep_op *op)
{
    uint64_t done = aio__op_is(op->e.opcode, AIO__OP_FD) ? aio__ep_done(&op->e) : 0;
    int fd = op->e.fd;
    enum aio__ep_where where = op->where;
    if (where == AIO__EP_QUEUED || where == AIO__EP_RUNS || where == AIO__EP_NOWHERE) {
        pthread_mutex_lock(&k->lock);
        where = op->where;
        if (where == AIO__EP_QUEUED) aio__ep_unlink(&k->lanes[op->lane].queue, op);
        pthread_mutex_unlock(&k->lock);
        if (where != AIO__EP_QUEUED) {
            k->interrupted += !op->interrupted;
            op->interrupted = true;
            if (op->lane) aio__ep_interrupt_again(k);
            return -EALREADY;
        }
        aio__ep_returned(k, op);
        done = 0;
    }
    if (where == AIO__EP_ON_FD) aio__ep_unlink(&k->fds[fd].ops, op);
    if (where == AIO__EP_TIMED) aio__ep_unlink(&k->timers, op);
    op->where = AIO__EP_NOWHERE;
    bool some = done && where == AIO__EP_ON_FD && op->e.opcode != IORING_OP_CONNECT;
    aio__ep_end(k, op, some ? (int)done : -ECANCELED, 0);
    if (where == AIO__EP_ON_FD) aio__ep_idle(k, fd);
    return 0;
}
AIO_FN struct aio__ep_op *aio__ep_find(struct aio__ep *k, uint64_t user_data)
{
    struct aio__ep_op *op = *aio__ep_bucket(k, user_data);
    while (op && op->e.user_data != user_data) op = op->same_hash;
    return op;
}
AIO_FN long aio__ep_cancel_data(struct aio__ep *k, uint64_t user_data, unsigned opcode)
{
    struct aio__ep_op *op = aio__ep_find(k, user_data);
    return op && op->e.opcode == opcode ? aio__ep_cancel_one(k, op) : -ENOENT;
}
AIO_FN bool aio__ep_uses(const struct aio__ep_op *op, int fd)
{
    bool two = aio__op_is(op->e.opcode, AIO__OP_TWO_FDS) && op->e.splice_fd_in == fd;
    return two || (op->e.fd == fd && aio__op_is(op->e.opcode, AIO__OP_FD));
}
// All, or all on a descriptor: those that begin meanwhile, as the next of a chain, are left.
AIO_COLD long aio__ep_cancel_many(struct aio__ep *k, int fd)
{
    long n = 0;
    k->searching = true;
    for (uint32_t i = 0; i <= k->hash_mask; i++) {
        for (struct aio__ep_op *op = k->hash[i], *next; op; op = next) {
            next = op->same_hash;
            if ((fd >= 0 && !aio__ep_uses(op, fd)) || op->interrupted) continue;
            aio__ep_cancel_one(k, op);
            n++;
        }
    }
    k->searching = false;
    return n;
}
AIO_FN long aio__ep_cancel(struct aio__ep *k, const struct io_uring_sqe *e)
{
    struct aio__ep_op *op;
    unsigned how = e->cancel_flags;
    long n = 0, r = -ENOENT;
    if (how & IORING_ASYNC_CANCEL_ANY) return aio__ep_cancel_many(k, -1);
    if (how & IORING_ASYNC_CANCEL_FD) {
        n = e->fd < 0 ? 0 : aio__ep_cancel_many(k, e->fd);
        return n || (how & IORING_ASYNC_CANCEL_ALL) ? n : -ENOENT;
    }
    while ((op = aio__ep_find(k, e->addr)) != 0) {
        r = aio__ep_cancel_one(k, op);
        n++;
        if (r < 0 || !(how & IORING_ASYNC_CANCEL_ALL)) break;
    }
    return how & IORING_ASYNC_CANCEL_ALL ? n : r;
}

// --- registrations
AIO_COLD int aio__ep_buffers_put(struct aio__ep *k, const struct iovec *v, unsigned n)
{
    if (k->buffer_count) return -EBUSY;
    if (!n || n > 16384) return -EINVAL;
    k->buffers = (struct iovec *)aio__chunk_new(k->executor, n * sizeof *v);
    if (!k->buffers) return -ENOMEM;
    memcpy((void *)k->buffers, v, n * sizeof *v);
    k->buffer_count = n;
    return 0;
}
AIO_COLD int aio__ep_buffers_drop(struct aio__ep *k)
{
    if (!k->buffer_count) return -ENXIO;
    aio__chunk_free(k->executor, k->buffers);
    k->buffer_count = 0;
    return 0;
}
AIO_COLD int aio__ep_slots_make(struct aio__ep *k, unsigned n)
{
    if (k->slot_count) return -EBUSY;
    k->slots = (int *)aio__chunk_new(k->executor, n * sizeof *k->slots);
    if (!k->slots) return -ENOMEM;
    memset((void *)k->slots, 0xff, n * sizeof *k->slots);
    k->slot_count = n;
    return 0;
}
AIO_COLD int aio__ep_slots_drop(struct aio__ep *k)
{
    if (!k->slot_count) return -ENXIO;
    for (uint32_t i = 0; i < k->slot_count; i++)
        if (k->slots[i] >= 0) aio__ep_close_owned(k, k->slots[i]);
    aio__chunk_free(k->executor, k->slots);
    k->slot_count = 0;
    return 0;
}
AIO_COLD int aio__ep_group_add(struct aio__ep *k, const struct io_uring_buf_reg *reg)
{
    if (aio__ep_group_of(k, reg->bgid)) return -EEXIST;
    struct aio__ep_group *g = (struct aio__ep_group *)aio__chunk_new(k->executor, sizeof *g);
    if (!g) return -ENOMEM;
    g->entries = (struct io_uring_buf *)(uintptr_t)reg->ring_addr;
    g->group = reg->bgid;
    g->head = 0;
    g->mask = (uint16_t)(reg->ring_entries - 1);
    g->next = k->groups;
    k->groups = g;
    return 0;
}
AIO_COLD int aio__ep_group_drop(struct aio__ep *k, unsigned group)
{
    struct aio__ep_group **at = &k->groups, *g;
    while (*at && (*at)->group != group) at = &(*at)->next;
    if (!(g = *at)) return -ENOENT;
    *at = g->next;
    aio__chunk_free(k->executor, g);
    return 0;
}
AIO_COLD int aio__ep_register(aio_uring *u, unsigned what, void *arg, unsigned n)
{
    struct aio__ep *k = aio__ep_of(u);
    switch (what) {
    case IORING_REGISTER_BUFFERS: return aio__ep_buffers_put(k, (const struct iovec *)arg, n);
    case IORING_UNREGISTER_BUFFERS: return aio__ep_buffers_drop(k);
    case IORING_REGISTER_FILES2: return aio__ep_slots_make(k, n);
    case IORING_UNREGISTER_FILES: return aio__ep_slots_drop(k);
    case IORING_REGISTER_FILES_UPDATE: return aio__ep_slot_put(k, n, *(const int *)arg);
    case IORING_REGISTER_PBUF_RING:
        return aio__ep_group_add(k, (const struct io_uring_buf_reg *)arg);
    case IORING_UNREGISTER_PBUF_RING: return aio__ep_group_drop(k, n);
    case IORING_REGISTER_IOWQ_MAX_WORKERS: k->lanes[1].limit = n; return 0;
    default: return -EINVAL;
    }
}

// --- making and ending one
#define AIO__EP_LACKS(op) (UINT64_C(1) << (op))
// What it can: all but these. waitid and (where there is no descriptor) the rest have other means.
AIO_FN uint64_t aio__ep_has(void)
{
    const uint64_t all = ((UINT64_C(1) << AIO__OP_PIPE) << 1) - 1;
    return all & ~(AIO__EP_LACKS(IORING_OP_PROVIDE_BUFFERS) |
                   AIO__EP_LACKS(IORING_OP_REMOVE_BUFFERS) | AIO__EP_LACKS(IORING_OP_MSG_RING) |
                   AIO__EP_LACKS(AIO__OP_WAITID) | AIO__EP_LACKS(AIO__OP_RECV_ZC) |
                   AIO__EP_LACKS(IORING_OP_LINK_TIMEOUT));
}
AIO_FN const char *aio__ep_how(unsigned op)
{
    switch (op) {
    case IORING_OP_NOP: return "at once";
    case IORING_OP_PROVIDE_BUFFERS:
    case IORING_OP_REMOVE_BUFFERS: return "not available: buffer rings do it";
    case IORING_OP_MSG_RING: return "not available: only an io_uring has a ring to send to";
    case AIO__OP_RECV_ZC: return "not available: needs a network card's queue";
    case AIO__OP_WAITID: return "epoll waits for a pidfd, then a system call";
    case IORING_OP_LINK_TIMEOUT: return "not available: aio_wait_for does it";
    case IORING_OP_TIMEOUT: return "a list of timers";
    case IORING_OP_TIMEOUT_REMOVE:
    case IORING_OP_POLL_REMOVE:
    case IORING_OP_ASYNC_CANCEL: return "at once; what runs on a thread is interrupted";
    case IORING_OP_SEND_ZC:
    case AIO__OP_SENDMSG_ZC: return "without blocking, else epoll; copies";
    case IORING_OP_OPENAT:
    case IORING_OP_OPENAT2:
    case IORING_OP_SPLICE:
    case IORING_OP_TEE:
    case AIO__OP_FUTEX_WAIT:
    case AIO__OP_FUTEX_WAITV: return "a thread of those that may wait for somebody";
    case IORING_OP_READ:
    case IORING_OP_READV:
    case IORING_OP_READ_FIXED:
    case AIO__OP_READV_FIXED:
    case IORING_OP_WRITE:
    case IORING_OP_WRITEV:
    case IORING_OP_WRITE_FIXED:
    case AIO__OP_WRITEV_FIXED: return "without blocking, else epoll; of files a thread";
    default: break;
    }
    const struct aio__operation *o = aio__operation_of(op);
    if (o->without == AIO__WITHOUT_CALL) return "system call";
    if (o->without == AIO__WITHOUT_JOB || (o->traits & AIO__OP_WORKER)) return "a thread";
    if (op == IORING_OP_CLOSE || op == IORING_OP_FILES_UPDATE || op == AIO__OP_FIXED_FD_INSTALL)
        return "system call";
    return "without blocking, else epoll";
}
AIO_COLD void aio__ep_free_all(struct aio__ep *k)
{
    void *slab;
    while ((slab = k->slabs) != 0) {
        memcpy(&k->slabs, slab, sizeof k->slabs);
        aio__chunk_free(k->executor, slab);
    }
    while (k->groups) aio__ep_group_drop(k, k->groups->group);
    aio__ep_buffers_drop(k);
    aio__ep_slots_drop(k);
    if (k->fds) aio__chunk_free(k->executor, k->fds);
    if (k->hash) aio__chunk_free(k->executor, (void *)k->hash);
    pthread_mutex_destroy(&k->lock);
    pthread_cond_destroy(&k->work[0]);
    pthread_cond_destroy(&k->work[1]);
    pthread_cond_destroy(&k->gone);
    aio__chunk_free(k->executor, k);
}
AIO_COLD void aio__ep_close_ring(aio_uring *u)
{
    struct aio__ep *k = aio__ep_of(u);
    struct timespec until;
    pthread_mutex_lock(&k->lock);
    k->stop = true;
    pthread_cond_broadcast(&k->work[0]);
    pthread_cond_broadcast(&k->work[1]);
    while (k->lanes[0].threads || k->lanes[1].threads) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 10000000;
        if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
        if (pthread_cond_timedwait(&k->gone, &k->lock, &until) != ETIMEDOUT) continue;
        pthread_mutex_unlock(&k->lock);
        aio__ep_cancel_many(k, -1);
        aio__ep_interrupt_again(k);
        pthread_mutex_lock(&k->lock);
    }
    pthread_mutex_unlock(&k->lock);
    while (k->no_room.first) {
        struct aio__ep_op *op = k->no_room.first;
        aio__ep_unlink(&k->no_room, op);
        aio__ep_free(k, op);
    }
    close(k->wake);
    if (u->ring.ring_fd >= 0) close(u->ring.ring_fd);
    aio__ep_free_all(k);
}
AIO_COLD void aio__ep_forked(aio_uring *u) { close(aio__ep_of(u)->wake); }
AIO_COLD int aio__ep_epoll(struct aio__ep *k)
{
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = EPOLLIN;
    event.data.u64 = AIO__EP_WAKE;
    k->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (k->epoll < 0) return -errno;
    k->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = k->wake < 0 || epoll_ctl(k->epoll, EPOLL_CTL_ADD, k->wake, &event) ? -errno : 0;
    if (r < 0 && k->wake >= 0) close(k->wake);
    if (r < 0) close(k->epoll);
    return r;
}
AIO_FN unsigned aio__ep_power(unsigned n, unsigned most)
{
    unsigned p = 1;
    while (p < n && p < most) p *= 2;
    return p;
}
// The rings of liburing's struct, in memory of ours.
AIO_COLD void aio__ep_lay_out(struct aio__ep *k, struct io_uring *ring)
{
    memset((void *)ring, 0, sizeof *ring);
    ring->sq.khead = &k->sq_head;
    ring->sq.ktail = &k->sq_tail;
    ring->sq.kflags = &k->sq_flags;
    ring->sq.kring_mask = &k->sq_mask;
    ring->sq.kring_entries = &k->sq_entries;
    ring->sq.sqes = k->sqes;
    ring->cq.khead = &k->cq_head;
    ring->cq.ktail = &k->cq_tail;
    ring->cq.kring_mask = &k->cq_mask;
    ring->cq.kring_entries = &k->cq_entries;
    ring->cq.cqes = k->cqes;
    ring->ring_fd = ring->enter_ring_fd = k->epoll;
    ring->features = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE |
                     IORING_FEAT_RW_CUR_POS | IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG |
                     IORING_FEAT_NATIVE_WORKERS;
}
AIO_COLD int aio__ep_open(aio_uring *u, unsigned sq, unsigned cq, uint64_t allowed)
{
    sq = aio__ep_power(sq, 32768);
    cq = aio__ep_power(cq < 4 ? 4 : cq, 65536);
    size_t sqes = sq * sizeof(struct io_uring_sqe), cqes = cq * sizeof(struct io_uring_cqe);
    size_t head = (sizeof(struct aio__ep) + 63) & ~(size_t)63;
    aio_executor *x = &u->loop->executor;
    struct aio__ep *k = (struct aio__ep *)aio__chunk_new(x, head + sqes + cqes);
    if (!k) return -ENOMEM;
    memset((void *)k, 0, head + sqes + cqes);
    k->uring = u;
    k->executor = x;
    k->sqes = (struct io_uring_sqe *)(void *)((char *)k + head);
    k->cqes = (struct io_uring_cqe *)(void *)((char *)k + head + sqes);
    k->sq_entries = sq;
    k->sq_mask = sq - 1;
    k->cq_entries = cq;
    k->cq_mask = cq - 1;
    k->ready = k->doubt = k->doubt_old = -1;
    k->allowed = allowed;
    k->hash_mask = 63;
    k->lanes[0].limit = AIO__EP_FILE_THREADS;
    k->lanes[1].limit = 64;
    k->hash = (struct aio__ep_op **)aio__chunk_new(x, 64 * sizeof *k->hash);
    int r = k->hash ? aio__ep_epoll(k) : -ENOMEM;
    if (r < 0) {
        if (k->hash) aio__chunk_free(x, (void *)k->hash);
        aio__chunk_free(x, k);
        return r;
    }
    memset((void *)k->hash, 0, 64 * sizeof *k->hash);
    pthread_mutex_init(&k->lock, 0);
    pthread_cond_init(&k->work[0], 0);
    pthread_cond_init(&k->work[1], 0);
    pthread_cond_init(&k->gone, 0);
    aio__ep_lay_out(k, &u->ring);
    u->kernel_state = k;
    return 0;
}
AIO_TABLE(struct aio__kernel, aio__ep_kernel,
    { "epoll", aio__ep_open, aio__ep_enter, aio__ep_register, aio__ep_close_ring,
      aio__ep_forked, aio__ep_has, aio__ep_how })
#endif
