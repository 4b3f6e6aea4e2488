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
 * charon's plugin "kernel-vita": Vita as the kernel that holds SAs and policies.
 *
 * How a call travels:
 *
 *   charon thread -> kernel_vita_ipsec   one method per call
 *                 -> kernel_vita_message charon's objects into wire structs
 *                 -> kernel_vita_client  socket, request ids, time limit
 *                 -> Vita                decides and answers
 *
 * and an event: Vita -> kernel_vita_client (thread of its own)
 * -> kernel_vita_events -> charon->kernel->expire/acquire/mapping.
 *
 * When Vita has lost everything, kernel_vita_recovery makes charon set it up
 * again.
 *
 * The plugin decides nothing and keeps no SAs. It registers as "kernel-ipsec";
 * addresses and routes ("kernel-net") stay with kernel-netlink.
 */

#ifndef KERNEL_VITA_PLUGIN_H_
#define KERNEL_VITA_PLUGIN_H_

#include <library.h>
#include <plugins/plugin.h>

/** Create the plugin; called by the loader under this name. */
plugin_t *kernel_vita_plugin_create();

/**
 * strongSwan 6.0.3 and later load only plugins whose version is their own;
 * earlier ones do not look.
 */
extern const char *kernel_vita_plugin_version;

#endif /* KERNEL_VITA_PLUGIN_H_ */
