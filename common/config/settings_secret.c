/* SPDX-License-Identifier: Apache-2.0 */
/* Where the text of a setting comes from: the parent's hand-over, the environment (secrets are
 * wiped there), a file that NAME_FILE names, or a systemd credential. Called by settings.c alone;
 * never prints a value of a secret. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/strbuf.h"
#include "common/config/settings_rows.h"

#define SECRET_BYTES_MAX (1024 * 1024)
#define HANDED_BYTES_MAX (4 * SECRET_BYTES_MAX)
#define PATHS_NAME       "*secret_paths" /* among what is handed over; no setting is called so */

/* One block for all: what is unset later leaves nothing that nobody points to. */
void settings_conceal_environment(void)
{
	size_t bytes = 1;
	char *block;

	for (char **entry = environ; entry && *entry; entry++)
		bytes += strlen(*entry) + 1;
	block = bytes > 1 ? xmalloc(bytes) : NULL;
	for (char **entry = environ; entry && *entry; entry++) {
		char *in_place = *entry;

		bytes = strlen(in_place) + 1;
		*entry = memcpy(block, in_place, bytes);
		block += bytes;
		explicit_bzero(in_place, bytes - 1);
	}
}

void settings_wipe(char **text)
{
	if (!*text)
		return;
	explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

/* Everything up to the end of fd, NUL-terminated; NULL with errno. EFBIG: more than bytes_max.
 * Reads by position: the file may be shared. */
static char *read_all(int fd, size_t bytes_max, size_t *bytes_r)
{
	char *data = xmalloc(bytes_max + 2);
	size_t bytes = 0;
	ssize_t n;

	while (bytes <= bytes_max) {
		n = pread(fd, data + bytes, bytes_max + 1 - bytes, (off_t)bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		bytes += (size_t)n;
	}
	if (n < 0 || bytes > bytes_max) {
		int error = n < 0 ? errno : EFBIG;

		explicit_bzero(data, bytes);
		free(data);
		errno = error;
		return NULL;
	}
	data[bytes] = 0;
	*bytes_r = bytes;
	return data;
}

/* A secret's file: one trailing line end does not belong to it. NULL when it is not there and may
 * be missing; *failed_r after saying why. */
static char *read_file(const char *label, const char *path, bool may_miss, FILE *errors,
		       bool *failed_r)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text;
	size_t bytes = 0;

	if (fd < 0 && may_miss && errno == ENOENT)
		return NULL;
	text = fd < 0 ? NULL : read_all(fd, SECRET_BYTES_MAX, &bytes);
	if (!text) {
		fprintf(errors, "%s=%s: cannot read it: %s\n", label, path, strerror(errno));
		*failed_r = true;
	} else if (strlen(text) != bytes) {
		fprintf(errors, "%s=%s: not a text\n", label, path);
		*failed_r = true;
	} else if (bytes && text[bytes - 1] == '\n') {
		text[--bytes] = 0;
		if (bytes && text[bytes - 1] == '\r')
			text[--bytes] = 0;
	}
	if (fd >= 0)
		close(fd);
	return text;
}

static char *take_environment(const struct setting_row *row)
{
	char *in_place = getenv(row->name), *text;

	if (!in_place)
		return NULL;
	text = xstrdup(in_place);
	if (row->secret) {
		explicit_bzero(in_place, strlen(in_place));
		unsetenv(row->name);
	}
	return text;
}

static char *read_handed(const struct settings_source *source, const char *name)
{
	size_t name_bytes = strlen(name);
	const char *at = source->handed, *end = source->handed + source->handed_bytes;

	for (; at < end; at += strlen(at) + 1) {
		if (strncmp(at, name, name_bytes) == 0 && at[name_bytes] == '=')
			return xstrdup(at + name_bytes + 1);
	}
	return NULL;
}

/* For those that keep it from hosts; it is the path that is kept, not what is there. */
static void note_path(struct settings_source *source, const char *path)
{
	char here[PATH_MAX];

	if (*path == '/')
		strbuf_printf(&source->paths, "%s\n", path);
	else if (getcwd(here, sizeof(here)))
		strbuf_printf(&source->paths, "%s/%s\n", here, path);
}

char *settings_source_paths(struct settings_source *source)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	char *handed = source->handed ? read_handed(source, PATHS_NAME) : NULL;

	if (handed)
		return handed;
	if (credentials && !source->handed)
		note_path(source, credentials);
	return strbuf_take(&source->paths);
}

char *settings_source_read(struct settings_source *source, const struct setting_row *row,
			   FILE *errors, bool *failed_r)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY"), *path;
	char name[128], *text = take_environment(row);

	if (source->handed) {
		settings_wipe(&text);
		return read_handed(source, row->name);
	}
	if (!row->secret)
		return text;
	snprintf(name, sizeof(name), "%s_FILE", row->name);
	path = getenv(name);
	if (text && path) {
		fprintf(errors, "%s: %s is set as well; expected one of them\n", name, row->name);
		*failed_r = true;
	} else if (path) {
		note_path(source, path);
		text = read_file(name, path, false, errors, failed_r);
	} else if (!text && credentials) {
		struct strbuf file;

		strbuf_init(&file);
		strbuf_printf(&file, "%s/%s", credentials, row->name);
		text = read_file("CREDENTIALS_DIRECTORY", file.data, true, errors, failed_r);
		strbuf_release(&file);
	}
	return text;
}

char *settings_read_again(const char *name, FILE *errors)
{
	char label[128];
	const char *path;
	bool failed = false;

	snprintf(label, sizeof(label), "%s_FILE", name);
	path = getenv(label);
	return path ? read_file(label, path, false, errors, &failed) : NULL;
}

int settings_source_init(struct settings_source *source, FILE *errors)
{
	const char *number = getenv("WINDLASS_SETTINGS_FD");
	char *end;
	long fd;

	*source = (struct settings_source){ 0 };
	strbuf_init(&source->paths);
	if (!number)
		return 0;
	errno = EBADF;
	fd = strtol(number, &end, 10);
	if (!*end && end != number && fd > STDERR_FILENO && fd < 1024 * 1024)
		source->handed = read_all((int)fd, HANDED_BYTES_MAX, &source->handed_bytes);
	if (!source->handed) {
		fprintf(errors, "WINDLASS_SETTINGS_FD=%s: cannot read it: %s\n", number,
			strerror(errno));
		return -1;
	}
	close((int)fd);
	unsetenv("WINDLASS_SETTINGS_FD");
	return 0;
}

void settings_source_release(struct settings_source *source)
{
	strbuf_release(&source->paths);
	if (!source->handed)
		return;
	explicit_bzero(source->handed, source->handed_bytes);
	free(source->handed);
	*source = (struct settings_source){ 0 };
}

static int write_all(int fd, const char *data, size_t bytes)
{
	while (bytes) {
		ssize_t n = write(fd, data, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		data += n;
		bytes -= (size_t)n;
	}
	return 0;
}

int settings_handover(const struct settings *settings)
{
	int fd = memfd_create("windlass-settings", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct strbuf text;

	if (fd < 0)
		return -1;
	strbuf_init(&text);
	strbuf_reserve(&text, HANDED_BYTES_MAX / 2); /* so that growing leaves no copy behind */
	for (size_t i = 0; i < setting_row_count; i++) {
		strbuf_printf(&text, "%s=", setting_rows[i].name);
		setting_format(&setting_rows[i], settings, &text);
		strbuf_addch(&text, 0);
	}
	strbuf_printf(&text, PATHS_NAME "=%s", settings->secret_paths);
	strbuf_addch(&text, 0);
	if (write_all(fd, text.data, text.len) != 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
		close(fd);
		fd = -1;
	}
	explicit_bzero(text.data, text.len);
	strbuf_release(&text);
	return fd;
}
