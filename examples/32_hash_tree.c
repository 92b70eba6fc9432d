// 32_hash_tree - the SHA-256 of every file below a folder, in the format of sha256sum.
//
// Shows:  a tree that is walked and read by a crew of tasks around one list of work; what blocks or
//         computes for long is done off the loop, on its threads; a progress line.
// Run:    cc -O2 -iquote . examples/32_hash_tree.c -o hash_tree -lcrypto -luring
//         ./hash_tree . >/tmp/sums && sha256sum -c --quiet /tmp/sums
// LIBS: -lcrypto
// Prints: a line for each file, as they come; on standard error what cannot be read (exit code 1).
#include "aio_io_uring.h"
#include <dirent.h>
#include <openssl/evp.h>

enum { CREW = 32, PIECE = 1 << 17, SMALL = 1 << 13 };
struct entry {                      // a file, or a folder
    struct entry *next, *found;     // in the list; in the folder
    bool is_folder;
    char path[];
};

struct tree {                       // shared by the crew: one thread, so no locks
    struct entry *todo;
    aio_semaphore work;             // one for each entry in it
    size_t unfinished, files, bad, bytes;
    aio_group crew;                 // cancelled when nothing is unfinished
};

static struct entry *entry_new(const char *folder, const char *name, bool is_folder)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    struct entry *e = calloc(1, sizeof *e + size);
    if (!e) return NULL;
    e->is_folder = is_folder;
    snprintf(e->path, size, "%s%s%s", folder, *folder ? "/" : "", name);
    return e;
}
static void add_work(struct tree *t, struct entry *e)
{
    e->next = t->todo;
    t->todo = e;
    t->unfinished++;
    aio_semaphore_release(&t->work);
}
static void finish(struct tree *t, struct entry *e, aio_result r, const unsigned char *sum)
{
    bool hashed = r >= 0 && !e->is_folder;
    if (r < 0) fprintf(stderr, "hash_tree: %s: %s\n", e->path, strerror((int)-r)), t->bad++;
    for (int i = 0; hashed && i < 32; i++) printf("%02x", sum[i]);
    if (hashed) printf("  %s\n", e->path), t->files++;
    for (struct entry *found; (found = e->found); add_work(t, found)) e->found = found->next;
    free(e);
    if (--t->unfinished == 0) aio_group_cancel(&t->crew);
}

// --- on a thread
static aio_result list_folder(void *arg)
{
    struct entry *folder = arg, *e = folder;
    const struct dirent *d;
    struct stat s;
    DIR *dir = opendir(folder->path);
    if (!dir) return -errno;
    while (e && (errno = 0, d = readdir(dir))) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0) continue;
        if (fstatat(dirfd(dir), d->d_name, &s, AT_SYMLINK_NOFOLLOW) < 0 ||
            (!S_ISREG(s.st_mode) && !S_ISDIR(s.st_mode))) continue;
        e = entry_new(folder->path, d->d_name, S_ISDIR(s.st_mode));
        if (e) e->next = folder->found, folder->found = e;
    }
    aio_result r = e ? -errno : -ENOMEM;
    closedir(dir);
    return r;
}

struct hash {
    aio_frame aio;
    struct tree *tree;
    const char *path;
    EVP_MD_CTX *context;            // the caller's, as is fd, which is -1 until it is open
    int fd;
    aio_result n;
    unsigned char sum[32];
    char piece[PIECE];
};
aio_scratch(hash, sum);             // need not be zeroed

static aio_result add_piece(void *arg)
{
    const struct hash *h = arg;
    return EVP_DigestUpdate(h->context, h->piece, (size_t)h->n) ? 0 : -EIO;
}

// --- on the loop
aio_async(hash) {
    if (!self->context || !EVP_DigestInit_ex(self->context, EVP_sha256(), NULL)) return -ENOMEM;
    aio_try(self->fd, aio_openat(AT_FDCWD, self->path, O_RDONLY, 0));
    do {
        aio_try(self->n, aio_read_some(self->fd, self->piece, PIECE));
        self->tree->bytes += (size_t)self->n;
        if (self->n > SMALL) aio_try(aio_to_thread(add_piece, self));
        else (void)add_piece(self);     // not worth the way
    } while (self->n > 0);
    return EVP_DigestFinal_ex(self->context, self->sum, NULL) ? 0 : -EIO;
} aio_end

struct worker { aio_frame aio; struct tree *tree; struct entry *e; aio_result r; struct hash h; };
aio_scratch(worker, h);

aio_async(worker) {
    do {
        aio_try(aio_semaphore_acquire(&self->tree->work));
        self->e = self->tree->todo;
        self->tree->todo = self->e->next;
        if (self->e->is_folder) {
            aio_await(self->r, aio_to_thread(list_folder, self->e));
        } else {
            aio_await(self->r, aio_call(&self->h, hash, .tree = self->tree, .fd = -1,
                                        .path = self->e->path, .context = EVP_MD_CTX_new()));
            EVP_MD_CTX_free(self->h.context);
            if (self->h.fd >= 0) aio_await(aio_close(self->h.fd));
        }
        finish(self->tree, self->e, self->r, self->h.sum);
    } while (self->r != -ECANCELED);
    return self->r;
} aio_end

struct hash_tree { aio_frame aio; struct tree *tree; bool shows; };

aio_async(hash_tree) {
    aio_result r;
    aio_group_enter(&self->tree->crew);
    for (int i = 0; i < CREW; i++)
        (void)aio_group_spawn(&self->tree->crew, worker, .tree = self->tree);
    do {
        aio_await(r, aio_sleep(AIO_SECOND / 10));
        if (self->shows) fprintf(stderr, "%zu files, %zu MB, %zu to do \33[K\r", self->tree->files,
                                 self->tree->bytes >> 20, self->tree->unfinished);
    } while (r >= 0);
    aio_try(aio_group_exit(&self->tree->crew, r));
} aio_end

int main(int argc, char **argv)
{
    struct tree t = { .files = 0 };
    struct entry *top = entry_new("", argc > 1 ? argv[1] : ".", true);
    if (!top || aio_semaphore_init(&t.work, 0, 0) < 0) return 1;
    add_work(&t, top);
    aio_result r = aio_run(hash_tree, .tree = &t, .shows = isatty(2) && !isatty(1));
    for (struct entry *e; (e = t.todo); free(e)) t.todo = e->next;
    return r == -EINTR ? 130 : r < 0 || t.bad;
}
