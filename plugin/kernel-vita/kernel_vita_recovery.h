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
 * What charon does when Vita is back but has lost its SAD: everything that
 * charon counts on is set up again.
 *
 * - Traps and shunts: taken out of charon's lists and put in again. (Putting
 *   in what is there already would add the new policies and then delete the
 *   old ones, which look the same: nothing would be left.)
 * - CHILD_SAs: each one whose SAs Vita does not know is treated like one that
 *   has reached its hard lifetime: charon tells the peer that it is gone and
 *   makes a new one, within the same IKE_SA and so with the same virtual IP.
 *   Asking Vita for each SA spares those that were set up since it is back.
 *   One that is being rekeyed is looked at again later: either its successor
 *   is known to Vita, or it is done then. And where the new one does not come to
 *   be, it is tried again: both ends may have lost their Vitas.
 *
 * All of this runs in a job of charon's, a few seconds long, in passes. No lock
 * of charon's is held while Vita is asked. What cannot be done because Vita is
 * gone again is done when it is back.
 */

#ifndef KERNEL_VITA_RECOVERY_H_
#define KERNEL_VITA_RECOVERY_H_

#include "kernel_vita_client.h"

typedef struct kernel_vita_recovery_t kernel_vita_recovery_t;

struct kernel_vita_recovery_t {

	/**
	 * Vita has lost everything, or there is doubt about SAs because calls were
	 * lost: an SA cut off in an address change, for example. Queues a job and
	 * returns at once.
	 */
	void (*lost)(kernel_vita_recovery_t *this, bool all);

	/** To be called when no job of charon's runs any more. */
	void (*destroy)(kernel_vita_recovery_t *this);
};

/**
 * ike_sa_t, whose methods this calls, has another layout in a charon that was
 * configured with --enable-mediation. Which one it is, is not to be seen in
 * the headers, so that there are two, and charon is asked when it runs.
 */
kernel_vita_recovery_t *kernel_vita_recovery_create(
											kernel_vita_client_t *client);
kernel_vita_recovery_t *kernel_vita_recovery_create_mediation(
											kernel_vita_client_t *client);

#endif /* KERNEL_VITA_RECOVERY_H_ */
