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
 * The wire protocol between charon's plugin and Vita: the C side of it.
 *
 * docs/charon-protocol.md explains it; src/charon/protocol.ts has the other
 * definition, and a test compares the two, name by name. One datagram of a
 * UNIX SOCK_SEQPACKET socket is one message: a header, a body of fixed layout
 * and, in add_sa, two lists of selectors. All integers are little-endian, SPIs
 * and CPIs are plain integers, addresses are bytes in network order. Reserved
 * and unused bytes are zero. This header needs nothing but <stdint.h>.
 */

#ifndef VITA_PROTOCOL_H_
#define VITA_PROTOCOL_H_

#include <stdint.h>

/** "VITA" in memory */
#define VITA_MAGIC 0x41544956
#define VITA_VERSION 1

/** Largest message, header included */
#define VITA_MESSAGE_MAX 65536
#define VITA_KEY_MAX 128
#define VITA_SELECTORS_MAX 255
#define VITA_REASON_MAX 512
/** Includes the terminating zero */
#define VITA_INTERFACE_SIZE 16
#define VITA_SOFTWARE_SIZE 64

/** An SA that is not bound to one CPU, which is the usual one */
#define VITA_CPU_ANY 0xffffffff
/** Never used; the longest idle time that can be told is one second less */
#define VITA_IDLE_NEVER 0xffffffff

/** Set in the type of an answer; the other bits repeat the call */
#define VITA_ANSWER 0x8000

enum vita_type {
	/* calls: plugin to daemon */
	VITA_HELLO = 1,
	VITA_GET_SPI = 2,
	VITA_GET_CPI = 3,
	VITA_ADD_SA = 4,
	VITA_UPDATE_SA = 5,
	VITA_QUERY_SA = 6,
	VITA_DEL_SA = 7,
	VITA_FLUSH_SAS = 8,
	VITA_ADD_POLICY = 9,
	VITA_QUERY_POLICY = 10,
	VITA_DEL_POLICY = 11,
	VITA_FLUSH_POLICIES = 12,
	/* events: daemon to plugin, not answered */
	VITA_EXPIRE = 0x4001,
	VITA_ACQUIRE = 0x4002,
	VITA_MAPPING = 0x4003,
};

/** strongSwan's status_t, as far as a kernel answers with it */
enum vita_status {
	VITA_SUCCESS = 0,
	VITA_FAILED = 1,
	VITA_ALREADY_DONE = 3,
	VITA_NOT_SUPPORTED = 4,
	VITA_NOT_FOUND = 6,
};

enum vita_offload {
	VITA_OFFLOAD_NO = 0,
	VITA_OFFLOAD_YES = 1,
	VITA_OFFLOAD_AUTO = 2,
	VITA_OFFLOAD_CRYPTO = 3,
	VITA_OFFLOAD_PACKET = 4,
};

/** Flags of vita_add_sa_t */
enum vita_sa_flag {
	VITA_SA_INBOUND = 1,
	VITA_SA_UPDATE = 2,
	VITA_SA_INITIATOR = 4,
	VITA_SA_ESN = 8,
	VITA_SA_ENCAP = 16,
	VITA_SA_COPY_DF = 32,
	VITA_SA_COPY_ECN = 64,
	VITA_SA_LABELLED = 128,
	VITA_SA_IPTFS_DONT_FRAG = 256,
};

/** Flags of vita_update_sa_t */
enum vita_update_flag {
	VITA_UPDATE_ENCAP = 1,
	VITA_UPDATE_NEW_ENCAP = 2,
};

/** Flags of vita_policy_id_t */
enum vita_policy_id_flag {
	VITA_POLICY_LABELLED = 1,
};

/** Flags of vita_policy_t */
enum vita_policy_flag {
	VITA_POLICY_ESP = 1,
	VITA_POLICY_AH = 2,
	VITA_POLICY_PER_CPU_ACQUIRES = 4,
};

/** Flags of vita_acquire_t */
enum vita_acquire_flag {
	VITA_ACQUIRE_SRC = 1,
	VITA_ACQUIRE_DST = 2,
};

typedef struct {
	uint32_t magic;
	uint16_t version;
	uint16_t type;
	/** of the whole message */
	uint32_t length;
	/** chosen by the caller, repeated in the answer; 0 in events */
	uint32_t id;
	/** CLOCK_MONOTONIC in ms after which the call must not be begun; 0: none */
	uint64_t deadline;
} vita_header_t;

typedef struct {
	/** 4 or 6 */
	uint16_t family;
	uint16_t port;
	/** IPv4 in the first four bytes */
	uint8_t address[16];
} vita_host_t;

typedef struct {
	uint8_t family;
	uint8_t protocol;
	uint16_t from_port;
	uint16_t to_port;
	uint16_t reserved;
	uint8_t from[16];
	uint8_t to[16];
} vita_selector_t;

typedef struct {
	uint32_t value;
	uint32_t mask;
} vita_mark_t;

typedef struct {
	vita_host_t src;
	vita_host_t dst;
	uint32_t spi;
	vita_mark_t mark;
	uint32_t if_id;
	uint8_t protocol;
	uint8_t reserved[3];
} vita_sa_id_t;

/* ---- bodies of calls; flush_sas and flush_policies have none ------------ */

typedef struct {
	/** random, the same for the life of one charon process */
	uint64_t session;
	/** CLOCK_MONOTONIC in ms when this was sent, as deadlines count it */
	uint64_t clock;
	uint32_t pid;
	uint32_t reserved;
	/** for logs, printable ASCII, zero-terminated */
	char software[VITA_SOFTWARE_SIZE];
} vita_hello_t;

typedef struct {
	vita_host_t src;
	vita_host_t dst;
	uint8_t protocol;
	uint8_t reserved[3];
} vita_get_spi_t;

typedef struct {
	vita_host_t src;
	vita_host_t dst;
} vita_get_cpi_t;

typedef struct {
	uint64_t time_rekey;
	uint64_t time_life;
	uint64_t bytes_rekey;
	uint64_t bytes_life;
	uint64_t packets_rekey;
	uint64_t packets_life;
	vita_sa_id_t id;
	uint32_t flags;
	uint32_t reqid;
	uint32_t replay_window;
	uint32_t tfc;
	/** sequence number of the acquire that led to the SA, 0 if none */
	uint32_t seq;
	uint32_t cpu;
	vita_mark_t set_mark;
	uint16_t encryption;
	uint16_t encryption_key_length;
	uint16_t integrity;
	uint16_t integrity_key_length;
	uint16_t ipcomp;
	uint16_t cpi;
	uint8_t mode;
	uint8_t copy_dscp;
	uint8_t offload;
	uint8_t reserved;
	uint16_t src_selectors;
	uint16_t dst_selectors;
	char interface[VITA_INTERFACE_SIZE];
	uint8_t encryption_key[VITA_KEY_MAX];
	uint8_t integrity_key[VITA_KEY_MAX];
	/* src_selectors, then dst_selectors times vita_selector_t follow */
} vita_add_sa_t;

typedef struct {
	vita_sa_id_t id;
	vita_host_t new_src;
	vita_host_t new_dst;
	uint32_t flags;
	uint32_t new_reqid;
	uint16_t cpi;
	uint16_t reserved;
} vita_update_sa_t;

/** query_sa and del_sa */
typedef struct {
	vita_sa_id_t id;
	uint16_t cpi;
	uint16_t reserved;
} vita_sa_t;

/** Body of query_policy, beginning of vita_policy_t */
typedef struct {
	vita_selector_t src;
	vita_selector_t dst;
	vita_mark_t mark;
	uint32_t if_id;
	uint8_t direction;
	uint8_t flags;
	uint16_t reserved;
	char interface[VITA_INTERFACE_SIZE];
} vita_policy_id_t;

/** add_policy and del_policy */
typedef struct {
	vita_policy_id_t id;
	vita_host_t src;
	vita_host_t dst;
	uint32_t manual_priority;
	uint32_t reqid;
	uint32_t policy_count;
	uint32_t esp_spi;
	uint32_t ah_spi;
	uint16_t ipcomp;
	uint16_t cpi;
	uint8_t type;
	uint8_t priority;
	uint8_t mode;
	uint8_t flags;
} vita_policy_t;

/* ---- bodies of answers -------------------------------------------------- */

/** Answer to everything but hello; fields that a call does not give are 0 */
typedef struct {
	uint64_t bytes;
	uint64_t packets;
	uint32_t status;
	/** get_spi: the SPI; get_cpi: the CPI */
	uint32_t value;
	/** query_sa, query_policy: seconds since the last use */
	uint32_t idle;
	uint16_t reason_length;
	uint16_t reserved;
	/* reason_length bytes of UTF-8 follow */
} vita_answer_t;

typedef struct {
	/** random, new whenever the daemon begins with an empty SAD */
	uint64_t boot_id;
	uint32_t status;
	/** strongSwan's kernel_feature_t */
	uint32_t features;
	uint16_t reason_length;
	uint16_t reserved;
	uint32_t reserved2;
	/* reason_length bytes of UTF-8 follow */
} vita_hello_answer_t;

/* ---- bodies of events --------------------------------------------------- */

typedef struct {
	vita_host_t dst;
	uint32_t spi;
	uint8_t protocol;
	uint8_t hard;
	uint16_t reserved;
} vita_expire_t;

typedef struct {
	uint32_t reqid;
	uint32_t flags;
	vita_selector_t src;
	vita_selector_t dst;
} vita_acquire_t;

typedef struct {
	vita_host_t dst;
	vita_host_t remote;
	uint32_t spi;
	uint8_t protocol;
	uint8_t reserved[3];
} vita_mapping_t;

#endif /* VITA_PROTOCOL_H_ */
