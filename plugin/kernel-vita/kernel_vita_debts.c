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

/* See the header. `mutex` guards all; nothing is sent while it is held. */

#include "kernel_vita_debts.h"
#include "kernel_vita_socket.h"

#include <endian.h>
#include <poll.h>
#include <sys/socket.h>

#include <collections/linked_list.h>
#include <threading/mutex.h>
#include <utils/debug.h>

/** More than that, and the oldest are given up */
#define DEBTS_MAX 65536

typedef struct private_kernel_vita_debts_t private_kernel_vita_debts_t;
typedef struct debt_t debt_t;

struct private_kernel_vita_debts_t {
	kernel_vita_debts_t public;
	mutex_t *mutex;
	/** debt_t*, oldest first */
	linked_list_t *debts;
	bool doubt;
};

struct debt_t {
	size_t length;
	/** header and body follow */
	vita_header_t message[];
};

static uint16_t type_of(debt_t *debt)
{
	return le16toh(debt->message->type);
}

static vita_policy_t *policy_of(vita_header_t *message)
{
	return (vita_policy_t*)(message + 1);
}

/**
 * Is there a deletion of a policy in this one's place?
 */
static bool replaces(private_kernel_vita_debts_t *this, vita_header_t *message)
{
	vita_policy_t *policy = policy_of(message), *other;
	enumerator_t *enumerator;
	debt_t *debt;
	bool found = FALSE;

	enumerator = this->debts->create_enumerator(this->debts);
	while (!found && enumerator->enumerate(enumerator, &debt))
	{
		other = policy_of(debt->message);
		found = type_of(debt) == VITA_DEL_POLICY && policy->esp_spi &&
				other->esp_spi == policy->esp_spi &&
				other->id.direction == policy->id.direction;
	}
	enumerator->destroy(enumerator);
	return found;
}

/**
 * Must the call be made up for, and can it be without doing it twice?
 */
static bool is_owed(private_kernel_vita_debts_t *this, vita_header_t *message,
					bool sent)
{
	switch (le16toh(message->type))
	{
		case VITA_DEL_SA:
		case VITA_UPDATE_SA:
			return TRUE;
		case VITA_DEL_POLICY:
			/* without an SPI there may be another one that looks the same */
			return !sent || policy_of(message)->esp_spi;
		case VITA_ADD_POLICY:
			return !sent && replaces(this, message);
		default:
			return FALSE;
	}
}

METHOD(kernel_vita_debts_t, add, void, private_kernel_vita_debts_t *this,
	vita_header_t *message, size_t length, bool sent)
{
	debt_t *debt, *old;

	this->mutex->lock(this->mutex);
	this->doubt = TRUE;
	if (is_owed(this, message, sent))
	{
		debt = malloc(sizeof(*debt) + length);
		debt->length = length;
		memcpy(debt->message, message, length);
		/* better late than never */
		debt->message->deadline = 0;
		this->debts->insert_last(this->debts, debt);
		if (this->debts->get_count(this->debts) > DEBTS_MAX &&
			this->debts->remove_first(this->debts, (void**)&old) == SUCCESS)
		{
			free(old);
		}
	}
	this->mutex->unlock(this->mutex);
}

/**
 * Wait for the answer to the call with an id.
 */
static bool receive(int fd, uint32_t id, uint8_t *buffer, u_int timeout,
					void (*event)(uint16_t type, chunk_t body))
{
	uint64_t now, deadline = kernel_vita_clock() + timeout;
	struct pollfd fds = { .fd = fd, .events = POLLIN };
	vita_header_t *header = (vita_header_t*)buffer;
	ssize_t length;
	uint16_t type;

	while ((now = kernel_vita_clock()) < deadline)
	{
		if (poll(&fds, 1, deadline - now) <= 0)
		{
			continue;
		}
		length = recv(fd, buffer, VITA_MESSAGE_MAX, MSG_DONTWAIT);
		if (length == 0)
		{
			return FALSE;
		}
		if (length < (ssize_t)sizeof(*header))
		{
			continue;
		}
		type = le16toh(header->type);
		if (!(type & VITA_ANSWER))
		{
			event(type, chunk_create(buffer + sizeof(*header),
									 length - sizeof(*header)));
		}
		else if (le32toh(header->id) == id)
		{	/* whatever it says: there is nobody left to tell */
			return TRUE;
		}
	}
	return FALSE;
}

METHOD(kernel_vita_debts_t, pay, bool, private_kernel_vita_debts_t *this,
	int fd, uint8_t *buffer, u_int timeout,
	void (*event)(uint16_t type, chunk_t body))
{
	debt_t *debt;
	uint32_t id = 0;
	bool paid = TRUE;

	while (paid)
	{
		this->mutex->lock(this->mutex);
		if (this->debts->remove_first(this->debts, (void**)&debt) != SUCCESS)
		{
			debt = NULL;
		}
		this->mutex->unlock(this->mutex);
		if (!debt)
		{
			break;
		}
		debt->message->id = htole32(++id);
		paid = send(fd, debt->message, debt->length,
					MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)debt->length &&
			   receive(fd, id, buffer, timeout, event);
		if (paid)
		{
			free(debt);
			continue;
		}
		this->mutex->lock(this->mutex);
		this->debts->insert_first(this->debts, debt);
		this->mutex->unlock(this->mutex);
	}
	if (id)
	{
		DBG1(DBG_KNL, "kernel-vita: made up for %u call%s that failed while "
			 "Vita was away", paid ? id : id - 1, id == 1 ? "" : "s");
	}
	return paid;
}

METHOD(kernel_vita_debts_t, doubt, bool, private_kernel_vita_debts_t *this)
{
	bool doubt;

	this->mutex->lock(this->mutex);
	doubt = this->doubt;
	this->doubt = FALSE;
	this->mutex->unlock(this->mutex);
	return doubt;
}

METHOD(kernel_vita_debts_t, forget, void, private_kernel_vita_debts_t *this)
{
	debt_t *debt;

	this->mutex->lock(this->mutex);
	while (this->debts->remove_first(this->debts, (void**)&debt) == SUCCESS)
	{
		free(debt);
	}
	this->mutex->unlock(this->mutex);
}

METHOD(kernel_vita_debts_t, destroy, void, private_kernel_vita_debts_t *this)
{
	this->debts->destroy_function(this->debts, free);
	this->mutex->destroy(this->mutex);
	free(this);
}

kernel_vita_debts_t *kernel_vita_debts_create()
{
	private_kernel_vita_debts_t *this;

	INIT(this,
		.public = {
			.add = _add,
			.pay = _pay,
			.doubt = _doubt,
			.forget = _forget,
			.destroy = _destroy,
		},
		.mutex = mutex_create(MUTEX_TYPE_DEFAULT),
		.debts = linked_list_create(),
	);
	return &this->public;
}
