/* SPDX-License-Identifier: Apache-2.0 */
/* See pages.h. The policy that goes with a page lets it load and ask nothing but this gateway. */
#include "producers/gateway/pages.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/digest.h"
#include "producers/gateway/exchange.h"
#include "producers/gateway/routes.h"

#define PAGES_MAX      64
#define PAGE_BYTES_MAX ((size_t)1024 * 1024)
#define ETAG_BYTES     16 /* of the digest */

#define PAGE_POLICY                                                                             \
	"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src " \
	"'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
#define SCRIPT_TYPE "text/javascript; charset=utf-8"

struct page {
	const char *name, *content_type, *text;
	size_t bytes;
	char etag[2 * ETAG_BYTES + 3]; /* with its quotes */
};

struct pages {
	struct arena *arena;
	struct page client;
	struct page files[PAGES_MAX];
	size_t count;
};

static const struct {
	const char *suffix, *content_type;
} kinds[] = {
	{ ".html", "text/html; charset=utf-8" },
	{ ".js", SCRIPT_TYPE },
	{ ".css", "text/css; charset=utf-8" },
	{ ".svg", "image/svg+xml" },
	{ ".png", "image/png" },
};

/* The file beside this one, as it is. */
__asm__(".pushsection .rodata\n"
	".global client_js\n"
	"client_js:\n"
	".incbin \"producers/gateway/client.js\"\n"
	".global client_js_end\n"
	"client_js_end:\n"
	".byte 0\n"
	".popsection\n");
extern const char client_js[], client_js_end[];

/* ---- at the start */

static void put_tag(struct page *page)
{
	uint8_t digest[SHA256_BYTES];
	char hex[2 * ETAG_BYTES + 1];

	digest_sha256(page->text, page->bytes, digest);
	digest_hex(digest, ETAG_BYTES, hex);
	snprintf(page->etag, sizeof(page->etag), "\"%s\"", hex);
}

static const char *content_type_of(const char *name)
{
	size_t bytes = strlen(name);

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		size_t suffix = strlen(kinds[i].suffix);

		if (bytes > suffix && strcmp(name + bytes - suffix, kinds[i].suffix) == 0)
			return kinds[i].content_type;
	}
	return NULL;
}

static int read_text(struct pages *pages, int fd, struct page *page, struct error *err_r)
{
	struct stat about;
	size_t have = 0;
	ssize_t got;
	char *text;

	if (fstat(fd, &about) < 0)
		return error_set(err_r, ERROR_INVALID, "%s: %s", page->name, strerror(errno));
	if (!S_ISREG(about.st_mode) || about.st_size > (off_t)PAGE_BYTES_MAX)
		return error_set(err_r, ERROR_INVALID, "%s is no file of up to %zu bytes",
				 page->name, PAGE_BYTES_MAX);
	text = arena_alloc(pages->arena, (size_t)about.st_size + 1);
	while (have < (size_t)about.st_size &&
	       (got = read(fd, text + have, (size_t)about.st_size - have)) > 0)
		have += (size_t)got;
	page->text = text;
	page->bytes = have;
	put_tag(page);
	return 0;
}

static int read_page(struct pages *pages, int folder, const char *name, struct error *err_r)
{
	struct page *page = &pages->files[pages->count];
	int fd, rc;

	if (pages->count == PAGES_MAX)
		return error_set(err_r, ERROR_INVALID, "more than %d files", PAGES_MAX);
	page->content_type = content_type_of(name);
	if (!page->content_type)
		return error_set(err_r, ERROR_INVALID,
				 "%s is not of a kind that is served: .html .js .css .svg .png",
				 name);
	page->name = arena_strdup(pages->arena, name);
	fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return error_set(err_r, ERROR_INVALID, "%s: %s", name, strerror(errno));
	rc = read_text(pages, fd, page, err_r);
	close(fd);
	pages->count += rc == 0;
	return rc;
}

static int read_folder(struct pages *pages, const char *path, struct error *err_r)
{
	DIR *folder = opendir(path);
	struct dirent *entry;
	int rc = 0;

	if (!folder)
		return error_set(err_r, ERROR_INVALID, "%s", strerror(errno));
	while (rc == 0 && (entry = readdir(folder))) {
		if (entry->d_name[0] != '.')
			rc = read_page(pages, dirfd(folder), entry->d_name, err_r);
	}
	closedir(folder);
	return rc;
}

struct pages *pages_open(const char *folder, struct error *err_r)
{
	struct pages *pages = xcalloc(1, sizeof(*pages));

	pages->arena = arena_new(0);
	pages->client = (struct page){ .name = "client.js",
				       .content_type = SCRIPT_TYPE,
				       .text = client_js,
				       .bytes = (size_t)(client_js_end - client_js) };
	put_tag(&pages->client);
	if (*folder && read_folder(pages, folder, err_r) < 0) {
		error_wrap(err_r, "WINDLASS_PAGES=%s", folder);
		pages_free(&pages);
	}
	return pages;
}

void pages_free(struct pages **pages)
{
	if (*pages)
		arena_free(&(*pages)->arena);
	free(*pages);
	*pages = NULL;
}

/* ---- requests */

bool pages_tag_matches(const char *field, const char *etag)
{
	return strcmp(field, "*") == 0 || strstr(field, etag);
}

static void answer_page(struct request *request, const struct page *page)
{
	const char *have = request_header(request, "If-None-Match");

	request_answer_header(request, "ETag", page->etag);
	request_answer_header(request, "X-Content-Type-Options", "nosniff");
	if (have && pages_tag_matches(have, page->etag))
		request_answer(request, 304, NULL, NULL);
	else
		request_answer_static(request, 200, page->content_type, page->text, page->bytes);
}

void get_client(struct exchange *exchange)
{
	request_answer_header(exchange->request, "Cache-Control", "public, max-age=300");
	answer_page(exchange->request, &exchange->gateway->pages->client);
}

void get_page(struct exchange *exchange)
{
	const struct pages *pages = exchange->gateway->pages;
	struct request *request = exchange->request;

	for (size_t i = 0; i < pages->count; i++) {
		if (strcmp(pages->files[i].name, exchange->part) != 0)
			continue;
		request_answer_header(request, "Cache-Control", "no-cache");
		request_answer_header(request, "Content-Security-Policy", PAGE_POLICY);
		request_answer_header(request, "Referrer-Policy", "no-referrer");
		request_answer_header(request, "Cross-Origin-Opener-Policy", "same-origin");
		answer_page(request, &pages->files[i]);
		return;
	}
	exchange_refuse(exchange, 404, "unknown-page", "there is no page of that name");
}
