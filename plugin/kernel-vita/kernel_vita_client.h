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
 * The connection to Vita: calls of many threads over one socket.
 *
 * A thread of the client's own makes the connection, says hello and reads
 * everything that arrives. (charon's watcher and job queue cannot: the first
 * calls come before they run, and a job may itself be waiting for an answer.)
 * Callers send in their own thread and wait for the answer with their id.
 *
 * Without a connection the thread tries once a second, and at once for every
 * call, so that a call fails only after an attempt of its own has failed. What
 * charon would not repeat is made up for with the next connection.
 */

#ifndef KERNEL_VITA_CLIENT_H_
#define KERNEL_VITA_CLIENT_H_

#include <kernel/kernel_ipsec.h>

#include "vita_protocol.h"

typedef struct kernel_vita_client_t kernel_vita_client_t;
typedef struct kernel_vita_answer_t kernel_vita_answer_t;

/** What Vita answered, in host byte order. */
struct kernel_vita_answer_t {
	uint64_t bytes;
	uint64_t packets;
	/** SPI or CPI */
	uint32_t value;
	/** seconds since the last use, or VITA_IDLE_NEVER */
	uint32_t idle;
};

/** Receives events, in the client's thread. */
typedef void (*kernel_vita_event_cb_t)(uint16_t type, chunk_t body);

/**
 * Hears, in the client's thread, that Vita is back, and that charon's view may
 * not be Vita's any more.
 *
 * @param all		Vita's SAD is empty; otherwise some calls were lost
 */
typedef void (*kernel_vita_lost_cb_t)(void *data, bool all);

struct kernel_vita_client_t {

	/**
	 * Make a call and wait for its answer. Every failure is logged.
	 *
	 * @param type		of the call
	 * @param message	header, to be filled in here, and body
	 * @param length	of both
	 * @param answer	filled on SUCCESS, may be NULL
	 * @return			what Vita answered; FAILED if it did not in time
	 */
	status_t (*call)(kernel_vita_client_t *this, enum vita_type type,
					 vita_header_t *message, size_t length,
					 kernel_vita_answer_t *answer);

	/** What Vita said last, without asking. */
	kernel_feature_t (*get_features)(kernel_vita_client_t *this);

	/** Is there a connection now? */
	bool (*is_connected)(kernel_vita_client_t *this);

	/** Have `cb` called whenever Vita is back with other SAs than before. */
	void (*on_loss)(kernel_vita_client_t *this, kernel_vita_lost_cb_t cb,
					void *data);

	/** Ends the thread and the connection. */
	void (*destroy)(kernel_vita_client_t *this);
};

kernel_vita_client_t *kernel_vita_client_create(kernel_vita_event_cb_t event);

#endif /* KERNEL_VITA_CLIENT_H_ */
