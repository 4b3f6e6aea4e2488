/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (C) The Vita authors
 *
 * This program is free software; you can redistribute it and/or modify it
 * under the terms of the GNU General Public License as published by the
 * Free Software Foundation; either version 2 of the License, or (at your
 * option) any later version.  See <http://www.fsf.org/copyleft/gpl.txt>.
 *
 * This program is distributed in the hope that it will be useful, but
 * WITHOUT ANY WARRANTY; without even the implied warranty of MERCHANTABILITY
 * or FITNESS FOR A PARTICULAR PURPOSE.  See the GNU General Public License
 * for more details.
 */

/*
 * Locking: `mutex` guards all state that callers and the thread share. Nobody
 * logs, or calls into charon, while holding it.
 *
 * Time limits: a caller waits `timeout` ms in all, for the connection and for
 * the answer. Calls that create something tell Vita their deadline, so that it
 * never begins one that charon has given up already.
 */

#include "kernel_vita_client.h"
#include "kernel_vita_debts.h"
#include "kernel_vita_socket.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <collections/linked_list.h>
#include <library.h>
#include <threading/condvar.h>
#include <threading/mutex.h>
#include <threading/thread.h>
#include <utils/debug.h>

#define DEFAULT_SOCKET "/run/vita/default/charon.sock"
/** ms; what the setting may be, and what it is without one */
#define TIMEOUT_MIN 10
#define TIMEOUT_MAX 600000
#define TIMEOUT_DEFAULT 2000
/** ms between two attempts to connect, and to send to a full socket */
#define RETRY_CONNECT 1000
#define RETRY_SEND 10

typedef struct private_kernel_vita_client_t private_kernel_vita_client_t;
typedef struct pending_t pending_t;

struct private_kernel_vita_client_t {
	kernel_vita_client_t public;
	kernel_vita_event_cb_t event;
	char *path;
	u_int timeout;
	/** does the work; NULL if it could not be created yet */
	thread_t *thread;
	/** eventfd: a call wants a connection, or the client ends */
	int wake;
	kernel_vita_debts_t *debts;
	mutex_t *mutex;
	/** `ready` or `attempts` changed */
	condvar_t *changed;

	/* guarded by mutex */
	bool closing;
	/** Vita has answered hello on `fd` */
	bool ready;
	int fd;
	/** attempts to connect that have ended, either way */
	u_int attempts;
	/** calls that wait, pending_t* */
	linked_list_t *pending;
	uint32_t last_id;
	kernel_feature_t features;
	/** to be told when Vita has lost its SAD, may be NULL */
	kernel_vita_lost_cb_t lost;
	void *lost_data;
	/** why there is no connection */
	char reason[VITA_REASON_MAX];
	/** a failed call has been told the whole reason */
	bool told;

	/* only the thread's */
	uint64_t session;
	uint64_t boot_id;
	bool connected_before;
	uint8_t *buffer;
};

/** A call that waits, on the stack of its caller. */
struct pending_t {
	uint32_t id;
	uint16_t type;
	condvar_t *done;
	bool answered;
	bool lost;
	status_t status;
	kernel_vita_answer_t answer;
	char reason[VITA_REASON_MAX + 1];
};

static const char *call_name(uint16_t type)
{
	static const char *names[] = {
		[VITA_HELLO] = "hello",
		[VITA_GET_SPI] = "get_spi",
		[VITA_GET_CPI] = "get_cpi",
		[VITA_ADD_SA] = "add_sa",
		[VITA_UPDATE_SA] = "update_sa",
		[VITA_QUERY_SA] = "query_sa",
		[VITA_DEL_SA] = "del_sa",
		[VITA_FLUSH_SAS] = "flush_sas",
		[VITA_ADD_POLICY] = "add_policy",
		[VITA_QUERY_POLICY] = "query_policy",
		[VITA_DEL_POLICY] = "del_policy",
		[VITA_FLUSH_POLICIES] = "flush_policies",
	};

	return type < countof(names) && names[type] ? names[type] : "call";
}

/**
 * Calls whose effect would be left behind if they were served late. Late
 * deletions and updates, on the other hand, are better than none.
 */
static bool expires(enum vita_type type)
{
	return type == VITA_GET_SPI || type == VITA_GET_CPI ||
		   type == VITA_ADD_SA || type == VITA_ADD_POLICY;
}

/* ---- the thread --------------------------------------------------------- */

/**
 * Sleep until `fd` (-1 for none) is readable, somebody wakes the thread, or
 * the time is over. TRUE if `fd` is readable (or closed).
 */
static bool wait_for(private_kernel_vita_client_t *this, int fd, int ms)
{
	struct pollfd fds[] = {
		{ .fd = this->wake, .events = POLLIN },
		{ .fd = fd, .events = POLLIN },
	};
	eventfd_t count;

	if (poll(fds, countof(fds), ms) <= 0)
	{
		return FALSE;
	}
	if (fds[0].revents && eventfd_read(this->wake, &count) < 0)
	{
		DBG2(DBG_KNL, "kernel-vita: reading the eventfd: %s", strerror(errno));
	}
	return fds[1].revents != 0;
}

static bool is_closing(private_kernel_vita_client_t *this)
{
	bool closing;

	this->mutex->lock(this->mutex);
	closing = this->closing;
	this->mutex->unlock(this->mutex);
	return closing;
}

/**
 * Wait for the first message of Vita until the time limit is over.
 *
 * @return		its length; 0: closed; -1: time is over
 */
static ssize_t receive_hello(private_kernel_vita_client_t *this, int fd)
{
	uint64_t now, deadline = kernel_vita_clock() + this->timeout;
	ssize_t length;

	while (!is_closing(this) && (now = kernel_vita_clock()) < deadline)
	{
		if (wait_for(this, fd, deadline - now))
		{
			length = recv(fd, this->buffer, VITA_MESSAGE_MAX, MSG_DONTWAIT);
			if (length >= 0)
			{
				return length;
			}
			if (errno != EAGAIN && errno != EINTR)
			{
				return 0;
			}
		}
	}
	return -1;
}

/**
 * Exchange hellos; on failure `reason` says why.
 */
static bool greet(private_kernel_vita_client_t *this, int fd,
				  kernel_vita_hello_t *hello, char *reason, size_t size)
{
	ssize_t length;

	if (!kernel_vita_send_hello(fd, this->session))
	{
		length = 0;
	}
	else
	{
		length = receive_hello(this, fd);
	}
	if (length < 0)
	{
		snprintf(reason, size, "Vita at %s did not answer hello within %u ms: "
				 "it hangs or is overloaded", this->path, this->timeout);
		return FALSE;
	}
	if (length == 0)
	{
		snprintf(reason, size, "Vita at %s closed the connection before its "
				 "hello: charon must run as root or as Vita's user, Vita's log "
				 "says more", this->path);
		return FALSE;
	}
	return kernel_vita_read_hello(chunk_create(this->buffer, length),
								  this->path, hello, reason, size);
}

/**
 * Tell the log that there is a connection, and what that means.
 *
 * @return		whether Vita has lost what charon counts on
 */
static bool log_connected(private_kernel_vita_client_t *this,
						  kernel_vita_hello_t *hello)
{
	bool lost = this->connected_before && this->boot_id != hello->boot_id;

	if (lost)
	{
		DBG1(DBG_KNL, "kernel-vita: Vita at %s is back, but has lost all SAs "
			 "and policies (boot id %.16llx, before %.16llx): setting them up "
			 "again", this->path,
			 (unsigned long long)hello->boot_id,
			 (unsigned long long)this->boot_id);
	}
	else
	{
		DBG1(DBG_KNL, "kernel-vita: connected to Vita at %s (boot id %.16llx, "
			 "features 0x%x)", this->path, (unsigned long long)hello->boot_id,
			 (u_int)hello->features);
	}
	this->connected_before = TRUE;
	this->boot_id = hello->boot_id;
	return lost;
}

/**
 * One attempt to connect.
 */
static bool attempt(private_kernel_vita_client_t *this)
{
	kernel_vita_hello_t hello = {};
	char reason[VITA_REASON_MAX] = "";
	bool reached, news = FALSE, lost = FALSE;
	kernel_vita_lost_cb_t cb;
	void *data;
	int fd;

	fd = kernel_vita_connect(this->path, reason, sizeof(reason));
	reached = fd >= 0;
	if (reached && !greet(this, fd, &hello, reason, sizeof(reason)))
	{
		close(fd);
		fd = -1;
	}
	if (fd >= 0)
	{
		lost = log_connected(this, &hello);
		if (lost)
		{
			this->debts->forget(this->debts);
		}
		else if (!this->debts->pay(this->debts, fd, this->buffer,
								   this->timeout, this->event))
		{
			snprintf(reason, sizeof(reason), "the connection to Vita at %s "
					 "broke again", this->path);
			close(fd);
			fd = -1;
		}
	}

	this->mutex->lock(this->mutex);
	this->attempts++;
	if (fd >= 0)
	{
		this->fd = fd;
		this->ready = TRUE;
		this->features = hello.features;
		this->reason[0] = '\0';
	}
	else if (!streq(this->reason, reason))
	{
		memcpy(this->reason, reason, sizeof(reason));
		this->told = FALSE;
		news = TRUE;
	}
	cb = this->lost;
	data = this->lost_data;
	this->changed->broadcast(this->changed);
	this->mutex->unlock(this->mutex);

	if (fd >= 0 && (this->debts->doubt(this->debts) || lost) && cb)
	{
		cb(data, lost);
	}
	if (news)
	{
		/* that the connection was lost has had its line already */
		dbg(DBG_KNL, reached || !this->connected_before ? 1 : 2,
			"kernel-vita: %s", reason);
	}
	return fd >= 0;
}

/**
 * Give an answer to the call that waits for it.
 */
static void dispatch_answer(private_kernel_vita_client_t *this, uint32_t id,
							uint16_t type, chunk_t body)
{
	vita_answer_t *in = (vita_answer_t*)body.ptr;
	enumerator_t *enumerator;
	pending_t *pending;
	size_t length;

	if (body.len < sizeof(*in) ||
		body.len != sizeof(*in) + le16toh(in->reason_length))
	{
		DBG1(DBG_KNL, "kernel-vita: ignored a malformed answer of Vita to %s "
			 "(%zu bytes)", call_name(type), body.len);
		return;
	}
	this->mutex->lock(this->mutex);
	enumerator = this->pending->create_enumerator(this->pending);
	while (enumerator->enumerate(enumerator, &pending))
	{
		if (pending->id == id && pending->type == type)
		{
			pending->status = kernel_vita_status(le32toh(in->status));
			pending->answer.bytes = le64toh(in->bytes);
			pending->answer.packets = le64toh(in->packets);
			pending->answer.value = le32toh(in->value);
			pending->answer.idle = le32toh(in->idle);
			length = min(le16toh(in->reason_length), VITA_REASON_MAX);
			memcpy(pending->reason, in + 1, length);
			pending->answered = TRUE;
			pending->done->signal(pending->done);
			break;
		}
	}
	/* nobody waits: the call has reached its time limit */
	enumerator->destroy(enumerator);
	this->mutex->unlock(this->mutex);
}

static void dispatch(private_kernel_vita_client_t *this, chunk_t message)
{
	vita_header_t *header = (vita_header_t*)message.ptr;
	uint16_t type;

	if (message.len < sizeof(*header) ||
		le32toh(header->magic) != VITA_MAGIC ||
		le16toh(header->version) != VITA_VERSION ||
		le32toh(header->length) != message.len)
	{
		DBG1(DBG_KNL, "kernel-vita: ignored a malformed message of Vita (%zu "
			 "bytes)", message.len);
		return;
	}
	type = le16toh(header->type);
	message = chunk_skip(message, sizeof(*header));
	if (type & VITA_ANSWER)
	{
		dispatch_answer(this, le32toh(header->id), type & ~VITA_ANSWER,
						message);
	}
	else
	{
		this->event(type, message);
	}
}

/**
 * Read until the connection breaks or the client ends.
 */
static void serve(private_kernel_vita_client_t *this, int fd)
{
	ssize_t length;

	while (!is_closing(this))
	{
		if (!wait_for(this, fd, -1))
		{
			continue;
		}
		length = recv(fd, this->buffer, VITA_MESSAGE_MAX, MSG_DONTWAIT);
		if (length > 0)
		{
			dispatch(this, chunk_create(this->buffer, length));
		}
		else if (length == 0 || (errno != EAGAIN && errno != EINTR))
		{
			break;
		}
	}
}

/**
 * The connection is gone: so is every answer that somebody waits for.
 */
static void disconnected(private_kernel_vita_client_t *this)
{
	enumerator_t *enumerator;
	pending_t *pending;
	bool closing;

	this->mutex->lock(this->mutex);
	closing = this->closing;
	this->ready = FALSE;
	close(this->fd);
	this->fd = -1;
	enumerator = this->pending->create_enumerator(this->pending);
	while (enumerator->enumerate(enumerator, &pending))
	{
		pending->lost = TRUE;
		pending->done->signal(pending->done);
	}
	enumerator->destroy(enumerator);
	this->mutex->unlock(this->mutex);

	if (!closing)
	{
		DBG1(DBG_KNL, "kernel-vita: Vita at %s closed the connection; SAs can "
			 "neither be set up nor removed until it is back", this->path);
	}
}

static void *run(private_kernel_vita_client_t *this)
{
	while (!is_closing(this))
	{
		if (attempt(this))
		{
			serve(this, this->fd);
			disconnected(this);
		}
		if (!is_closing(this))
		{
			wait_for(this, -1, RETRY_CONNECT);
		}
	}
	return NULL;
}

/* ---- the callers -------------------------------------------------------- */

/**
 * Wake the thread; with the mutex held. It is created in here if that has not
 * been possible earlier.
 */
static void wake(private_kernel_vita_client_t *this)
{
	if (!this->thread)
	{
		this->thread = thread_create((thread_main_t)run, this);
	}
	if (this->wake >= 0)
	{
		eventfd_write(this->wake, 1);
	}
}

/**
 * Wait for a connection, but not longer than one attempt takes; with the mutex
 * held.
 */
static bool connected(private_kernel_vita_client_t *this, timeval_t deadline)
{
	u_int before = this->attempts;

	if (!this->ready)
	{
		wake(this);
	}
	while (!this->ready && !this->closing && this->attempts == before)
	{
		if (this->changed->timed_wait_abs(this->changed, this->mutex, deadline))
		{
			break;
		}
	}
	return this->ready;
}

/**
 * Send, if need be waiting until the socket has room again; with the mutex
 * held, which keeps the socket open.
 *
 * @return		0, or an errno: ETIMEDOUT, or of a connection that is broken
 */
static int transmit(private_kernel_vita_client_t *this, pending_t *pending,
					vita_header_t *message, size_t length, uint64_t deadline)
{
	while (!pending->lost)
	{
		if (send(this->fd, message, length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		{
			return 0;
		}
		if (errno != EAGAIN && errno != EINTR)
		{
			return errno;
		}
		if (kernel_vita_clock() >= deadline)
		{
			return ETIMEDOUT;
		}
		pending->done->timed_wait(pending->done, this->mutex, RETRY_SEND);
	}
	return EPIPE;
}

/**
 * The whole reason once, then one short line for each further call.
 */
static void log_unreachable(private_kernel_vita_client_t *this, uint16_t type)
{
	char reason[VITA_REASON_MAX];
	bool told;

	this->mutex->lock(this->mutex);
	told = this->told;
	this->told = TRUE;
	memcpy(reason, this->reason, sizeof(reason));
	this->mutex->unlock(this->mutex);

	if (told)
	{
		DBG1(DBG_KNL, "kernel-vita: %s failed: still no connection to Vita",
			 call_name(type));
	}
	else
	{
		DBG1(DBG_KNL, "kernel-vita: %s failed: %s", call_name(type),
			 reason[0] ? reason : "no connection to Vita yet");
	}
}

static void log_refused(uint16_t type, pending_t *pending)
{
	if (pending->status == SUCCESS)
	{
		return;
	}
	/* charon deletes things that never were, that is no news */
	dbg(DBG_KNL, pending->status == NOT_FOUND ? 2 : 1,
		"kernel-vita: Vita answered %s with %N%s%s", call_name(type),
		status_names, pending->status, pending->reason[0] ? ": " : "", pending->reason);
}

METHOD(kernel_vita_client_t, call, status_t,
	private_kernel_vita_client_t *this, enum vita_type type,
	vita_header_t *message, size_t length, kernel_vita_answer_t *answer)
{
	pending_t pending = {
		.type = type,
		.status = FAILED,
	};
	uint64_t deadline;
	timeval_t limit;
	bool old, reached, sent = FALSE;
	int error = 0;

	/* `pending` is on the stack: the thread must not vanish meanwhile */
	old = thread_cancelability(FALSE);
	pending.done = condvar_create(CONDVAR_TYPE_DEFAULT);
	time_monotonic(&limit);
	timeval_add_ms(&limit, this->timeout);
	deadline = kernel_vita_clock() + this->timeout;
	kernel_vita_header(message, type, length, 0,
					   expires(type) ? deadline : 0);

	this->mutex->lock(this->mutex);
	reached = connected(this, limit);
	if (reached)
	{
		/* 0 is for events */
		this->last_id = this->last_id == UINT32_MAX ? 1 : this->last_id + 1;
		pending.id = this->last_id;
		message->id = htole32(pending.id);
		this->pending->insert_last(this->pending, &pending);
		error = transmit(this, &pending, message, length, deadline);
		sent = !error;
		while (!error && !pending.answered)
		{
			if (pending.lost)
			{
				error = EPIPE;
			}
			else if (pending.done->timed_wait_abs(pending.done, this->mutex,
												  limit) && !pending.answered)
			{
				error = ETIMEDOUT;
			}
		}
		this->pending->remove(this->pending, &pending, NULL);
	}
	this->mutex->unlock(this->mutex);

	if (!reached || (!pending.answered && error != ETIMEDOUT))
	{
		this->debts->add(this->debts, message, length, sent);
	}
	if (!reached)
	{
		log_unreachable(this, type);
	}
	else if (pending.answered)
	{
		log_refused(type, &pending);
	}
	else if (error == ETIMEDOUT)
	{
		DBG1(DBG_KNL, "kernel-vita: %s failed: Vita at %s did not answer within "
			 "%u ms: it hangs or is overloaded", call_name(type), this->path,
			 this->timeout);
	}
	else
	{
		DBG1(DBG_KNL, "kernel-vita: %s failed: the connection to Vita at %s "
			 "broke before the answer: %s", call_name(type), this->path,
			 strerror(error));
	}
	if (answer)
	{
		*answer = pending.answer;
	}
	pending.done->destroy(pending.done);
	thread_cancelability(old);
	return pending.status;
}

METHOD(kernel_vita_client_t, get_features, kernel_feature_t,
	private_kernel_vita_client_t *this)
{
	kernel_feature_t features;

	this->mutex->lock(this->mutex);
	features = this->features;
	this->mutex->unlock(this->mutex);
	return features;
}

METHOD(kernel_vita_client_t, is_connected, bool,
	private_kernel_vita_client_t *this)
{
	bool ready;

	this->mutex->lock(this->mutex);
	ready = this->ready;
	this->mutex->unlock(this->mutex);
	return ready;
}

METHOD(kernel_vita_client_t, on_loss, void, private_kernel_vita_client_t *this,
	kernel_vita_lost_cb_t cb, void *data)
{
	this->mutex->lock(this->mutex);
	this->lost = cb;
	this->lost_data = data;
	this->mutex->unlock(this->mutex);
}

METHOD(kernel_vita_client_t, destroy, void, private_kernel_vita_client_t *this)
{
	thread_t *thread;

	this->mutex->lock(this->mutex);
	this->closing = TRUE;
	thread = this->thread;
	if (thread)
	{
		wake(this);
	}
	this->mutex->unlock(this->mutex);
	if (thread)
	{
		thread->join(thread);
	}
	if (this->wake >= 0)
	{
		close(this->wake);
	}
	this->debts->destroy(this->debts);
	this->pending->destroy(this->pending);
	this->changed->destroy(this->changed);
	this->mutex->destroy(this->mutex);
	free(this->buffer);
	free(this->path);
	free(this);
}

kernel_vita_client_t *kernel_vita_client_create(kernel_vita_event_cb_t event)
{
	private_kernel_vita_client_t *this;
	int timeout;

	INIT(this,
		.public = {
			.call = _call,
			.get_features = _get_features,
			.is_connected = _is_connected,
			.on_loss = _on_loss,
			.destroy = _destroy,
		},
		.event = event,
		.path = strdup(lib->settings->get_str(lib->settings,
					"%s.plugins.kernel-vita.socket", DEFAULT_SOCKET, lib->ns)),
		.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.debts = kernel_vita_debts_create(),
		.mutex = mutex_create(MUTEX_TYPE_DEFAULT),
		.changed = condvar_create(CONDVAR_TYPE_DEFAULT),
		.pending = linked_list_create(),
		.fd = -1,
		/* until Vita says otherwise */
		.features = KERNEL_ESP_V3_TFC | KERNEL_POLICY_SPI,
		.session = kernel_vita_random(),
		.buffer = malloc(VITA_MESSAGE_MAX),
	);
	timeout = lib->settings->get_int(lib->settings,
				"%s.plugins.kernel-vita.timeout", TIMEOUT_DEFAULT, lib->ns);
	if (timeout < TIMEOUT_MIN || timeout > TIMEOUT_MAX)
	{
		DBG1(DBG_KNL, "kernel-vita: timeout of %d ms is not within %d to %d, "
			 "using %d", timeout, TIMEOUT_MIN, TIMEOUT_MAX, TIMEOUT_DEFAULT);
		timeout = TIMEOUT_DEFAULT;
	}
	this->timeout = timeout;
	this->mutex->lock(this->mutex);
	wake(this);
	this->mutex->unlock(this->mutex);
	return &this->public;
}
