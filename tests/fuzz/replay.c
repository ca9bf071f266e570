/* Replays a corpus: each argument is a file, or a folder whose files are replayed in turn. Every
 * input is copied to a block of exactly its size, so that a sanitizer sees a read past its end. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "tests/fuzz/fuzz.h"

enum { PATH_ROOM = 4096 };
static const size_t max_bytes = (size_t)64 << 20;

static int replay_file(const char *path)
{
    struct tr_buf text;
    struct tr_err err = {0};
    if (tr_file_read(path, max_bytes, &text, &err) != TR_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    uint8_t *exact = malloc(text.size ? text.size : 1);
    if (exact && text.size) memcpy(exact, text.at, text.size);
    if (exact) LLVMFuzzerTestOneInput(exact, text.size);
    free(exact);
    tr_buf_fini(&text);
    return 0;
}

static int replay_folder(const char *path, int *files)
{
    int bad = 0;
    DIR *dir = opendir(path);
    struct dirent *e = NULL;
    if (!dir) {
        fprintf(stderr, "%s: cannot open\n", path);
        return 1;
    }
    while ((e = readdir(dir))) {
        char file[PATH_ROOM];
        if (e->d_name[0] == '.') continue;
        if (tr_path_join(file, sizeof file, path, e->d_name, NULL) != TR_OK) continue;
        bad |= replay_file(file);
        ++*files;
    }
    closedir(dir);
    return bad;
}

int main(int argc, char **argv)
{
    int files = 0;
    int bad = 0;
    for (int i = 1; i < argc; i++) {
        if (tr_path_is_dir(argv[i])) {
            bad |= replay_folder(argv[i], &files);
        } else {
            bad |= replay_file(argv[i]);
            files++;
        }
    }
    printf("%d inputs\n", files);
    return bad || !files; /* an empty corpus tests nothing */
}
