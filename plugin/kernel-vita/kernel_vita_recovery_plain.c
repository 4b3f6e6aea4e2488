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

/* The recovery for charons without mediation, see kernel_vita_recovery.h. */

#define KERNEL_VITA_PLAIN
#include "kernel_vita_recovery.c"
