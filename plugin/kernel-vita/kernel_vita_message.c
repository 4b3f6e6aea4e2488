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

/* See the header. What does not fit is refused, never cut short. */

#include "kernel_vita_message.h"

#include <collections/linked_list.h>
#include <utils/debug.h>

void kernel_vita_write_host(vita_host_t *out, host_t *host)
{
	chunk_t address;

	address = host->get_address(host);
	out->family = htole16(address.len == 16 ? 6 : 4);
	out->port = htole16(host->get_port(host));
	memcpy(out->address, address.ptr, min(address.len, sizeof(out->address)));
}

static void write_mark(vita_mark_t *out, mark_t mark)
{
	out->value = htole32(mark.value);
	out->mask = htole32(mark.mask);
}

static void write_selector(vita_selector_t *out, traffic_selector_t *ts)
{
	chunk_t from, to;

	from = ts->get_from_address(ts);
	to = ts->get_to_address(ts);
	out->family = from.len == 16 ? 6 : 4;
	out->protocol = ts->get_protocol(ts);
	out->from_port = htole16(ts->get_from_port(ts));
	out->to_port = htole16(ts->get_to_port(ts));
	memcpy(out->from, from.ptr, min(from.len, sizeof(out->from)));
	memcpy(out->to, to.ptr, min(to.len, sizeof(out->to)));
}

static bool write_interface(char *out, char *interface)
{
	if (interface && strlen(interface) >= VITA_INTERFACE_SIZE)
	{
		DBG1(DBG_KNL, "kernel-vita: interface name '%s' is longer than %d "
			 "characters", interface, VITA_INTERFACE_SIZE - 1);
		return FALSE;
	}
	if (interface)
	{
		memcpy(out, interface, strlen(interface));
	}
	return TRUE;
}

void kernel_vita_write_sa_id(vita_sa_id_t *out, kernel_ipsec_sa_id_t *id)
{
	kernel_vita_write_host(&out->src, id->src);
	kernel_vita_write_host(&out->dst, id->dst);
	out->spi = htole32(ntohl(id->spi));
	write_mark(&out->mark, id->mark);
	out->if_id = htole32(id->if_id);
	out->protocol = id->proto;
}

bool kernel_vita_write_policy_id(vita_policy_id_t *out,
								 kernel_ipsec_policy_id_t *id)
{
	write_selector(&out->src, id->src_ts);
	write_selector(&out->dst, id->dst_ts);
	write_mark(&out->mark, id->mark);
	out->if_id = htole32(id->if_id);
	out->direction = id->dir;
	out->flags = id->label ? VITA_POLICY_LABELLED : 0;
	return write_interface(out->interface, id->interface);
}

bool kernel_vita_write_policy(vita_policy_t *out, kernel_ipsec_policy_id_t *id,
							  kernel_ipsec_manage_policy_t *data)
{
	kernel_vita_write_host(&out->src, data->src);
	kernel_vita_write_host(&out->dst, data->dst);
	out->manual_priority = htole32(data->manual_prio);
	out->reqid = htole32(data->sa->reqid);
	out->policy_count = htole32(data->sa->policy_count);
	out->type = data->type;
	out->priority = data->prio;
	out->mode = data->sa->mode;
	if (data->sa->esp.use)
	{
		out->flags |= VITA_POLICY_ESP;
		out->esp_spi = htole32(ntohl(data->sa->esp.spi));
	}
	if (data->sa->ah.use)
	{
		out->flags |= VITA_POLICY_AH;
		out->ah_spi = htole32(ntohl(data->sa->ah.spi));
	}
	out->ipcomp = htole16(data->sa->ipcomp.transform);
	out->cpi = htole16(ntohs(data->sa->ipcomp.cpi));
#ifdef CPU_ID_MAX /* 6.0.2 and later */
	out->flags |= data->pcpu_acquires ? VITA_POLICY_PER_CPU_ACQUIRES : 0;
#endif
	return kernel_vita_write_policy_id(&out->id, id);
}

/**
 * strongSwan 5.9.10 gave the values new numbers, so go by their names.
 */
static uint8_t offload(hw_offload_t value)
{
	static const struct {
		char *name;
		uint8_t value;
	} known[] = {
		{ "no",		VITA_OFFLOAD_NO		},
		{ "yes",	VITA_OFFLOAD_YES	},
		{ "auto",	VITA_OFFLOAD_AUTO	},
		{ "crypto",	VITA_OFFLOAD_CRYPTO	},
		{ "packet",	VITA_OFFLOAD_PACKET	},
	};
	char *name;
	size_t i;

	name = enum_to_name(hw_offload_names, value);
	for (i = 0; name && i < countof(known); i++)
	{
		if (streq(name, known[i].name))
		{
			return known[i].value;
		}
	}
	/* one that is not known here asks for something: not "no" */
	return VITA_OFFLOAD_YES;
}

static uint32_t sa_flags(kernel_ipsec_add_sa_t *data)
{
	return (data->inbound ? VITA_SA_INBOUND : 0) |
		   (data->update ? VITA_SA_UPDATE : 0) |
		   (data->initiator ? VITA_SA_INITIATOR : 0) |
		   (data->esn ? VITA_SA_ESN : 0) |
		   (data->encap ? VITA_SA_ENCAP : 0) |
		   (data->copy_df ? VITA_SA_COPY_DF : 0) |
		   (data->copy_ecn ? VITA_SA_COPY_ECN : 0) |
#ifdef CPU_ID_MAX /* 6.0.2 and later */
		   (data->iptfs_dont_frag ? VITA_SA_IPTFS_DONT_FRAG : 0) |
#endif
		   (data->label ? VITA_SA_LABELLED : 0);
}

static bool write_key(uint8_t *out, uint16_t *length, chunk_t key, char *what)
{
	if (key.len > VITA_KEY_MAX)
	{
		DBG1(DBG_KNL, "kernel-vita: %s key of %zu bytes, only %d fit", what,
			 key.len, VITA_KEY_MAX);
		return FALSE;
	}
	*length = htole16(key.len);
	if (key.len)
	{
		memcpy(out, key.ptr, key.len);
	}
	return TRUE;
}

static bool write_sa(vita_add_sa_t *out, kernel_ipsec_sa_id_t *id,
					 kernel_ipsec_add_sa_t *data)
{
	kernel_vita_write_sa_id(&out->id, id);
	out->time_rekey = htole64(data->lifetime->time.rekey);
	out->time_life = htole64(data->lifetime->time.life);
	out->bytes_rekey = htole64(data->lifetime->bytes.rekey);
	out->bytes_life = htole64(data->lifetime->bytes.life);
	out->packets_rekey = htole64(data->lifetime->packets.rekey);
	out->packets_life = htole64(data->lifetime->packets.life);
	out->flags = htole32(sa_flags(data));
	out->reqid = htole32(data->reqid);
	out->replay_window = htole32(data->replay_window);
	out->tfc = htole32(data->tfc);
	out->cpu = htole32(VITA_CPU_ANY);
#ifdef CPU_ID_MAX /* 6.0.2 and later */
	out->seq = htole32(data->seq);
	if (data->cpu != CPU_ID_MAX)
	{
		out->cpu = htole32(data->cpu);
	}
#endif
	write_mark(&out->set_mark, data->mark);
	out->encryption = htole16(data->enc_alg);
	out->integrity = htole16(data->int_alg);
	out->ipcomp = htole16(data->ipcomp);
	out->cpi = htole16(ntohs(data->cpi));
	out->mode = data->mode;
	out->copy_dscp = data->copy_dscp;
	out->offload = offload(data->hw_offload);
	return write_interface(out->interface, data->interface) &&
		   write_key(out->encryption_key, &out->encryption_key_length,
					 data->enc_key, "encryption") &&
		   write_key(out->integrity_key, &out->integrity_key_length,
					 data->int_key, "integrity");
}

static vita_selector_t *write_selectors(vita_selector_t *out,
										linked_list_t *list)
{
	enumerator_t *enumerator;
	traffic_selector_t *ts;

	enumerator = list->create_enumerator(list);
	while (enumerator->enumerate(enumerator, &ts))
	{
		write_selector(out++, ts);
	}
	enumerator->destroy(enumerator);
	return out;
}

vita_header_t *kernel_vita_add_sa_message(kernel_ipsec_sa_id_t *id,
										  kernel_ipsec_add_sa_t *data,
										  size_t *length)
{
	vita_message(vita_add_sa_t) *message;
	vita_selector_t *selectors;
	int src, dst;

	src = data->src_ts->get_count(data->src_ts);
	dst = data->dst_ts->get_count(data->dst_ts);
	if (src > VITA_SELECTORS_MAX || dst > VITA_SELECTORS_MAX)
	{
		DBG1(DBG_KNL, "kernel-vita: an SA with %d source and %d destination "
			 "selectors, only %d each fit", src, dst, VITA_SELECTORS_MAX);
		return NULL;
	}
	*length = vita_length(*message) + (src + dst) * sizeof(*selectors);
	message = calloc(1, *length);
	if (!message)
	{
		return NULL;
	}
	message->body.src_selectors = htole16(src);
	message->body.dst_selectors = htole16(dst);
	selectors = (vita_selector_t*)(&message->body + 1);
	selectors = write_selectors(selectors, data->src_ts);
	write_selectors(selectors, data->dst_ts);
	if (!write_sa(&message->body, id, data))
	{
		memwipe(message, *length);
		free(message);
		return NULL;
	}
	return &message->header;
}
