/* SPDX-License-Identifier: Apache-2.0 */
/* Definition files that are refused: each with the message that it must get first, place included.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/config/definitions.h"

#define HTTP "jobs:\n  a:\n    http: {"
#define JOB  "jobs:\n  a:\n    sql: SELECT 1\n"

static const struct {
	const char *text;
	const char *want; /* the beginning of the first message, after "jobs.yaml:" */
} cases[] = {
	/* not YAML, or not the YAML that is read here */
	{ "", "1:1: empty; expected a map" },
	{ "# nothing\n", "1:1: empty; expected a map" },
	{ "jobs: [\n", "2:1: not YAML: did not find expected node content" },
	{ "jobs:\n\ta: 1\n", "2:1: not YAML: found character that cannot start any token" },
	{ "jobs: {a: 'x}\n", "2:1: not YAML: found unexpected end of stream" },
	{ "jobs:\n  a: \"\\q\"\n", "2:7: not YAML: found unknown escape character" },
	{ "jobs: {}\n---\njobs: {}\n", "2:1: a second document; expected one" },
	{ "jobs: {}\n...\n%YAML 1.2\n---\n1\n", "3:1: a second document" },
	{ "jobs:\n  \xff: 1\n", "2:3: not YAML: invalid leading UTF-8 octet" },
	{ "jobs:\n  \"\\0\": 1\n", "2:3: a text must not contain NUL" },
	{ "- a\n", "1:1: bad value a list of `the file`; expected a map" },
	{ "hello\n", "1:1: bad value `hello` of `the file`; expected a map" },
	{ "jobs: !!map {}\n", "1:7: tags are not supported: tag:yaml.org,2002:map" },
	{ "jobs: {a: !x y}\n", "1:11: tags are not supported: !x" },
	{ "jobs: *x\n", "1:7: no anchor `x` ends before this alias" },
	{ "jobs: &x {a: *x}\n", "1:14: no anchor `x` ends before this alias" },
	{ "[a]: b\n", "1:1: a key must be a plain word, not a list" },
	{ "jobs:\n  a: &d {queue: q}\n  b: {<<: *d}\n", "3:7: merge keys (<<) are not supported" },
	{ "jobs: {}\njobs: {}\n", "2:1: duplicate key `jobs`, first at line 1" },
	{ "jobs:\n  a:\n    queue: x\n    sql: SELECT 1\n    queue: y\n",
	  "5:5: duplicate key `queue`, first at line 3" },
	{ "jobs:\n  a: {sql: SELECT 1}\n  a: {sql: SELECT 1}\n", "3:3: duplicate key `a`" },
	{ "jobs:\n  a:\n    sql: S\n    sql: SELECT SELECT SELECT '${payload.a}'\n",
	  "4:5: duplicate key `sql`, first at line 3" },
	/* the top */
	{ "{}\n", "1:1: no `jobs`; expected a map of job types" },
	{ "jobs:\n", "1:6: bad value nothing of `jobs`; expected a map" },
	{ "jobs: []\n", "1:7: bad value a list of `jobs`; expected a map" },
	{ "job:\n  a: 1\n",
	  "1:1: unknown key `job`; did you mean `jobs`? Expected one of queues, jobs" },
	{ "jobs: {}\nzebra: 1\n", "2:1: unknown key `zebra`, expected one of queues, jobs" },
	{ "jobs: {}\nsources: 1\n", "2:10: bad value `1` of `sources`; expected a map" },
	{ "jobs: {}\nendpoints: {}\n", "2:1: `endpoints` is not available in this version" },
	{ JOB "schedules: 1\n", "4:12: bad value `1` of `schedules`; expected a map" },
	{ JOB "schedules:\n  s: 1\n", "5:6: bad value `1` of `s`; expected a map" },
	{ JOB "schedules:\n  windlass.s: {every: 1h, job: a}\n", "5:3: bad name" },
	{ JOB "schedules:\n  s: {every: 1h}\n", "5:6: `job` is missing" },
	{ JOB "schedules:\n  s: {every: 1h, job: z}\n", "5:23: `job`: unknown job type" },
	{ JOB "schedules:\n  s: {job: a}\n", "5:3: `s`: expected one of \"cron\"" },
	{ JOB "schedules:\n  s: {cron: x, job: a}\n", "5:13: `cron`: expected five fields" },
	{ JOB "schedules:\n  s: {every: 1h, job: a, payload: {x: \"${y}\"}}\n",
	  "5:35: `payload`: unknown reference ${y}" },
	{ JOB "schedules:\n  s: {every: 1h, job: a, batch: x}\n",
	  "5:26: `batch` is not available in this version" },
	/* hooks, and names that are Windlass's own */
	{ JOB "    hooks: https://a\n", "4:12: bad value `https://a` of `hooks`; expected a list" },
	{ JOB "    hooks: []\n", "4:12: bad value a list of `hooks`; expected a list of 1 to 8" },
	{ JOB "    hooks: [{on: [completed]}]\n", "4:13: `hooks`: expected maps with `url`" },
	{ JOB "    hooks: [{url: 'https://a', off: 1}]\n", "4:32: unknown key `off`, expected one "
							   "of url, on" },
	{ JOB "    hooks: [{url: a.example}]\n", "4:19: `url`: expected a URL that begins with" },
	{ JOB "    hooks: [{url: '${env.A'}]\n", "4:19: `url`: expected only ${env.NAME} in it" },
	{ JOB "    hooks: [{url: 'https://${payload.a}'}]\n", "4:19: `url`: expected only ${env." },
	{ JOB "    hooks: [{url: '${env.WINDLASS_API_KEYS}'}]\n", "4:19: `url`: expected only" },
	{ JOB "    hooks: [{url: '${env.DATABASE_URL}'}]\n", "4:19: `url`: expected only" },
	{ JOB "    hooks: [{url: 'https://a b'}]\n", "4:19: `url`: expected printable ASCII" },
	{ JOB "    hooks: [{url: 'https://a', on: done}]\n", "4:36: bad value `done` of `on`" },
	{ JOB "    hooks: [{url: 'https://a', on: []}]\n", "4:36: bad value a list of `on`" },
	{ JOB "    hooks: [{url: 'https://a', on: [running]}]\n",
	  "4:37: bad entry `running` in `on`; expected completed, discarded or cancelled" },
	{ JOB "    hooks: [{url: 'https://a'}, {url: 'https://a', on: [completed]}]\n",
	  "4:33: `hooks`: this `url` is there already" },
	{ "jobs:\n  a: {exec: [x], record: failures, hooks: [{url: 'https://a'}]}\n",
	  "2:43: `record: failures` leaves nothing of a job that is done; it has no meaning beside "
	  "hooks" },
	{ "jobs:\n  windlass.x: {sql: SELECT 1}\n",
	  "2:3: bad name `windlass.x`; names that begin" },
	{ "jobs:\n  a: {sql: SELECT 1, queue: windlass.webhooks}\n",
	  "2:29: `queue`: names that begin with windlass. are Windlass's own" },
	{ JOB "queues: {windlass.x: {}}\n", "4:10: bad name `windlass.x`; names that begin" },
	/* queues */
	{ JOB "queues: 5\n", "4:9: bad value `5` of `queues`; expected a map" },
	{ JOB "queues: {'x y': {}}\n", "4:10: bad name `x y`; expected 1 to 128 letters" },
	{ JOB "queues: {q: [1]}\n", "4:13: bad value a list of `q`; expected a map" },
	{ JOB "queues: {q: {max: 0}}\n",
	  "4:19: bad value `0` of `max`; expected a whole number of 1..1000000000" },
	{ JOB "queues: {q: {max: many}}\n",
	  "4:19: bad value `many` of `max`; expected a whole number" },
	{ JOB "queues: {q: {max: '5'}}\n",
	  "4:19: bad value `5` of `max`; expected a whole number" },
	{ JOB "queues: {q: {maximum: 5}}\n", "4:14: unknown key `maximum`, expected one of max" },
	{ JOB "queues: {q: {rate: 5}}\n", "4:20: bad value `5` of `rate`" },
	{ JOB "queues: {q: {fair: true, weights: {a: 0}}}\n",
	  "4:39: bad weight `0` of `a`; expected a whole number of 1..1000" },
	{ JOB "queues: {q: {weights: {a: 2}}}\n",
	  "4:23: `weights` has no meaning without `fair: true`" },
	{ JOB "queues: {q: {order: fifo}}\n",
	  "4:21: bad value `fifo` of `order`; expected none or key" },
	{ JOB "queues: {q: {broker: t}}\n", "4:22: bad value `t` of `broker`; expected a map" },
	{ JOB "queues: {q: {broker: {topic: ''}}}\n",
	  "4:30: bad value `` of `topic`; expected a text" },
	{ JOB "queues: {q: {broker: {partitions: 0}}}\n",
	  "4:35: bad value `0` of `partitions`; expected a whole number of 1..10000" },
	{ JOB "queues: {q: {broker: {type: stream}}}\n",
	  "4:29: bad value `stream` of `type`; expected quorum or classic" },
	{ JOB "queues: {q: {broker: {fifo: 'true'}}}\n",
	  "4:29: bad value `true` of `fifo`; expected true or false" },
	{ JOB "queues:\n  q: {broker: {topic: t}}\n  r: {broker: {topic: t}}\n",
	  "6:3: queue `r` and queue `q` are both `t` on the broker" },
	/* sources */
	{ JOB "sources: {s: }\n", "4:14: bad value nothing of `s`; expected a map" },
	{ JOB "sources: {s: {type: a}}\n", "4:14: `topic` is missing" },
	{ JOB "sources: {s t: {topic: t}}\n", "4:11: bad name `s t`" },
	{ JOB "sources: {s: {topic: t, type: b}}\n",
	  "4:31: `type`: unknown type `b`, expected a type of this file" },
	{ JOB "  abc: {sql: SELECT 1}\nsources: {s: {topic: t, type: ab}}\n",
	  "5:31: `type`: unknown type `ab`; did you mean `abc`?" },
	{ JOB "sources: {s: {topic: t, start: 5}}\n",
	  "4:32: bad value `5` of `start`; expected earliest or latest" },
	{ JOB "sources: {s: {topic: t, identity: none}}\n",
	  "4:35: bad value `none` of `identity`; expected required or at_least_once" },
	{ JOB "sources: {s: {topic: t, prefetch: 0}}\n", "4:35: bad value `0` of `prefetch`" },
	{ JOB "sources: {s: {topics: t, topic: t}}\n",
	  "4:15: unknown key `topics`; did you mean `topic`? Expected one of topic, type, start" },
	{ JOB "sources:\n  s: {topic: t}\n  r: {topic: t}\n",
	  "6:3: source `r` and source `s` are both `t` on the broker" },
	{ JOB "queues: {q: {broker: {topic: t}}}\nsources:\n  s: {topic: t}\n",
	  "6:3: source `s` and queue `q` are both `t` on the broker" },
	{ JOB "queues: {q: {concurrency: 0}}\n", "4:27: bad value `0` of `concurrency`" },
	/* job types and their keys */
	{ "jobs: {'': {sql: SELECT 1}}\n", "1:8: bad name ``; expected 1 to 128 letters" },
	{ "jobs: {-a: {sql: SELECT 1}}\n", "1:8: bad name `-a`" },
	{ "jobs: {a/b: {sql: SELECT 1}}\n", "1:8: bad name `a/b`" },
	{ "jobs:\n  a:\n", "2:5: bad value nothing of `a`; expected a map" },
	{ "jobs:\n  a: 5\n", "2:6: bad value `5` of `a`; expected a map" },
	{ "jobs:\n  a: {}\n", "2:3: `a` has no handler; expected one of module, exec, sql, http" },
	{ "jobs:\n  a:\n    sql: SELECT 1\n    exec: [sh]\n",
	  "4:5: `a` has two handlers, `sql` and `exec`; expected one" },
	{ HTTP "url: x}\n", "3:17: `url`: expected a URL that begins with https://" },
	{ HTTP "method: GET}\n", "3:11: `url` is missing" },
	{ HTTP "url: 'https://${payload.h}/'}\n",
	  "3:18: `url`: what comes from a job cannot stand in front of the path" },
	{ HTTP "url: 'https://h.${job.id}'}\n",
	  "3:18: `url`: what comes from a job cannot stand in front of the path" },
	{ HTTP "url: '${env.A}${payload.h}/'}\n",
	  "3:18: `url`: what comes from a job cannot stand in front of the path" },
	{ HTTP "url: 'https://h/${steps.a.b}'}\n", "3:28: `url`: ${steps.a.b}: not available" },
	{ HTTP "url: 'https://h/${env.DATABASE_URL}'}\n",
	  "3:28: `url`: ${env.DATABASE_URL}: expected a variable that is not one of Windlass's own" },
	{ HTTP "url: 'https://h/?${payload.a'}\n", "3:29: `url`: `${` is not closed" },
	{ HTTP "url: https://h/, method: TRACE}\n", "3:37: bad value `TRACE` of `method`" },
	{ HTTP "url: https://h/, ok: [2x]}\n", "3:33: bad entry `2x` in `ok`; expected a status" },
	{ HTTP "url: https://h/, ok: [network]}\n", "3:33: bad entry `network` in `ok`" },
	{ HTTP "url: https://h/, retry_on: [600]}\n", "3:39: bad entry `600` in `retry_on`" },
	{ HTTP "url: https://h/, ambiguous: never}\n",
	  "3:40: bad value `never` of `ambiguous`; expected resend_same_key, lookup or park" },
	{ HTTP "url: https://h/, ambiguous: lookup}\n",
	  "3:40: `ambiguous: lookup` needs `lookup`" },
	{ HTTP "url: https://h/, lookup: {url: https://h/}}\n",
	  "3:37: `lookup` has no meaning without `ambiguous: lookup`" },
	{ HTTP "url: https://h/, method: GET, ambiguous: park}\n",
	  "3:53: `ambiguous: park` has no meaning with `method: GET`" },
	{ HTTP "url: https://h/, headers: {Host: x}}\n",
	  "3:39: header `Host`: it is not a definition's to set" },
	{ HTTP "url: https://h/, headers: {'a b': x}}\n",
	  "3:39: header `a b`: expected the name of a header" },
	{ HTTP "url: https://h/, headers: {A: \"x\\r\\ny\"}}\n",
	  "3:39: header `A`: its value has a control character" },
	{ HTTP "url: https://h/, body: {a: ['${nobody}']}}\n", "3:41: `body`: unknown ${nobody}" },
	{ HTTP "url: https://h/}\n    batch: 5\n", "4:5: `batch` has no meaning beside `http`" },
	{ JOB "    result: x\n", "4:13: bad value `x` of `result`; expected a map" },
	{ JOB "    result: {exchange: x}\n", "4:13: `to` is missing" },
	{ JOB "    result: {to: x, key: customer}\n",
	  "4:26: bad value `customer` of `key`; expected payload.NAME" },
	{ JOB "    result: {to: x, key: payload.a..b}\n",
	  "4:26: bad value `payload.a..b` of `key`" },
	{ JOB "    detach_after: 1ms\n",
	  "4:19: bad value `1ms` of `detach_after`; expected a duration of 100ms..1d" },
	{ JOB "    record: failures\n", "4:5: `record` has no meaning beside `sql`" },
	{ "jobs:\n  a: {exec: [sh], record: none}\n",
	  "2:27: bad value `none` of `record`; expected all or failures" },
	{ "jobs:\n  a: {exec: [sh], record: failures, result: {to: x}}\n",
	  "2:27: `record: failures` leaves nothing of a job that is done; it has no meaning beside `result`" },
	{ "jobs:\n  a: {exec: [sh], record: failures, on_discard: b}\n  b: {sql: SELECT 1}\n",
	  "2:27: `record: failures` leaves nothing of a job that is done; it has no meaning beside `on_discard`" },
	{ JOB "    inline: true\n", "4:5: `inline` is not available in this version" },
	{ JOB "    retries: 5\n",
	  "4:5: unknown key `retries`, expected one of module, exec, sql, http, rows, queue, payload" },
	{ JOB "    time_out: 5\n", "4:5: unknown key `time_out`; did you mean `timeout`?" },
	{ JOB "    queue: [a]\n", "4:12: bad value a list of `queue`; expected a name" },
	{ JOB "    queue: a b\n", "4:12: bad value `a b` of `queue`; expected a name" },
	{ JOB "    queue:\n", "4:11: bad value nothing of `queue`; expected a name" },
	{ JOB "    priority: urgent\n",
	  "4:15: bad value `urgent` of `priority`; expected high, normal or low" },
	{ JOB "    timeout: 50ms\n",
	  "4:14: bad value `50ms` of `timeout`; expected a duration of 100ms..7d" },
	{ JOB "    timeout: soon\n", "4:14: bad value `soon` of `timeout`; expected a duration" },
	{ JOB "    timeout: 8d\n", "4:14: bad value `8d` of `timeout`; expected a duration" },
	{ JOB "    timeout: {}\n", "4:14: bad value a map of `timeout`; expected a duration" },
	{ JOB "    retry: 5\n", "4:12: bad value `5` of `retry`; expected a map" },
	{ JOB "    retry: {max_attempts: 0}\n",
	  "4:27: bad value `0` of `max_attempts`; expected a whole number of 1..1000" },
	{ JOB "    retry: {max_attempts: 2.5}\n", "4:27: bad value `2.5` of `max_attempts`" },
	{ JOB "    retry: {max_attempts: -1}\n", "4:27: bad value `-1` of `max_attempts`" },
	{ JOB "    retry: {max: 3}\n",
	  "4:13: unknown key `max`; did you mean `max_attempts`? Expected one of max_attempts, base, cap" },
	{ JOB "    retry: {base: 2h, cap: 1h}\n",
	  "4:12: `retry`: base is larger than cap; expected base <= cap" },
	{ JOB "    payload: [a]\n",
	  "4:14: bad value a list of `payload`; expected the path of a JSON Schema file, or a schema as a map" },
	{ JOB "    payload:\n", "4:13: bad value nothing of `payload`; expected the path of" },
	{ JOB "    payload: {required: a}\n",
	  "4:15: `payload`: #/required: must be a list of texts, all different" },
	{ JOB "    payload: {required: [a, a]}\n",
	  "4:15: `payload`: #/required: must be a list of texts, all different" },
	{ JOB
	  "    payload:\n      properties:\n        a: {minimum: one, maximum: 2}\n        b/c: {type: text}\n",
	  "6:13: `payload`: #/properties/a/minimum: must be a number\n"
	  "jobs.yaml:7:15: `payload`: #/properties/b~1c/type: must be one or a list of string" },
	{ JOB "    payload: {allOf: [true, {$ref: a.json}]}\n",
	  "4:30: `payload`: #/allOf/1/$ref: \"a.json\" is not known, and nothing is fetched" },
	{ JOB "    payload: {pattern: \"(\"}\n",
	  "4:15: `payload`: #/pattern: \"(\" is not a pattern that can be used: missing closing" },
	{ JOB "    result_schema: {type: text}\n",
	  "4:5: `result_schema` has no meaning beside `sql`" },
	{ JOB "    env: [A-B]\n",
	  "4:11: bad entry `A-B` in `env`; expected the name of an environment variable" },
	{ JOB "    env: [DATABASE_URL]\n",
	  "4:11: bad entry `DATABASE_URL` in `env`; expected a variable that is not" },
	{ JOB "    env: [WINDLASS_X]\n",
	  "4:11: bad entry `WINDLASS_X` in `env`; expected a variable that is not" },
	{ JOB "    batch: 5\n", "4:5: `batch` has no meaning beside `sql`" },
	{ JOB "    memory: 1GiB\n", "4:5: `memory` has no meaning beside `sql`" },
	{ "jobs:\n  a: {exec: [sh], rows: 1}\n", "2:19: `rows` has no meaning beside `exec`" },
	{ "jobs:\n  a: {exec: [sh], batch: 0}\n",
	  "2:26: bad value `0` of `batch`; expected a whole number of 1..1000" },
	{ "jobs:\n  a: {exec: [sh], memory: 1MB}\n",
	  "2:27: bad value `1MB` of `memory`; expected a size of 1MiB..1024GiB" },
	{ "jobs:\n  a: {exec: []}\n", "2:13: `exec` is empty; expected a list of texts" },
	{ "jobs:\n  a: {exec: sh}\n", "2:13: bad value `sh` of `exec`; expected a list of texts" },
	{ "jobs:\n  a: {module: [x]}\n", "2:15: bad value a list of `module`; expected a text" },
	/* on_discard */
	{ JOB "    on_discard: b\n",
	  "4:17: `on_discard`: unknown type `b`, expected a type of this file" },
	{ JOB "    on_discard: ab\n  abc: {sql: SELECT 1}\n",
	  "4:17: `on_discard`: unknown type `ab`; did you mean `abc`?" },
	{ JOB "    on_discard: a\n", "4:17: `on_discard` goes round: a → a" },
	{ JOB
	  "    on_discard: b\n  b: {sql: SELECT 1, on_discard: c}\n  c: {sql: SELECT 1, on_discard: a}\n",
	  "4:17: `on_discard` goes round: a → b → c → a" },
	{ JOB
	  "    on_discard: b\n  b: {sql: SELECT 1, on_discard: c}\n  c: {sql: SELECT 1, on_discard: b}\n",
	  "5:34: `on_discard` goes round: b → c → b" },
	/* sql */
	{ "jobs: {a: {sql: ''}}\n", "1:17: bad value `` of `sql`; expected a text" },
	{ "jobs: {a: {sql: ' ; '}}\n", "1:18: `sql`: empty; expected an SQL statement" },
	{ "jobs:\n  a:\n    sql: SELECT ${payloads}\n",
	  "3:17: `sql`: unknown ${payloads}; expected payload, payload.NAME" },
	{ "jobs:\n  a:\n    sql: SELECT ${payload.a..b}\n",
	  "3:17: `sql`: unknown ${payload.a..b}" },
	{ "jobs:\n  a:\n    sql: SELECT ${steps.a.b}\n",
	  "3:17: `sql`: ${steps.a.b}: not available in this version" },
	{ "jobs:\n  a:\n    sql: SELECT ${env.X}\n",
	  "3:17: `sql`: ${env.X}: `X` is not listed in this type's `env`" },
	{ "jobs:\n  a:\n    sql: SELECT ${payload.a\n", "3:17: `sql`: `${` is not closed" },
	{ "jobs:\n  a:\n    sql: SELECT '${payload.a}'\n",
	  "3:18: `sql`: no value can stand inside a quoted text" },
	{ "jobs:\n  a:\n    sql: \"SELECT '${payload.a}'\"\n",
	  "3:19: `sql`: no value can stand inside a quoted text" },
	{ "jobs:\n  a:\n    sql: |\n      SELECT ${payload.a},\n        '${payload.b}'\n",
	  "5:10: `sql`: no value can stand inside a quoted text" },
	{ "jobs:\n  a:\n    sql: >-\n      SELECT 1\n      /* ${payload.b} */\n",
	  "5:10: `sql`: no value can stand inside a comment" },
	{ "jobs:\n  a:\n    sql: SELECT E'\\'${payload.a}'\n",
	  "3:21: `sql`: no value can stand inside a quoted text" },
	{ "jobs:\n  a:\n    sql: SELECT $q$ ${payload.a} $q$\n",
	  "3:21: `sql`: no value can stand inside a dollar-quoted" },
	{ "jobs:\n  a:\n    sql: SELECT 1 AS \"${payload.a}\"\n",
	  "3:23: `sql`: no value can stand inside a quoted name" },
	{ "jobs:\n  a:\n    sql: SELECT 'x\n", "3:17: `sql`: a quoted text is not closed" },
	{ "jobs:\n  a:\n    sql: SELECT $1\n",
	  "3:17: `sql`: numbered parameters are made from ${…}" },
	{ "jobs:\n  a:\n    sql: SELECT $x\n", "3:17: `sql`: a lone $" },
	{ "jobs:\n  a:\n    sql: DELETE FROM t; SELECT 1\n",
	  "3:23: `sql`: more than one statement; expected one" },
	{ JOB "    rows: -1\n", "4:11: bad value `-1` of `rows`; expected a whole number of 0.." },
};

static char *problems_of(const char *text, size_t bytes)
{
	char *said = NULL;
	size_t said_bytes;
	FILE *errors = open_memstream(&said, &said_bytes);
	struct definitions *defs = definitions_parse(text, bytes, "jobs.yaml", errors);

	fclose(errors);
	if (defs) {
		definitions_unref(&defs);
		free(said);
		return NULL;
	}
	return said;
}

static void refuses(void **state)
{
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *said = problems_of(cases[i].text, strlen(cases[i].text));

		if (!said || strncmp(said, "jobs.yaml:", 10) != 0 ||
		    strncmp(said + 10, cases[i].want, strlen(cases[i].want)) != 0) {
			wrong++;
			print_error("%s\n  got:  %s\n  want: %s\n", cases[i].text,
				    said ? said : "(accepted)", cases[i].want);
		}
		free(said);
	}
	assert_int_equal(wrong, 0);
}

static void tells_all_problems_of_a_file(void **state)
{
	static const char text[] = "jobs:\n"
				   "  a b: {sql: SELECT 1}\n"
				   "  c: {sql: SELECT 1, retries: 2, timeout: x}\n"
				   "  d: {on_discard: nobody}\n"
				   "kews: {}\n";
	static const char *const want[] = { "jobs.yaml:2:3: ",  "jobs.yaml:3:22: ",
					    "jobs.yaml:3:43: ", "jobs.yaml:4:3: ",
					    "jobs.yaml:4:19: ", "jobs.yaml:5:1: " };
	char *said = problems_of(text, strlen(text));

	(void)state;
	assert_non_null(said);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		if (!strstr(said, want[i]))
			fail_msg("%s not in\n%s", want[i], said);
	}
	free(said);
}

static void counts_what_it_leaves_out(void **state)
{
	char *text = malloc(100000), *at = text + sprintf(text, "jobs: {}\n"), *said;
	size_t lines = 0;

	(void)state;
	for (int i = 0; i < 70; i++)
		at += sprintf(at, "bad%d: 1\n", i);
	said = problems_of(text, (size_t)(at - text));
	assert_non_null(said);
	for (const char *p = said; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 51);
	assert_non_null(strstr(said, "jobs.yaml: and 20 more\n"));
	free(said);
	free(text);
}

static void bounds_size_depth_and_aliases(void **state)
{
	char *text = malloc(1200000), *at, *said;

	(void)state;
	memset(text, ' ', 1200000);
	said = problems_of(text, 1024 * 1024 + 1);
	assert_non_null(strstr(said, "1:1: too large; expected at most 1048576 bytes"));
	free(said);

	memset(text, '[', 1000000);
	said = problems_of(text, 1000000);
	assert_non_null(strstr(said, "1:33: too deep; expected at most 32 levels"));
	free(said);

	at = text + sprintf(text, "a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 12; i++)
		at += sprintf(at, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i,
			      i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
	said = problems_of(text, (size_t)(at - text));
	assert_non_null(strstr(said, "too many values; expected at most 50000"));
	free(said);
	free(text);
}

static void does_not_let_the_file_write_to_the_terminal(void **state)
{
	static const char text[] = "jobs: {}\n\"\\e[31mx\\ny\": 1\n";
	char *said = problems_of(text, strlen(text));

	(void)state;
	assert_non_null(said);
	assert_null(strchr(said, '\033'));
	assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
	free(said);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses),
		cmocka_unit_test(tells_all_problems_of_a_file),
		cmocka_unit_test(counts_what_it_leaves_out),
		cmocka_unit_test(bounds_size_depth_and_aliases),
		cmocka_unit_test(does_not_let_the_file_write_to_the_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
