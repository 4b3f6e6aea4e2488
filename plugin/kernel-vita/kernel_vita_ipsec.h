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

/* charon's kernel_ipsec_t, forwarded to Vita call by call. */

#ifndef KERNEL_VITA_IPSEC_H_
#define KERNEL_VITA_IPSEC_H_

#include <kernel/kernel_ipsec.h>

/** Never fails, and does not wait for Vita: the connection is made later. */
kernel_ipsec_t *kernel_vita_ipsec_create();

#endif /* KERNEL_VITA_IPSEC_H_ */
