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
 * Vita takes ESP in UDP before it reaches the socket on which charon listens.
 * What slips through (Vita is down, another interface) would cost charon a log
 * line per packet, so a classic BPF filter drops all that is not IKE: RFC 3948
 * §2.2 marks IKE with four zero bytes where ESP has its SPI.
 *
 * The kernel's own decapsulation (UDP_ENCAP) stays off: it would take the ESP.
 */

#include "kernel_vita_filter.h"

#include <errno.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>

#include <library.h>
#include <utils/debug.h>

/** Filters of UDP sockets see the datagram from its UDP header on. */
#define PAYLOAD 8

void kernel_vita_filter_esp(int fd, uint16_t port)
{
	struct sock_filter code[] = {
		/* a payload of less than four bytes (a keepalive) ends here: drop */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, PAYLOAD),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {
		.len = countof(code),
		.filter = code,
	};

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program,
				   sizeof(program)) < 0)
	{
		DBG1(DBG_KNL, "kernel-vita: cannot keep ESP off charon's UDP port %u: "
			 "%s; charon may log ESP packets as errors", port, strerror(errno));
	}
}
