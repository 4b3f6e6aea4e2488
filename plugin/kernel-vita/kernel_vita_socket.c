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

/* See the header. */

#include "kernel_vita_socket.h"
#include "kernel_vita_message.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <library.h>

uint64_t kernel_vita_clock()
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t kernel_vita_random()
{
	uint64_t value = 0;

	/* charon's own RNGs may not be loaded yet; this one is not for keys */
	if (getrandom(&value, sizeof(value), GRND_NONBLOCK) != sizeof(value))
	{
		value = kernel_vita_clock() << 24 ^ getpid();
	}
	return value ?: 1;
}

void kernel_vita_header(vita_header_t *header, uint16_t type, size_t length,
						uint32_t id, uint64_t deadline)
{
	header->magic = htole32(VITA_MAGIC);
	header->version = htole16(VITA_VERSION);
	header->type = htole16(type);
	header->length = htole32(length);
	header->id = htole32(id);
	header->deadline = htole64(deadline);
}

status_t kernel_vita_status(uint32_t status)
{
	switch (status)
	{
		case VITA_SUCCESS:
			return SUCCESS;
		case VITA_ALREADY_DONE:
			return ALREADY_DONE;
		case VITA_NOT_SUPPORTED:
			return NOT_SUPPORTED;
		case VITA_NOT_FOUND:
			return NOT_FOUND;
		default:
			return FAILED;
	}
}

int kernel_vita_connect(char *path, char *reason, size_t size)
{
	struct sockaddr_un address = {
		.sun_family = AF_UNIX,
	};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
	{
		snprintf(reason, size, "%s.plugins.kernel-vita.socket '%s' is longer "
				 "than %zu characters", lib->ns, path,
				 sizeof(address.sun_path) - 1);
		return -1;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
	{
		snprintf(reason, size, "cannot create a socket: %s", strerror(errno));
		return -1;
	}
	if (connect(fd, (struct sockaddr*)&address, sizeof(address)) < 0)
	{
		snprintf(reason, size, "no Vita at %s (%s): start it (vita run), or "
				 "correct %s.plugins.kernel-vita.socket", path,
				 strerror(errno), lib->ns);
		close(fd);
		return -1;
	}
	return fd;
}

bool kernel_vita_send_hello(int fd, uint64_t session)
{
	vita_message(vita_hello_t) m = {};

	kernel_vita_header(&m.header, VITA_HELLO, vita_length(m), 0, 0);
	m.body.session = htole64(session);
	m.body.clock = htole64(kernel_vita_clock());
	m.body.pid = htole32(getpid());
	snprintf(m.body.software, sizeof(m.body.software), "%s %s", lib->ns,
			 VERSION);
	return send(fd, &m, vita_length(m), MSG_DONTWAIT | MSG_NOSIGNAL) ==
		   vita_length(m);
}

bool kernel_vita_read_hello(chunk_t message, char *path,
							kernel_vita_hello_t *hello, char *reason,
							size_t size)
{
	vita_header_t *header = (vita_header_t*)message.ptr;
	vita_hello_answer_t *body = (vita_hello_answer_t*)(header + 1);
	uint16_t length;

	if (message.len < sizeof(*header) || le32toh(header->magic) != VITA_MAGIC)
	{
		snprintf(reason, size, "who answers at %s is not Vita: correct "
				 "%s.plugins.kernel-vita.socket", path, lib->ns);
		return FALSE;
	}
	if (le16toh(header->version) != VITA_VERSION)
	{	/* what follows may look different */
		snprintf(reason, size, "Vita at %s speaks version %u of the protocol, "
				 "this plugin version %u: build and install the plugin that "
				 "belongs to this Vita and restart charon", path,
				 le16toh(header->version), VITA_VERSION);
		return FALSE;
	}
	if (le16toh(header->type) != (VITA_HELLO | VITA_ANSWER) ||
		message.len < sizeof(*header) + sizeof(*body) ||
		message.len != sizeof(*header) + sizeof(*body) +
					   le16toh(body->reason_length))
	{
		snprintf(reason, size, "Vita at %s answered hello with a malformed "
				 "message (type 0x%04x, %zu bytes)", path,
				 le16toh(header->type), message.len);
		return FALSE;
	}
	if (le32toh(body->status) != VITA_SUCCESS)
	{
		length = min(le16toh(body->reason_length), VITA_REASON_MAX / 2);
		snprintf(reason, size, "Vita at %s refused hello: %.*s", path,
				 (int)length, (char*)(body + 1));
		return FALSE;
	}
	hello->boot_id = le64toh(body->boot_id);
	hello->features = le32toh(body->features);
	return TRUE;
}
