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

/* Vita's events, handed on to charon. */

#ifndef KERNEL_VITA_EVENTS_H_
#define KERNEL_VITA_EVENTS_H_

#include <library.h>

#include "vita_protocol.h"

/**
 * Check one event and give it to charon, which queues a job and returns at
 * once. Called by the client's thread.
 *
 * @param type		of the message
 * @param body		behind the header
 */
void kernel_vita_event(uint16_t type, chunk_t body);

#endif /* KERNEL_VITA_EVENTS_H_ */
