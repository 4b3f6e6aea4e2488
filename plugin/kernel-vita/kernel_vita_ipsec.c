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
 * One method per call: build the message, send it, hand the answer back in the
 * shape that charon wants. Out parameters are written only on success, because
 * charon deletes an SPI that a failed get_spi() has written.
 */

#include "kernel_vita_ipsec.h"
#include "kernel_vita_client.h"
#include "kernel_vita_events.h"
#include "kernel_vita_message.h"
#include "kernel_vita_filter.h"
#include "kernel_vita_recovery.h"

#include <dlfcn.h>

#include <daemon.h>
#include <utils/debug.h>

typedef struct {
	kernel_ipsec_t public;
	kernel_vita_client_t *client;
	kernel_vita_recovery_t *recovery;
} private_kernel_vita_ipsec_t;

/**
 * Last use as charon counts it, from an age; 0 is unknown.
 */
static time_t use_time(uint32_t idle)
{
	time_t now = time_monotonic(NULL);

	/* used before the clock began: as old as can be told */
	return idle == VITA_IDLE_NEVER ? 0 : max(1, now - (time_t)idle);
}

METHOD(kernel_ipsec_t, get_features, kernel_feature_t,
	private_kernel_vita_ipsec_t *this)
{
	return this->client->get_features(this->client);
}

METHOD(kernel_ipsec_t, get_spi, status_t, private_kernel_vita_ipsec_t *this,
	host_t *src, host_t *dst, uint8_t protocol, uint32_t *spi)
{
	vita_message(vita_get_spi_t) m = {};
	kernel_vita_answer_t answer;
	status_t status;

	kernel_vita_write_host(&m.body.src, src);
	kernel_vita_write_host(&m.body.dst, dst);
	m.body.protocol = protocol;
	status = this->client->call(this->client, VITA_GET_SPI, &m.header,
								vita_length(m), &answer);
	if (status == SUCCESS)
	{
		*spi = htonl(answer.value);
	}
	return status;
}

METHOD(kernel_ipsec_t, get_cpi, status_t, private_kernel_vita_ipsec_t *this,
	host_t *src, host_t *dst, uint16_t *cpi)
{
	vita_message(vita_get_cpi_t) m = {};
	kernel_vita_answer_t answer;
	status_t status;

	kernel_vita_write_host(&m.body.src, src);
	kernel_vita_write_host(&m.body.dst, dst);
	status = this->client->call(this->client, VITA_GET_CPI, &m.header,
								vita_length(m), &answer);
	if (status == SUCCESS)
	{
		*cpi = htons(answer.value);
	}
	return status;
}

METHOD(kernel_ipsec_t, add_sa, status_t, private_kernel_vita_ipsec_t *this,
	kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data)
{
	vita_header_t *message;
	size_t length;
	status_t status;

	message = kernel_vita_add_sa_message(id, data, &length);
	if (!message)
	{
		return FAILED;
	}
	status = this->client->call(this->client, VITA_ADD_SA, message, length,
								NULL);
	memwipe(message, length);
	free(message);
	return status;
}

METHOD(kernel_ipsec_t, update_sa, status_t, private_kernel_vita_ipsec_t *this,
	kernel_ipsec_sa_id_t *id, kernel_ipsec_update_sa_t *data)
{
	vita_message(vita_update_sa_t) m = {};

	kernel_vita_write_sa_id(&m.body.id, id);
	kernel_vita_write_host(&m.body.new_src, data->new_src);
	kernel_vita_write_host(&m.body.new_dst, data->new_dst);
	m.body.flags = htole32((data->encap ? VITA_UPDATE_ENCAP : 0) |
						   (data->new_encap ? VITA_UPDATE_NEW_ENCAP : 0));
	m.body.new_reqid = htole32(data->new_reqid);
	m.body.cpi = htole16(ntohs(data->cpi));
	return this->client->call(this->client, VITA_UPDATE_SA, &m.header,
							  vita_length(m), NULL);
}

METHOD(kernel_ipsec_t, query_sa, status_t, private_kernel_vita_ipsec_t *this,
	kernel_ipsec_sa_id_t *id, kernel_ipsec_query_sa_t *data, uint64_t *bytes,
	uint64_t *packets, time_t *time)
{
	vita_message(vita_sa_t) m = {};
	kernel_vita_answer_t answer;
	status_t status;

	kernel_vita_write_sa_id(&m.body.id, id);
	m.body.cpi = htole16(ntohs(data->cpi));
	status = this->client->call(this->client, VITA_QUERY_SA, &m.header,
								vita_length(m), &answer);
	if (status == SUCCESS)
	{
		if (bytes)
		{
			*bytes = answer.bytes;
		}
		if (packets)
		{
			*packets = answer.packets;
		}
		if (time)
		{
			*time = use_time(answer.idle);
		}
	}
	return status;
}

METHOD(kernel_ipsec_t, del_sa, status_t, private_kernel_vita_ipsec_t *this,
	kernel_ipsec_sa_id_t *id, kernel_ipsec_del_sa_t *data)
{
	vita_message(vita_sa_t) m = {};

	kernel_vita_write_sa_id(&m.body.id, id);
	m.body.cpi = htole16(ntohs(data->cpi));
	return this->client->call(this->client, VITA_DEL_SA, &m.header, vita_length(m),
							  NULL);
}

METHOD(kernel_ipsec_t, flush_sas, status_t, private_kernel_vita_ipsec_t *this)
{
	vita_header_t header = {};

	return this->client->call(this->client, VITA_FLUSH_SAS, &header,
							  sizeof(header), NULL);
}

METHOD(kernel_ipsec_t, add_policy, status_t, private_kernel_vita_ipsec_t *this,
	kernel_ipsec_policy_id_t *id, kernel_ipsec_manage_policy_t *data)
{
	vita_message(vita_policy_t) m = {};

	if (!kernel_vita_write_policy(&m.body, id, data))
	{
		return FAILED;
	}
	return this->client->call(this->client, VITA_ADD_POLICY, &m.header,
							  vita_length(m), NULL);
}

METHOD(kernel_ipsec_t, query_policy, status_t,
	private_kernel_vita_ipsec_t *this, kernel_ipsec_policy_id_t *id,
	kernel_ipsec_query_policy_t *data, time_t *time)
{
	vita_message(vita_policy_id_t) m = {};
	kernel_vita_answer_t answer;
	status_t status;

	if (!kernel_vita_write_policy_id(&m.body, id))
	{
		return FAILED;
	}
	status = this->client->call(this->client, VITA_QUERY_POLICY, &m.header,
								vita_length(m), &answer);
	if (status == SUCCESS && time)
	{
		*time = use_time(answer.idle);
	}
	return status;
}

METHOD(kernel_ipsec_t, del_policy, status_t, private_kernel_vita_ipsec_t *this,
	kernel_ipsec_policy_id_t *id, kernel_ipsec_manage_policy_t *data)
{
	vita_message(vita_policy_t) m = {};

	if (!kernel_vita_write_policy(&m.body, id, data))
	{
		return FAILED;
	}
	return this->client->call(this->client, VITA_DEL_POLICY, &m.header,
							  vita_length(m), NULL);
}

METHOD(kernel_ipsec_t, flush_policies, status_t,
	private_kernel_vita_ipsec_t *this)
{
	vita_header_t header = {};

	return this->client->call(this->client, VITA_FLUSH_POLICIES, &header,
							  sizeof(header), NULL);
}

/*
 * The next two are charon's very first calls and need no daemon: Vita never
 * takes IKE packets from charon's sockets.
 */
METHOD(kernel_ipsec_t, bypass_socket, bool, private_kernel_vita_ipsec_t *this,
	int fd, int family)
{
	return TRUE;
}

METHOD(kernel_ipsec_t, enable_udp_decap, bool,
	private_kernel_vita_ipsec_t *this, int fd, int family, uint16_t port)
{
	kernel_vita_filter_esp(fd, port);
	return TRUE;
}

METHOD(kernel_ipsec_t, destroy, void, private_kernel_vita_ipsec_t *this)
{
	/* its thread tells the recovery */
	this->client->destroy(this->client);
	this->recovery->destroy(this->recovery);
	free(this);
}

/**
 * Was this charon configured with --enable-mediation?
 */
static bool has_mediation()
{
	return dlsym(RTLD_DEFAULT, "connect_manager_create") != NULL;
}

kernel_ipsec_t *kernel_vita_ipsec_create()
{
	private_kernel_vita_ipsec_t *this;

	INIT(this,
		.public = {
			.get_features = _get_features,
			.get_spi = _get_spi,
			.get_cpi = _get_cpi,
			.add_sa = _add_sa,
			.update_sa = _update_sa,
			.query_sa = _query_sa,
			.del_sa = _del_sa,
			.flush_sas = _flush_sas,
			.add_policy = _add_policy,
			.query_policy = _query_policy,
			.del_policy = _del_policy,
			.flush_policies = _flush_policies,
			.bypass_socket = _bypass_socket,
			.enable_udp_decap = _enable_udp_decap,
			.destroy = _destroy,
		},
		.client = kernel_vita_client_create(kernel_vita_event),
	);
	this->recovery = has_mediation()
						? kernel_vita_recovery_create_mediation(this->client)
						: kernel_vita_recovery_create(this->client);
	this->client->on_loss(this->client, (void*)this->recovery->lost,
						  this->recovery);
	return &this->public;
}
