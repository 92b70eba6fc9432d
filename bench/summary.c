// summary.c - bench lines on standard input; a table, or with arguments Markdown and a plot.
// SPDX-License-Identifier: MIT
//
//     summary                          a text table: median, min..max, ratio to the first variant
//     summary results.md results.svg   appends the table to the one, draws the other; text too
//     summary --lost                   how much of the cores' time other programs take now
#include "bench.h"

enum { SERIES_MAX = 512, VALUES_MAX = 4096 };
struct series {
    char question[96], variant[64], unit[16];
    double *values;
    int count;
    int reference;      // index of the question's first series
};
static struct series all[SERIES_MAX];
static int series_count;

static struct series *find(const char *question, const char *variant, const char *unit)
{
    int reference = series_count;
    for (int i = series_count; i-- > 0;) {
        if (strcmp(all[i].question, question)) continue;
        if (!strcmp(all[i].variant, variant)) return &all[i];
        reference = all[i].reference;
    }
    if (series_count == SERIES_MAX) return 0;
    struct series *s = &all[series_count++];
    snprintf(s->question, sizeof s->question, "%s", question);
    snprintf(s->variant, sizeof s->variant, "%s", variant);
    snprintf(s->unit, sizeof s->unit, "%s", unit);
    s->values = malloc(VALUES_MAX * sizeof *s->values);
    s->reference = reference;
    return s->values ? s : 0;
}
static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(const struct series *s)
{
    double low = s->values[(s->count - 1) / 2], high = s->values[s->count / 2];
    return (low + high) / 2;
}
static double ratio(const struct series *s)
{
    double limit = median(&all[s->reference]);
    return limit > 0 ? median(s) / limit : 0;
}
static const char *number(double v, char text[static 32])
{
    snprintf(text, 32, v < 10 ? "%.2f" : v < 1000 ? "%.1f" : "%.0f", v);
    return text;
}
// Puts the variants of a question together: the first of each question in order, then its others.
static void group(void)
{
    static struct series sorted[SERIES_MAX];
    int count = 0;
    for (int i = 0; i < series_count; i++) {
        if (all[i].reference != i) continue;
        int reference = count;
        for (int k = i; k < series_count; k++) {
            if (all[k].reference != i) continue;
            sorted[count] = all[k];
            sorted[count++].reference = reference;
        }
    }
    memcpy(all, sorted, sizeof all);
}
static void print_text(void)
{
    char m[32], low[32], high[32], span[72];
    for (int i = 0; i < series_count; i++) {
        const struct series *s = &all[i];
        if (s->reference == i) printf("\n%s (%s)\n", s->question, s->unit);
        snprintf(span, sizeof span, "[%s..%s]", number(s->values[0], low),
                 number(s->values[s->count - 1], high));
        printf("  %-32s %10s  %-22s %7.3fx  n=%d\n", s->variant, number(median(s), m), span,
               ratio(s), s->count);
    }
}
static void print_markdown(FILE *f)
{
    char m[32], low[32], high[32];
    fprintf(
        f, "\n| question | variant | median | min..max | ratio | n |\n|---|---|---|---|---|---|\n");
    for (int i = 0; i < series_count; i++) {
        const struct series *s = &all[i];
        fprintf(f, "| %s | %s | %s %s | %s..%s | %.3f | %d |\n",
                s->reference == i ? s->question : "", s->variant, number(median(s), m), s->unit,
                number(s->values[0], low), number(s->values[s->count - 1], high), ratio(s),
                s->count);
    }
}
// One bar per variant: its ratio to the question's first one, which is the line at 1.
static void draw(FILE *f)
{
    const int left = 520, unit = 120, row = 16, wide = 1100;
    int y = 24, height = 40 + series_count * row * 2;
    fprintf(
        f,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
        "font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" "
        "fill=\"white\"/>\n<text x=\"%d\" y=\"14\">ratio to the first variant (line: 1.0)</text>\n",
        wide, height, left);
    for (int i = 0; i < series_count; i++) {
        const struct series *s = &all[i];
        double r = ratio(s);
        int length = (int)(r * unit);
        if (length > wide - left - 60) length = wide - left - 60;
        if (s->reference == i) {
            y += row;
            fprintf(f, "<text x=\"8\" y=\"%d\" font-weight=\"bold\">%s</text>\n", y, s->question);
        }
        fprintf(f,
                "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text><rect x=\"%d\" y=\"%d\" "
                "width=\"%d\" height=\"%d\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">%.3f</text>\n",
                left - 8, y, s->variant, left, y - 10, length, row - 4,
                s->reference == i ? "#999" : strncmp(s->variant, "aio", 3) ? "#bbb" : "#36c",
                left + length + 6, y, r);
        y += row;
    }
    fprintf(f, "<line x1=\"%d\" y1=\"20\" x2=\"%d\" y2=\"%d\" stroke=\"#c33\"/>\n</svg>\n",
            left + unit, left + unit, y);
}

// How busy the machine is, as a spin loop on each of two cores sees it.
static int print_lost(void)
{
    bench_realtime();
    for (int core = 0; core < 2; core++) {
        bench_pin(core);
        printf("%score %d %.1f %%", core ? ", " : "", core, 100 * bench_lost(200000000));
    }
    printf("\n");
    return 0;
}

int main(int argc, char **argv)
{
    char line[512];
    if (argc > 1 && !strcmp(argv[1], "--lost")) return print_lost();
    while (fgets(line, sizeof line, stdin)) {
        char question[96], variant[64], unit[16];
        double value;
        if (sscanf(line, "%95[^\t]\t%63[^\t]\t%15[^\t]\t%lf", question, variant, unit, &value) != 4)
            continue;
        struct series *s = find(question, variant, unit);
        if (s && s->count < VALUES_MAX) s->values[s->count++] = value;
    }
    for (int i = 0; i < series_count; i++)
        qsort(all[i].values, (size_t)all[i].count, sizeof(double), ascending);
    group();
    print_text();
    if (argc > 1) {
        FILE *f = fopen(argv[1], "a");
        if (!f) bench_fail(argv[1]);
        print_markdown(f);
        fclose(f);
    }
    if (argc > 2) {
        FILE *f = fopen(argv[2], "w");
        if (!f) bench_fail(argv[2]);
        draw(f);
        fclose(f);
    }
    for (int i = 0; i < series_count; i++) free(all[i].values);
    return 0;
}
