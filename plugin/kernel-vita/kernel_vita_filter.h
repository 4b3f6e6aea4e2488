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

/* Keeps ESP in UDP away from charon's socket. */

#ifndef KERNEL_VITA_FILTER_H_
#define KERNEL_VITA_FILTER_H_

#include <stdint.h>

/** Let only datagrams with a non-ESP marker through; failure is logged. */
void kernel_vita_filter_esp(int fd, uint16_t port);

#endif /* KERNEL_VITA_FILTER_H_ */
