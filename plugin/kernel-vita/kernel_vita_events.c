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

/* See the header. charon copies what it needs of the objects given to it. */

#include "kernel_vita_events.h"

#include <daemon.h>
#include <endian.h>

static host_t *read_host(vita_host_t *in)
{
	chunk_t address = chunk_create(in->address, sizeof(in->address));
	int family = AF_INET6;

	switch (le16toh(in->family))
	{
		case 4:
			address.len = 4;
			family = AF_INET;
			break;
		case 6:
			break;
		default:
			return NULL;
	}
	return host_create_from_chunk(family, address, le16toh(in->port));
}

static traffic_selector_t *read_selector(vita_selector_t *in)
{
	size_t len = in->family == 6 ? 16 : 4;

	if (in->family != 4 && in->family != 6)
	{
		return NULL;
	}
	return traffic_selector_create_from_bytes(in->protocol,
					in->family == 6 ? TS_IPV6_ADDR_RANGE : TS_IPV4_ADDR_RANGE,
					chunk_create(in->from, len), le16toh(in->from_port),
					chunk_create(in->to, len), le16toh(in->to_port));
}

static bool expire(vita_expire_t *event)
{
	host_t *dst = read_host(&event->dst);

	if (!dst)
	{
		return FALSE;
	}
	charon->kernel->expire(charon->kernel, event->protocol,
						   htonl(le32toh(event->spi)), dst, event->hard != 0);
	dst->destroy(dst);
	return TRUE;
}

static bool acquire(vita_acquire_t *event)
{
	kernel_acquire_data_t data = {
#ifdef CPU_ID_MAX /* 6.0.2 and later; 0 would be the first CPU */
		.cpu = CPU_ID_MAX,
#endif
	};
	uint32_t flags = le32toh(event->flags);
	bool good;

	if (flags & VITA_ACQUIRE_SRC)
	{
		data.src = read_selector(&event->src);
	}
	if (flags & VITA_ACQUIRE_DST)
	{
		data.dst = read_selector(&event->dst);
	}
	good = (data.src || !(flags & VITA_ACQUIRE_SRC)) &&
		   (data.dst || !(flags & VITA_ACQUIRE_DST));
	if (good)
	{
		charon->kernel->acquire(charon->kernel, le32toh(event->reqid), &data);
	}
	DESTROY_IF(data.src);
	DESTROY_IF(data.dst);
	return good;
}

static bool mapping(vita_mapping_t *event)
{
	host_t *dst = read_host(&event->dst), *remote = read_host(&event->remote);
	bool good = dst && remote;

	if (good)
	{
		charon->kernel->mapping(charon->kernel, event->protocol,
								htonl(le32toh(event->spi)), dst, remote);
	}
	DESTROY_IF(dst);
	DESTROY_IF(remote);
	return good;
}

void kernel_vita_event(uint16_t type, chunk_t body)
{
	bool good = FALSE;

	switch (type)
	{
		case VITA_EXPIRE:
			good = body.len == sizeof(vita_expire_t) &&
				   expire((vita_expire_t*)body.ptr);
			break;
		case VITA_ACQUIRE:
			good = body.len == sizeof(vita_acquire_t) &&
				   acquire((vita_acquire_t*)body.ptr);
			break;
		case VITA_MAPPING:
			good = body.len == sizeof(vita_mapping_t) &&
				   mapping((vita_mapping_t*)body.ptr);
			break;
		default:
			break;
	}
	if (!good)
	{
		DBG1(DBG_KNL, "kernel-vita: ignored a malformed event of Vita (type "
			 "0x%04x, %zu bytes)", type, body.len);
	}
}
