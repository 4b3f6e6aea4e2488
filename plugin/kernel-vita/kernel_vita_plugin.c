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

/* Registration with charon's loader. See the header for the whole picture. */

#include "kernel_vita_plugin.h"
#include "kernel_vita_ipsec.h"

#include <daemon.h>

const char *kernel_vita_plugin_version = VERSION;

METHOD(plugin_t, get_name, char*, plugin_t *this)
{
	return "kernel-vita";
}

METHOD(plugin_t, get_features, int, plugin_t *this,
	plugin_feature_t *features[])
{
	static plugin_feature_t f[] = {
		PLUGIN_CALLBACK(kernel_ipsec_register, kernel_vita_ipsec_create),
			PLUGIN_PROVIDE(CUSTOM, "kernel-ipsec"),
	};

	*features = f;
	return countof(f);
}

METHOD(plugin_t, destroy, void, plugin_t *this)
{
	free(this);
}

/*
 * Never fails: charon would silently fall back to the kernel's own IPsec.
 */
plugin_t *kernel_vita_plugin_create()
{
	plugin_t *this;

	INIT(this,
		.get_name = _get_name,
		.get_features = _get_features,
		.destroy = _destroy,
	);
	return this;
}
