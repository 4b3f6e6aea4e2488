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
 * What the client needs of the system and of the protocol's beginning: the
 * socket, headers, hello. No state, no threads.
 */

#ifndef KERNEL_VITA_SOCKET_H_
#define KERNEL_VITA_SOCKET_H_

#include <kernel/kernel_ipsec.h>

#include "vita_protocol.h"

/** What Vita's hello says. */
typedef struct {
	uint64_t boot_id;
	kernel_feature_t features;
} kernel_vita_hello_t;

/** CLOCK_MONOTONIC in ms. */
uint64_t kernel_vita_clock();

/** 64 random bits that are not 0. */
uint64_t kernel_vita_random();

/** Fill the header of a message. */
void kernel_vita_header(vita_header_t *header, uint16_t type, size_t length,
						uint32_t id, uint64_t deadline);

/** A status of the wire as charon's; FAILED if it is none. */
status_t kernel_vita_status(uint32_t status);

/**
 * Connect without waiting.
 *
 * @param reason	why it failed, and what to do
 * @return			the socket, or -1
 */
int kernel_vita_connect(char *path, char *reason, size_t size);

/** Send our hello. FALSE if the connection is broken. */
bool kernel_vita_send_hello(int fd, uint64_t session);

/** Check and read Vita's answer to it; `reason` says why it was refused. */
bool kernel_vita_read_hello(chunk_t message, char *path,
							kernel_vita_hello_t *hello, char *reason,
							size_t size);

#endif /* KERNEL_VITA_SOCKET_H_ */
