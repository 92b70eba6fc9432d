// The table of operations: against the kernel's probe, liburing's numbers, and every byte that an
// opcode can be.
#include "uring.h"

static void a_row_for_each_opcode_in_order(void **state)
{
    static const struct { int op; const char *name; } some[] = {
        { IORING_OP_NOP, "nop" },           { IORING_OP_FSYNC, "fsync" },
        { IORING_OP_ACCEPT, "accept" },     { IORING_OP_LINK_TIMEOUT, "link_timeout" },
        { IORING_OP_CLOSE, "close" },       { IORING_OP_RECV, "recv" },
        { IORING_OP_TEE, "tee" },           { IORING_OP_LINKAT, "linkat" },
        { IORING_OP_GETXATTR, "getxattr" }, { IORING_OP_SEND_ZC, "send_zc" },
        { AIO__OP_WAITID, "waitid" },       { AIO__OP_FTRUNCATE, "ftruncate" },
        { AIO__OP_PIPE, "pipe" },
    };
    static const int numbers[] = {
#define NUMBER(arg, op, ...) op,
        AIO__OPERATION_ROWS(NUMBER, 0)
    };
    (void)state;
    for (int i = 0; i < AIO__OPERATIONS; i++) {
        assert_int_equal(numbers[i], i);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(aio__operation_of((unsigned)i)->name,
                                    aio__operation_of((unsigned)j)->name);
    }
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        assert_string_equal(aio__opcode_name((unsigned)some[i].op), some[i].name);
    for (unsigned op = AIO__OPERATIONS; op < 256; op++) {
        assert_null(aio__operation_of(op));
        assert_true(!aio__op_bit(op) || op < 64);
    }
}
static void a_registered_buffers_form_takes_one(void **state)
{
    int forms = 0;
    (void)state;
    for (unsigned op = 0; op < AIO__OPERATIONS; op++) {
        unsigned fixed = aio__operation_of(op)->fixed;
        if (!fixed) continue;
        forms++;
        assert_true(aio__op_is(fixed, AIO__OP_BUFFER));
        assert_false(aio__op_is(op, AIO__OP_BUFFER));
        assert_int_equal(aio__operation_of(op)->copies & AIO__COPY_VECTOR,
                         aio__operation_of(fixed)->copies & AIO__COPY_VECTOR);
    }
    assert_int_equal(forms, 4);
}
// What the kernel says it has is what its version has by the table: both ways.
static void versions_are_those_of_the_kernel(void **state)
{
    struct { struct io_uring_probe probe; struct io_uring_probe_op ops[256]; } p;
    struct io_uring ring;
    (void)state;
    memset((void *)&p, 0, sizeof p);
    assert_int_equal(io_uring_queue_init(4, &ring, 0), 0);
    assert_int_equal(io_uring_register_probe(&ring, &p.probe, 256), 0);
    for (unsigned op = 0; op < AIO__OPERATIONS; op++) {
        const struct aio__operation *o = aio__operation_of(op);
        bool has = op <= p.probe.last_op && (p.probe.ops[op].flags & IO_URING_OP_SUPPORTED);
        bool should = kernel_is(o->kernel / 100, o->kernel % 100);
        // recv_zc and epoll can be left out of a kernel
        bool optional = !strcmp(o->name, "recv_zc") || !strncmp(o->name, "epoll", 5);
        if (has != should && !(should && optional))
            fail_msg("%s (%u): the kernel %s it", o->name, op, has ? "has" : "lacks");
    }
    io_uring_queue_exit(&ring);
}

// Every opcode there can be, alone and in a chain: what the kernel says, and nothing is read, held
// or closed for another opcode that looks like it.
struct any { aio_frame aio; unsigned op; bool harmless, refused; struct io_uring_sqe sqe; aio_chain c; aio_result r; };
aio_async(any) {
    memset((void *)&self->sqe, 0, sizeof self->sqe);
    self->sqe.fd = -1;
    for (self->op = 0; self->op < 256; self->op++) {
        self->sqe.opcode = (uint8_t)self->op;
        self->sqe.rw_flags = 0;
        aio_await(self->r, aio_uring_op(&self->sqe));
        self->harmless = self->op == IORING_OP_NOP || self->op == IORING_OP_MADVISE;
        assert_true(self->harmless ? self->r == 0 : self->r < 0);
        if (self->op >= 128) assert_result(self->r, -EINVAL);       // and no kernel has it
        assert_result(aio_chain_init(&self->c), 0);
        self->r = aio_chain_add(&self->c, aio_uring_op(&self->sqe));
        if (self->r >= 0) self->r = aio_chain_add(&self->c, aio_nop());
        self->refused = self->r < 0;
        aio_await(self->r, aio_chain_run(&self->c));
        assert_true(self->harmless ? self->r == 0 : self->r < 0);
        if (!self->refused && !self->harmless) assert_result(aio_chain_result(&self->c, 1), -ECANCELED);
    }
    assert_int_equal(aio_running_loop()->in_flight, 0);
    return 0;
} aio_end
static void every_byte_may_be_an_opcode(void **state)
{
    (void)state;
    assert_result(run(any), 0);
    setenv("AIO_URING_ENTRIES", "1", 1);
    assert_result(run(any), 0);
    unsetenv("AIO_URING_ENTRIES");
}
// A result of an unknown opcode is a number, not a descriptor, nor is its fd one that a close has
// to wait for.
struct alias { aio_frame aio; unsigned op; struct io_uring_sqe sqe; int fd; aio_result r; };
aio_async(alias) {
    memset((void *)&self->sqe, 0, sizeof self->sqe);
    self->sqe.opcode = (uint8_t)self->op;
    self->sqe.fd = self->fd;
    aio_await(self->r, aio_uring_op(&self->sqe));
    return self->r;
} aio_end
struct aliases { aio_frame aio; int fd; unsigned op; aio_task *t; aio_awaitable a; };
aio_async(aliases) {
    aio_await(aio_nop());
    self->fd = dup(STDOUT_FILENO);
    for (self->op = AIO__OPERATIONS; self->op < 256; self->op++) {
        memset((void *)&self->a, 0, sizeof self->a);
        self->a.u.w[0] = AIO__WORD(AIO__HEAD(self->op, 0, 0), self->fd);
        assert_int_equal(aio__io_info(&self->a) >> 40, 0);
        self->t = aio_spawn(alias, .op = self->op, .fd = self->fd);
        aio_await(aio_next_turn());
        uring_fake.opcode = (int)self->op;
        uring_fake.result = self->fd;
        uring_fake.skip = uring_fake.done = 0;
        uring_hook.enter = uring_fake_enter;
        uring_reap_until_ready(self->t);
        uring_hook.enter = 0;
        aio_task_cancel(self->t);
        aio_await(aio_join(self->t));
        assert_int_not_equal(fcntl(self->fd, F_GETFD), -1);
    }
    close(self->fd);
    return 0;
} aio_end
static void an_unknown_opcode_gives_no_descriptor(void **state)
{
    (void)state;
    assert_result(run(aliases), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_for_each_opcode_in_order),
        cmocka_unit_test(a_registered_buffers_form_takes_one),
        cmocka_unit_test(versions_are_those_of_the_kernel),
        cmocka_unit_test(every_byte_may_be_an_opcode),
        cmocka_unit_test(an_unknown_opcode_gives_no_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
