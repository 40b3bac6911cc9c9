/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are streams: libmicrohttpd asks for more whenever the kernel has taken what there
 * was; while there is nothing the connection is suspended. The warden's clock runs only while bytes
 * are on their way. */
#include <sys/socket.h>

#include "common/http/server_impl.h"

#define BLOCK_BYTES 1024 /* for clients without chunks only; others read into their own buffer */

/* Suspended first: whoever wakes it from then on resumes it, and who did so before is noticed. */
static void fall_asleep(struct request *request)
{
	int awake = STREAM_AWAKE;

	server_phase(server_connection_of(request), PHASE_STEPS);
	MHD_suspend_connection(request->connection);
	if (!atomic_compare_exchange_strong(&request->stream, &awake, STREAM_ASLEEP))
		MHD_resume_connection(request->connection);
}

static ssize_t more(void *request_, uint64_t place, char *buffer, size_t bytes_max)
{
	struct request *request = request_;
	long bytes;

	(void)place;
	atomic_store(&request->stream, STREAM_AWAKE);
	bytes = request->answer.more(request, buffer, bytes_max);
	if (bytes > 0)
		server_phase(server_connection_of(request), PHASE_ANSWER);
	else if (bytes == STREAM_QUIET)
		fall_asleep(request);
	else
		return bytes == STREAM_END ? MHD_CONTENT_READER_END_OF_STREAM
					   : MHD_CONTENT_READER_END_WITH_ERROR;
	return bytes;
}

struct MHD_Response *server_stream_response(struct request *request)
{
	return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, more, request,
						 NULL);
}

bool request_may_stream(const struct request *request)
{
	return !request->inner;
}

void request_answer_stream(struct request *request, int status, const char *content_type,
			   request_more_fn *more_)
{
	struct answer *answer = &request->answer;

	CHECK(answer->status == 0 && !request->parked && request_may_stream(request));
	answer->status = status;
	answer->content_type = content_type;
	answer->more = more_;
}

void request_stream_wake(struct request *request)
{
	if (atomic_exchange(&request->stream, STREAM_WOKEN) == STREAM_ASLEEP)
		MHD_resume_connection(request->connection);
}

void request_cut(struct request *request)
{
	shutdown(server_connection_of(request)->fd, SHUT_RDWR);
}
