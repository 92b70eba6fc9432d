// 07_cat - prints files one after another, and reads all of them at once.
//
// Shows:  a task per file, an order of output that does not depend on who is first, standard input
//         ("-"), pipes and files alike with aio_read_some.
// Run:    cc -O2 -iquote . examples/07_cat.c -o cat -luring && ./cat FILE... (none: standard input)
// Prints: the files' contents. Names what cannot be read, goes on with the rest, and exits with 1.
//         Each file is held in memory until its turn comes.
#include "aio_io_uring.h"

// What a reader fills. It belongs to main, so that nobody has to hand it over.
struct content {
    const char *name;
    char *data;
    size_t size, room;
    aio_result error;
    aio_task *reader;
};

struct reader {
    aio_frame aio;
    struct content *to;
    int fd;
    aio_result r;
};

static bool make_room(struct content *c)
{
    if (c->room - c->size >= 65536) return true;
    size_t room = c->room ? c->room * 2 : 131072;
    char *data = (char *)realloc(c->data, room);
    if (!data) return false;
    c->data = data;
    c->room = room;
    return true;
}

aio_async(reader) {
    self->fd = STDIN_FILENO;
    if (strcmp(self->to->name, "-") != 0)
        aio_try(self->fd, aio_openat(AT_FDCWD, self->to->name, O_RDONLY, 0));
    do {
        if (!make_room(self->to)) {
            self->r = -ENOMEM;
            break;
        }
        aio_await(self->r, aio_read_some(self->fd, self->to->data + self->to->size,
                                         self->to->room - self->to->size));
        if (self->r > 0) self->to->size += (size_t)self->r;
    } while (self->r > 0);
    if (self->fd != STDIN_FILENO) aio_await(aio_close(self->fd));
    return self->r;
} aio_end

struct cat {
    aio_frame aio;
    struct content *files;
    int n, i;
    aio_result r;           // how the output fares
};

aio_async(cat) {
    for (int i = 0; i < self->n; i++)
        self->files[i].reader = aio_spawn(reader, .to = &self->files[i]);
    for (self->i = 0; self->i < self->n; self->i++) {
        if (self->r < 0) aio_task_cancel(self->files[self->i].reader);  // nobody will see it
        aio_await(self->files[self->i].error, aio_join(self->files[self->i].reader));
        if (self->files[self->i].error == -ECANCELED && self->r >= 0) self->r = -ECANCELED;
        if (self->r >= 0)
            aio_await(self->r, aio_write_all(STDOUT_FILENO, self->files[self->i].data,
                                             self->files[self->i].size));
        free(self->files[self->i].data);
    }
    return self->r;
} aio_end

int main(int argc, char **argv)
{
    static char standard_input[] = "-", *none[] = { standard_input };
    char **names = argc > 1 ? argv + 1 : none;
    int n = argc > 1 ? argc - 1 : 1, bad = 0;
    struct content *files = (struct content *)calloc((size_t)n, sizeof *files);
    if (!files) return fprintf(stderr, "cat: no memory\n"), 1;
    for (int i = 0; i < n; i++) files[i].name = names[i];
    aio_result r = aio_run(cat, .files = files, .n = n);
    for (int i = 0; i < n; i++) {
        if (files[i].error >= 0 || r < 0) continue;
        bad = 1;
        fprintf(stderr, "cat: %s: %s\n", files[i].name, strerror((int)-files[i].error));
    }
    if (r < 0 && r != -EPIPE) fprintf(stderr, "cat: cannot write: %s\n", strerror((int)-r));
    free(files);
    return bad || r < 0;
}
