// io_uring is refused: one clear sentence, once, and the errno (contract 12).
#include "uring.h"
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

MAKE(m_nop, void, aio_nop())
struct tries { aio_frame aio; aio_result r[4]; int i; };
static aio_result results[6];
aio_async(tries) {
    for (; self->i < 4; self->i++) aio_await(self->r[self->i], aio_nop());
    for (int i = 0; i < 4; i++) results[i] = self->r[i];
    aio_await(results[4], aio_connect_tcp("127.0.0.1", 1));
    aio_await(results[5], aio_openat(AT_FDCWD, "/dev/null", O_RDONLY, 0));
    if (results[5] >= 0) close((int)results[5]);
    aio_try(aio_sleep(AIO_MSEC));           // time works without a ring
    return 0;
} aio_end
static int refusal;
static int refuse(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
    (void)entries, (void)ring, (void)p;
    return refusal;
}
static int lines(const char *s)
{
    int n = 0;
    for (; *s; s++) n += *s == '\n';
    return n;
}
static void hazard_25_contract_12_every_errno_of_the_set_up(void **state)
{
    (void)state;
    const int errors[] = {ENOSYS, EPERM,  EACCES, EOPNOTSUPP, ENOMEM,
                          EMFILE, ENFILE, EINVAL, ENODEV,     EFAULT};
    const char *say[] = {"too old",   "refused",   "refused", "refused", "RLIMIT_MEMLOCK",
                         "ulimit -n", "ulimit -n", "too old", "refused", "refused"};
    uring_hook.init = refuse;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        refusal = -errors[i];
        memset(results, 0, sizeof results);
        expect_reports();
        assert_result(run(tries), 0);
        for (int k = 0; k < 6; k++) assert_result(results[k], refusal);
        assert_int_equal(uring_reports, 1);             // told once, not for each operation
        assert_int_equal(lines(uring_told), 1);
        if (!strstr(uring_told, say[i])) print_error("%s", uring_told);
        assert_non_null(strstr(uring_told, say[i]));
        assert_non_null(strstr(uring_told, aio_strerror(refusal)));
    }
    uring_hook.init = 0;
}
// A second loop, or a second cause, is told again; a ring that comes later is taken.
static int refuse_twice(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
    if (refusal++ < 0) return -EMFILE;
    return io_uring_queue_init_params(entries, ring, p);
}
static void hazard_25_contract_12_a_ring_that_comes_later(void **state)
{
    (void)state;
    uring_hook.init = refuse_twice;
    refusal = -2;
    expect_reports();
    assert_result(run(tries), 0);
    uring_hook.init = 0;
    assert_result(results[0], -EMFILE);
    assert_result(results[1], -EMFILE);
    assert_result(results[2], 0);
    assert_result(results[4], -ECONNREFUSED);
    assert_true(results[5] > 0);
}
static void contract_12_attach_reports(void **state)
{
    (void)state;
    aio_loop l;
    struct aio_loop_options o = uring_options();
    uring_begin();
    uring_hook.init = refuse;
    refusal = -EPERM;
    assert_result(aio_loop_init(&l, &o), 0);
    assert_result(aio_uring_attach(&l, 0), -EPERM);
    assert_result(aio_uring_attach(&l, 0), -EPERM);
    assert_int_equal(uring_reports, 1);
    uring_hook.init = 0;
    assert_result(aio_uring_attach(&l, 0), 0);
    expect_reports();
    aio_loop_close(&l);
    uring_check(__FILE__, __LINE__);
    // Our own memory is no matter of RLIMIT_MEMLOCK.
    uring_begin();
    assert_result(aio_loop_init(&l, &o), 0);
    uring_memory.fail_from = 1;
    assert_result(aio_uring_attach(&l, 0), -ENOMEM);
    assert_int_equal(uring_reports, 0);
    aio_loop_close(&l);
    uring_check(__FILE__, __LINE__);
}
// A kernel that lacks what we need says so too.
static int old_features(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
    int r = io_uring_queue_init_params(entries, ring, p);
    if (r >= 0) ring->features &= ~(unsigned)IORING_FEAT_EXT_ARG;
    return r;
}
static void contract_12_a_kernel_without_what_is_needed(void **state)
{
    (void)state;
    uring_hook.init = old_features;
    expect_reports();
    aio_result r = run_one(m_nop, 0);
    uring_hook.init = 0;
    assert_result(r, -ENOSYS);
    assert_non_null(strstr(uring_told, "5.12"));
}

// --- the real thing, in a child
struct limits { int memlock; int seccomp; int nofile; };
static void in_child(void *arg)
{
    const struct limits *want = (const struct limits *)arg;
    if (want->memlock >= 0) {
        struct rlimit r = { (rlim_t)want->memlock, (rlim_t)want->memlock };
        setrlimit(RLIMIT_MEMLOCK, &r);
        if (setgroups(0, 0) || setgid(65534) || setuid(65534)) return;
    }
    if (want->nofile >= 0) {
        struct rlimit r = { (rlim_t)want->nofile, (rlim_t)want->nofile };
        setrlimit(RLIMIT_NOFILE, &r);
    }
    if (want->seccomp) {
        struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)want->seccomp),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return;
    }
    aio_result r = aio_run(one, .make = m_nop);
    printf("result %lld\n", (long long)r);
}
static void said(struct limits *l, const char *result, const char *text)
{
    char out[4096];
    int status = test_in_child(in_child, l, out, sizeof out);
    assert_int_equal(status, 0);
    if (!strstr(out, "result ")) test_skip("the limits cannot be set here");
    if (!strstr(out, result) || (text && !strstr(out, text))) print_error("%s", out);
    assert_non_null(strstr(out, result));
    if (text) {
        assert_non_null(strstr(out, text));
        assert_int_equal(lines(out), 2);        // one sentence, and ours
    } else {
        assert_int_equal(lines(out), 1);
    }
}
static void contract_12_little_locked_memory_is_enough(void **state)
{
    (void)state;
    if (getuid()) test_skip("not root");
    said(&(struct limits){ .memlock = 65536, .nofile = -1 }, "result 0", 0);
}
static void contract_12_no_locked_memory_is_told(void **state)
{
    (void)state;
    if (getuid()) test_skip("not root");
    char out[4096];
    struct limits l = { .memlock = 0, .nofile = -1 };
    test_in_child(in_child, &l, out, sizeof out);
    if (strstr(out, "result 0")) test_skip("this kernel does not charge rings");
    said(&l, "result -12", "RLIMIT_MEMLOCK is 0 KiB");
    said(&l, "result -12", "ulimit -l");
}
static void contract_12_no_descriptor_left(void **state)
{
    (void)state;
    if (under_valgrind()) test_skip("valgrind has its own idea of the limit of descriptors");
    said(&(struct limits){ .memlock = -1, .nofile = 5 }, "result -24", "ulimit -n");
}
static void contract_12_seccomp(void **state)
{
    (void)state;
    said(&(struct limits){ .memlock = -1, .nofile = -1, .seccomp = EPERM }, "result -1", "seccomp");
    said(&(struct limits){.memlock = -1, .nofile = -1, .seccomp = ENOSYS}, "result -38", "seccomp");
}

int main(void)
{
    setenv("AIO_RING", "io_uring", 1);      // no other kernel in its place: what is told then
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hazard_25_contract_12_every_errno_of_the_set_up),
        cmocka_unit_test(hazard_25_contract_12_a_ring_that_comes_later),
        cmocka_unit_test(contract_12_attach_reports),
        cmocka_unit_test(contract_12_a_kernel_without_what_is_needed),
        cmocka_unit_test(contract_12_little_locked_memory_is_enough),
        cmocka_unit_test(contract_12_no_locked_memory_is_told),
        cmocka_unit_test(contract_12_no_descriptor_left),
        cmocka_unit_test(contract_12_seccomp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
