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

/* See the header. Compiled twice, see kernel_vita_recovery_plain.c. */

#ifndef KERNEL_VITA_PLAIN
#ifndef ME
#define ME
#endif
#define recovery_create kernel_vita_recovery_create_mediation
#else
#undef ME
#define recovery_create kernel_vita_recovery_create
#endif

#include "kernel_vita_recovery.h"
#include "kernel_vita_message.h"

#include <netinet/in.h>

#include <collections/hashtable.h>
#include <collections/linked_list.h>
#include <daemon.h>
#include <processing/jobs/callback_job.h>
#include <threading/mutex.h>
#include <utils/debug.h>

/** ms between two passes */
#define PAUSE 2000
/** passes at least, and at most while CHILD_SAs are being rekeyed */
#define PASSES_MIN 3
#define PASSES_MAX 60
/** attempts to install a trap or a shunt while Vita is there */
#define TRIES_MAX 5

typedef struct private_kernel_vita_recovery_t private_kernel_vita_recovery_t;
typedef struct policy_t policy_t;
typedef struct sa_t sa_t;
typedef struct renewal_t renewal_t;
typedef enum { RENEWED, PENDING, MISSING } outcome_t;

struct private_kernel_vita_recovery_t {
	kernel_vita_recovery_t public;
	kernel_vita_client_t *client;
	mutex_t *mutex;

	/* guarded by mutex */
	/** a job is queued or runs */
	bool busy;
	/** SAs may have been lost since the job looked here last */
	bool news;
	/** traps and shunts have */
	bool all;

	/* only the job's */
	u_int passes;
	/** traps and shunts that are to be installed, policy_t* */
	linked_list_t *policies;
	/** unique ids of the CHILD_SAs that are on their way out */
	hashtable_t *told;
	/** what shall take their place, renewal_t* */
	linked_list_t *renewals;
};

/** A trap or a shunt that was taken out of charon's list. */
struct policy_t {
	/** NULL for a shunt */
	peer_cfg_t *peer;
	/** namespace of a shunt */
	char *ns;
	child_cfg_t *child;
	u_int tries;
};

/** A CHILD_SA whose SAs Vita is asked for. */
struct sa_t {
	uint32_t unique_id;
	vita_sa_id_t in;
	vita_sa_id_t out;
};

/** A CHILD_SA that charon makes anew, and that must have come to be. */
struct renewal_t {
	uint32_t ike_sa;
	child_cfg_t *child;
	/** passes that found nothing of it */
	u_int missing;
};

static void renewal_destroy(renewal_t *this)
{
	this->child->destroy(this->child);
	free(this);
}

static void policy_destroy(policy_t *this)
{
	DESTROY_IF(this->peer);
	this->child->destroy(this->child);
	free(this->ns);
	free(this);
}

/* ---- traps and shunts --------------------------------------------------- */

/**
 * Copies of what stands in charon's lists, so that those are not locked while
 * Vita is asked.
 */
static linked_list_t *list_policies()
{
	linked_list_t *list = linked_list_create();
	enumerator_t *enumerator;
	peer_cfg_t *peer;
	child_sa_t *child_sa;
	child_cfg_t *child;
	policy_t *policy;
	char *ns;

	enumerator = charon->traps->create_enumerator(charon->traps);
	while (enumerator->enumerate(enumerator, &peer, &child_sa))
	{
		child = child_sa->get_config(child_sa);
		INIT(policy,
			.peer = peer->get_ref(peer),
			.child = child->get_ref(child),
		);
		/* newest first in charon's list */
		list->insert_first(list, policy);
	}
	enumerator->destroy(enumerator);

	enumerator = charon->shunts->create_enumerator(charon->shunts);
	while (enumerator->enumerate(enumerator, &ns, &child))
	{
		INIT(policy,
			.ns = strdup(ns),
			.child = child->get_ref(child),
		);
		list->insert_last(list, policy);
	}
	enumerator->destroy(enumerator);
	return list;
}

static bool uninstall(policy_t *policy)
{
	char *name = policy->child->get_name(policy->child);

	if (policy->peer)
	{
		return charon->traps->uninstall(charon->traps,
								policy->peer->get_name(policy->peer), name);
	}
	return charon->shunts->uninstall(charon->shunts, policy->ns, name);
}

static bool install(policy_t *policy)
{
	if (policy->peer)
	{
		return charon->traps->install(charon->traps, policy->peer,
									  policy->child);
	}
	return charon->shunts->install(charon->shunts, policy->ns, policy->child);
}

/**
 * Take all traps and shunts out of charon's lists.
 */
static void take_policies(private_kernel_vita_recovery_t *this)
{
	linked_list_t *list = list_policies();
	policy_t *policy;

	while (list->remove_first(list, (void**)&policy) == SUCCESS)
	{
		if (uninstall(policy))
		{
			this->policies->insert_last(this->policies, policy);
		}
		else
		{	/* somebody has just removed it for good */
			policy_destroy(policy);
		}
	}
	list->destroy(list);
}

/**
 * Put them in again, as many as can be.
 */
static void put_policies(private_kernel_vita_recovery_t *this)
{
	linked_list_t *again = linked_list_create();
	policy_t *policy;

	while (this->policies->remove_first(this->policies,
										(void**)&policy) == SUCCESS)
	{
		if (!this->client->is_connected(this->client))
		{
			again->insert_last(again, policy);
		}
		else if (install(policy))
		{
			policy_destroy(policy);
		}
		else if (++policy->tries < TRIES_MAX)
		{
			again->insert_last(again, policy);
		}
		else
		{
			DBG1(DBG_KNL, "kernel-vita: %s '%s' could not be installed again "
				 "and is given up: load the configuration again",
				 policy->peer ? "trap" : "shunt",
				 policy->child->get_name(policy->child));
			policy_destroy(policy);
		}
	}
	this->policies->destroy(this->policies);
	this->policies = again;
}

/* ---- CHILD_SAs ---------------------------------------------------------- */

static uint8_t ip_protocol(protocol_id_t protocol)
{
	return protocol == PROTO_AH ? IPPROTO_AH : IPPROTO_ESP;
}

static sa_t *sa_create(ike_sa_t *ike_sa, child_sa_t *child_sa)
{
	child_cfg_t *child = child_sa->get_config(child_sa);
	kernel_ipsec_sa_id_t id = {
		.src = ike_sa->get_other_host(ike_sa),
		.dst = ike_sa->get_my_host(ike_sa),
		.spi = child_sa->get_spi(child_sa, TRUE),
		.proto = ip_protocol(child_sa->get_protocol(child_sa)),
		.if_id = child_sa->get_if_id(child_sa, TRUE),
	};
	sa_t *sa;

	INIT(sa,
		.unique_id = child_sa->get_unique_id(child_sa),
	);
	if (child->has_option(child, OPT_MARK_IN_SA))
	{
		id.mark = child_sa->get_mark(child_sa, TRUE);
	}
	kernel_vita_write_sa_id(&sa->in, &id);
	id.src = ike_sa->get_my_host(ike_sa);
	id.dst = ike_sa->get_other_host(ike_sa);
	id.spi = child_sa->get_spi(child_sa, FALSE);
	id.if_id = child_sa->get_if_id(child_sa, FALSE);
	id.mark = child_sa->get_mark(child_sa, FALSE);
	kernel_vita_write_sa_id(&sa->out, &id);
	return sa;
}

/**
 * The CHILD_SAs that should be in use now, and that are not on their way out.
 *
 * @param moving	set to TRUE if there are others whose state will change
 */
static linked_list_t *list_sas(private_kernel_vita_recovery_t *this,
							   bool *moving)
{
	linked_list_t *list = linked_list_create();
	enumerator_t *ike_sas, *child_sas;
	ike_sa_t *ike_sa;
	child_sa_t *child_sa;
	uintptr_t id;

	ike_sas = charon->ike_sa_manager->create_enumerator(charon->ike_sa_manager,
														TRUE);
	while (ike_sas->enumerate(ike_sas, &ike_sa))
	{
		child_sas = ike_sa->create_child_sa_enumerator(ike_sa);
		while (child_sas->enumerate(child_sas, &child_sa))
		{
			id = child_sa->get_unique_id(child_sa);
			if (this->told->get(this->told, (void*)id))
			{
				continue;
			}
			switch (child_sa->get_state(child_sa))
			{
				case CHILD_INSTALLED:
					list->insert_last(list, sa_create(ike_sa, child_sa));
					break;
				case CHILD_INSTALLING:
				case CHILD_UPDATING:
				case CHILD_REKEYING:
				case CHILD_RETRYING:
					*moving = TRUE;
					break;
				default:
					/* on its way out; calls for its SAs get NOT_FOUND */
					break;
			}
		}
		child_sas->destroy(child_sas);
	}
	ike_sas->destroy(ike_sas);
	return list;
}

static bool is_unknown(private_kernel_vita_recovery_t *this, vita_sa_id_t *id)
{
	vita_message(vita_sa_t) m = {};

	m.body.id = *id;
	return this->client->call(this->client, VITA_QUERY_SA, &m.header,
							  vita_length(m), NULL) == NOT_FOUND;
}

/**
 * Have a CHILD_SA deleted and made anew.
 */
static bool renew(private_kernel_vita_recovery_t *this, uint32_t unique_id)
{
	ike_sa_t *ike_sa;
	child_sa_t *child_sa;
	child_cfg_t *child;
	renewal_t *renewal;
	bool renewed = FALSE;

	ike_sa = charon->child_sa_manager->checkout_by_id(charon->child_sa_manager,
													  unique_id, &child_sa);
	if (!ike_sa)
	{
		return FALSE;
	}
	if (child_sa->get_state(child_sa) == CHILD_INSTALLED)
	{
		DBG1(DBG_KNL, "kernel-vita: CHILD_SA %s{%u} is lost, setting it up "
			 "again", child_sa->get_name(child_sa), unique_id);
		child = child_sa->get_config(child_sa);
		INIT(renewal,
			.ike_sa = ike_sa->get_unique_id(ike_sa),
			.child = child->get_ref(child),
		);
		this->renewals->insert_last(this->renewals, renewal);
		this->told->put(this->told, (void*)(uintptr_t)unique_id, this);
		ike_sa->delete_child_sa(ike_sa, child_sa->get_protocol(child_sa),
								child_sa->get_spi(child_sa, TRUE), TRUE);
		renewed = TRUE;
	}
	charon->ike_sa_manager->checkin(charon->ike_sa_manager, ike_sa);
	return renewed;
}

/**
 * @return		whether there are CHILD_SAs that must be looked at again
 */
static bool renew_sas(private_kernel_vita_recovery_t *this)
{
	linked_list_t *list;
	bool moving = FALSE;
	sa_t *sa;

	list = list_sas(this, &moving);
	while (list->remove_first(list, (void**)&sa) == SUCCESS)
	{
		if (is_unknown(this, &sa->in) || is_unknown(this, &sa->out))
		{
			if (!renew(this, sa->unique_id))
			{
				moving = TRUE;
			}
		}
		free(sa);
	}
	list->destroy(list);
	return moving;
}

/**
 * What has become of a CHILD_SA that should be made anew?
 */
static outcome_t outcome(private_kernel_vita_recovery_t *this,
						 ike_sa_t *ike_sa, child_cfg_t *child)
{
	enumerator_t *enumerator;
	child_sa_t *child_sa;
	task_t *task;
	uintptr_t id;
	int queue;
	bool renewed = FALSE, pending;

	pending = ike_sa->get_state(ike_sa) != IKE_ESTABLISHED;
	enumerator = ike_sa->create_child_sa_enumerator(ike_sa);
	while (enumerator->enumerate(enumerator, &child_sa))
	{
		id = child_sa->get_unique_id(child_sa);
		if (this->told->get(this->told, (void*)id) ||
			!streq(child_sa->get_name(child_sa), child->get_name(child)))
		{
			continue;
		}
		switch (child_sa->get_state(child_sa))
		{
			case CHILD_INSTALLED:
			case CHILD_REKEYING:
			case CHILD_REKEYED:
				renewed = TRUE;
				break;
			case CHILD_DELETING:
			case CHILD_DELETED:
				break;
			default:
				pending = TRUE;
				break;
		}
	}
	enumerator->destroy(enumerator);
	for (queue = TASK_QUEUE_ACTIVE; queue <= TASK_QUEUE_QUEUED; queue++)
	{
		enumerator = ike_sa->create_task_enumerator(ike_sa, queue);
		while (enumerator->enumerate(enumerator, &task))
		{
			pending = pending || task->get_type(task) == TASK_CHILD_CREATE ||
					  task->get_type(task) == TASK_CHILD_DELETE;
		}
		enumerator->destroy(enumerator);
	}
	return renewed ? RENEWED : pending ? PENDING : MISSING;
}

/**
 * Try again where a CHILD_SA could not be made: the peer's Vita may have been
 * away at that moment as well.
 *
 * @return		TRUE if that is done with
 */
static bool follow(private_kernel_vita_recovery_t *this, renewal_t *renewal)
{
	ike_sa_t *ike_sa;
	status_t status = SUCCESS;
	bool done = FALSE;

	ike_sa = charon->ike_sa_manager->checkout_by_id(charon->ike_sa_manager,
													renewal->ike_sa);
	if (!ike_sa)
	{
		return TRUE;
	}
	switch (outcome(this, ike_sa, renewal->child))
	{
		case RENEWED:
			done = TRUE;
			break;
		case PENDING:
			break;
		case MISSING:
			/* the responder leaves it to the other end first: if both try at
			 * the same time, there are two of it */
			renewal->missing++;
			if (renewal->missing == 1 &&
				!ike_sa->has_condition(ike_sa, COND_ORIGINAL_INITIATOR))
			{
				break;
			}
			DBG1(DBG_KNL, "kernel-vita: CHILD_SA %s could not be set up, "
				 "trying again", renewal->child->get_name(renewal->child));
			status = ike_sa->initiate(ike_sa,
								renewal->child->get_ref(renewal->child), NULL);
			break;
	}
	if (status == DESTROY_ME)
	{
		charon->ike_sa_manager->checkin_and_destroy(charon->ike_sa_manager,
													ike_sa);
		return TRUE;
	}
	charon->ike_sa_manager->checkin(charon->ike_sa_manager, ike_sa);
	return done;
}

/**
 * @return		whether there are some that must be looked at again
 */
static bool follow_renewals(private_kernel_vita_recovery_t *this)
{
	linked_list_t *again = linked_list_create();
	renewal_t *renewal;

	while (this->renewals->remove_first(this->renewals,
										(void**)&renewal) == SUCCESS)
	{
		if (follow(this, renewal))
		{
			renewal_destroy(renewal);
		}
		else
		{
			again->insert_last(again, renewal);
		}
	}
	this->renewals->destroy(this->renewals);
	this->renewals = again;
	return again->get_count(again) > 0;
}

/* ---- the job ------------------------------------------------------------ */

static job_requeue_t recover(private_kernel_vita_recovery_t *this)
{
	bool news, all, more;

	this->mutex->lock(this->mutex);
	news = this->news;
	all = this->all;
	this->news = this->all = FALSE;
	this->mutex->unlock(this->mutex);
	if (news)
	{
		this->passes = 0;
		this->told->destroy(this->told);
		this->told = hashtable_create(hashtable_hash_ptr,
									  hashtable_equals_ptr, 8);
	}
	if (all)
	{
		take_policies(this);
	}
	put_policies(this);
	more = follow_renewals(this);
	more = renew_sas(this) || more || this->renewals->get_count(this->renewals);
	this->passes++;
	more = this->passes < (more ? PASSES_MAX : PASSES_MIN) ||
		   this->policies->get_count(this->policies);

	this->mutex->lock(this->mutex);
	more = more || this->news;
	this->busy = more;
	this->mutex->unlock(this->mutex);
	if (more)
	{
		return JOB_RESCHEDULE_MS(PAUSE);
	}
	return JOB_REQUEUE_NONE;
}

METHOD(kernel_vita_recovery_t, lost, void,
	private_kernel_vita_recovery_t *this, bool all)
{
	bool busy;

	this->mutex->lock(this->mutex);
	this->news = TRUE;
	this->all = this->all || all;
	busy = this->busy;
	this->busy = TRUE;
	this->mutex->unlock(this->mutex);
	if (!busy)
	{
		/* no cleanup function: the scheduler may outlive this library */
		lib->processor->queue_job(lib->processor, (job_t*)
			callback_job_create((callback_job_cb_t)recover, this, NULL, NULL));
	}
}

METHOD(kernel_vita_recovery_t, destroy, void,
	private_kernel_vita_recovery_t *this)
{
	this->policies->destroy_function(this->policies, (void*)policy_destroy);
	this->told->destroy(this->told);
	this->renewals->destroy_function(this->renewals, (void*)renewal_destroy);
	this->mutex->destroy(this->mutex);
	free(this);
}

kernel_vita_recovery_t *recovery_create(kernel_vita_client_t *client)
{
	private_kernel_vita_recovery_t *this;

	INIT(this,
		.public = {
			.lost = _lost,
			.destroy = _destroy,
		},
		.client = client,
		.mutex = mutex_create(MUTEX_TYPE_DEFAULT),
		.policies = linked_list_create(),
		.told = hashtable_create(hashtable_hash_ptr, hashtable_equals_ptr, 8),
		.renewals = linked_list_create(),
	);
	return &this->public;
}
