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
 * Calls that could not be made because there was no connection, and that must
 * be made up for: charon does not repeat them. An SA that it deletes while Vita
 * is being started again would otherwise stay in Vita's SAD for ever.
 *
 * Kept are deletions and updates, in their order. Not kept is what sets
 * something up, because charon hears that it failed and takes it back. The one
 * exception is a policy that replaces one with the same SPI, as an address
 * change has it (add_policy behind a del_policy that is kept): charon does not
 * look at the result there.
 */

#ifndef KERNEL_VITA_DEBTS_H_
#define KERNEL_VITA_DEBTS_H_

#include <library.h>

#include "vita_protocol.h"

typedef struct kernel_vita_debts_t kernel_vita_debts_t;

struct kernel_vita_debts_t {

	/**
	 * Take note of a call that failed.
	 *
	 * @param message	header and body, copied
	 * @param sent		it was sent, whether it was served is unknown
	 */
	void (*add)(kernel_vita_debts_t *this, vita_header_t *message,
				size_t length, bool sent);

	/**
	 * Make the calls that are kept over a new connection, one by one.
	 *
	 * @param buffer	for VITA_MESSAGE_MAX bytes
	 * @param timeout	ms for each call
	 * @param event		gets the events that arrive meanwhile
	 * @return			FALSE if the connection broke; what is left is kept
	 */
	bool (*pay)(kernel_vita_debts_t *this, int fd, uint8_t *buffer,
				u_int timeout, void (*event)(uint16_t type, chunk_t body));

	/**
	 * Has any call failed since this was asked last? Then charon and Vita may
	 * differ in what they believe to be there.
	 */
	bool (*doubt)(kernel_vita_debts_t *this);

	/** Vita has nothing any more that could be deleted. */
	void (*forget)(kernel_vita_debts_t *this);

	void (*destroy)(kernel_vita_debts_t *this);
};

kernel_vita_debts_t *kernel_vita_debts_create();

#endif /* KERNEL_VITA_DEBTS_H_ */
