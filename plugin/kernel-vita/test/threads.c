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
 * Many threads on one client, as in charon, but without charon: each makes two
 * kinds of calls in turn and checks that it got its own answer. Prints how many
 * calls succeeded, failed, and got an answer that was another call's.
 *
 *   threads SOCKET THREADS CALLS
 */

#include <stdio.h>
#include <stdlib.h>

#include <library.h>
#include <threading/thread.h>

#include "../kernel_vita_client.h"
#include "../kernel_vita_message.h"

static kernel_vita_client_t *client;
static int calls, succeeded, failed, mixed;

static void ignore_event(uint16_t type, chunk_t body)
{
}

static void count(status_t status, bool own)
{
	__sync_fetch_and_add(status == SUCCESS ? &succeeded : &failed, 1);
	if (status == SUCCESS && !own)
	{
		__sync_fetch_and_add(&mixed, 1);
	}
}

/** The service answers every query with 1000 bytes, 10 packets, 3 seconds. */
static void query()
{
	vita_message(vita_sa_t) m = {};
	kernel_vita_answer_t answer = {};
	status_t status;

	m.body.id.src.family = m.body.id.dst.family = htole16(4);
	m.body.id.protocol = 50;
	status = client->call(client, VITA_QUERY_SA, &m.header, vita_length(m),
						  &answer);
	count(status, answer.bytes == 1000 && answer.packets == 10 &&
				  answer.idle == 3 && answer.value == 0);
}

/** SPIs begin at 0xc0000001. */
static void get_spi()
{
	vita_message(vita_get_spi_t) m = {};
	kernel_vita_answer_t answer = {};
	status_t status;

	m.body.src.family = m.body.dst.family = htole16(6);
	m.body.protocol = 50;
	status = client->call(client, VITA_GET_SPI, &m.header, vita_length(m),
						  &answer);
	count(status, answer.value > 0xc0000000 && answer.bytes == 0);
}

/** Those that fail are made up for with the next connection. */
static void delete()
{
	vita_message(vita_sa_t) m = {};

	m.body.id.src.family = m.body.id.dst.family = htole16(4);
	m.body.id.protocol = 50;
	count(client->call(client, VITA_DEL_SA, &m.header, vita_length(m), NULL),
		  TRUE);
}

static void *run(void *data)
{
	static void (*const call[])() = { query, get_spi, delete };
	int i;

	for (i = 0; i < calls; i++)
	{
		call[i % countof(call)]();
	}
	return NULL;
}

int main(int argc, char *argv[])
{
	thread_t *threads[64];
	int i, count;

	if (argc != 4 || !library_init(NULL, "threads"))
	{
		return 1;
	}
	count = min(atoi(argv[2]), (int)countof(threads));
	calls = atoi(argv[3]);
	dbg_default_set_level(-1);
	lib->settings->set_str(lib->settings, "%s.plugins.kernel-vita.socket",
						   argv[1], lib->ns);
	client = kernel_vita_client_create(ignore_event);
	for (i = 0; i < count; i++)
	{
		threads[i] = thread_create(run, NULL);
	}
	for (i = 0; i < count; i++)
	{
		threads[i]->join(threads[i]);
	}
	client->destroy(client);
	library_deinit();
	printf("%d succeeded, %d failed, %d mixed\n", succeeded, failed, mixed);
	return 0;
}
