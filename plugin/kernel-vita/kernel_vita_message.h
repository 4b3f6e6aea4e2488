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
 * charon's objects into the wire structs of vita_protocol.h. Everything is
 * written into zeroed memory, so that unused and reserved bytes are zero.
 */

#ifndef KERNEL_VITA_MESSAGE_H_
#define KERNEL_VITA_MESSAGE_H_

#include <endian.h>

#include <kernel/kernel_ipsec.h>

#include "vita_protocol.h"

/** A message with a body of fixed size; the client fills the header. */
#define vita_message(type) struct { vita_header_t header; type body; }

/** Its length on the wire, without what the compiler adds at its end. */
#define vita_length(message) \
					(sizeof((message).header) + sizeof((message).body))

void kernel_vita_write_host(vita_host_t *out, host_t *host);

void kernel_vita_write_sa_id(vita_sa_id_t *out, kernel_ipsec_sa_id_t *id);

/** FALSE, with a log line, if the policy does not fit a message. */
bool kernel_vita_write_policy_id(vita_policy_id_t *out,
								 kernel_ipsec_policy_id_t *id);

/** FALSE, with a log line, if the policy does not fit a message. */
bool kernel_vita_write_policy(vita_policy_t *out, kernel_ipsec_policy_id_t *id,
							  kernel_ipsec_manage_policy_t *data);

/**
 * A whole add_sa message, which holds keys: memwipe() and free() it.
 *
 * @return		NULL, with a log line, if the SA does not fit a message
 */
vita_header_t *kernel_vita_add_sa_message(kernel_ipsec_sa_id_t *id,
										  kernel_ipsec_add_sa_t *data,
										  size_t *length);

#endif /* KERNEL_VITA_MESSAGE_H_ */
