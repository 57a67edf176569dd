/*
 * The only header that the bindings are generated from.
 *
 * It wraps DPDK's static inline functions, which have no symbol to link to, and describes ports by Linerate's own
 * structures, so that the differences between DPDK releases (22.11 to 25.11) stay in shim.c. Of DPDK's own structures,
 * only rte_mbuf is shared with Rust, which checks its layout against the LR_MBUF_* constants.
 */
#ifndef LINERATE_SHIM_H
#define LINERATE_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include <rte_mbuf.h>

/* Layout of struct rte_mbuf in the DPDK compiled against. */
enum lr_mbuf_layout {
	LR_MBUF_SIZE = sizeof(struct rte_mbuf),
	LR_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	LR_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	LR_MBUF_REFCNT = offsetof(struct rte_mbuf, refcnt),
	LR_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	LR_MBUF_PORT = offsetof(struct rte_mbuf, port),
	LR_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	LR_MBUF_PACKET_TYPE = offsetof(struct rte_mbuf, packet_type),
	LR_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	LR_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	LR_MBUF_HEADROOM = RTE_PKTMBUF_HEADROOM,
	LR_MBUF_PORT_INVALID = RTE_MBUF_PORT_INVALID,
};

/* The port's verdict on a received frame's checksums, in the offload flags: good, bad, both ("not there, but known to be
 * right"), or neither. */
enum lr_rx_checksum {
	LR_RX_IP_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD,
	LR_RX_IP_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD,
	LR_RX_L4_BAD = RTE_MBUF_F_RX_L4_CKSUM_BAD,
	LR_RX_L4_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD,
};

enum lr_limit {
	LR_NAME_BYTES = 64,
	LR_XSTAT_NAME_BYTES = 64,
	LR_INTERFACE_BYTES = 16,
};

/* Properties and capabilities of a port. Speeds in bit/s, 0 when unknown; sizes in bytes. */
struct lr_port_info {
	char device[LR_NAME_BYTES];
	char driver[LR_NAME_BYTES];
	char firmware[LR_NAME_BYTES]; /* empty when unknown */
	uint8_t mac[6];
	uint8_t link_up;
	int32_t numa_node;
	uint64_t link_bps;
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	uint16_t mtu;
	uint16_t rx_desc_min, rx_desc_max;
	uint16_t tx_desc_min, tx_desc_max;
	uint16_t max_mtu; /* largest that the driver accepts; 0 when it names no limit */
	char interface[LR_INTERFACE_BYTES]; /* the kernel's interface behind it */
	uint32_t interface_mtu; /* 0 when there is none */
};

struct lr_port_setup {
	uint8_t rss_ip, rss_udp, rss_tcp;
	uint8_t rx_checksums;
};

struct lr_port_stats {
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes;
	uint64_t rx_missed, rx_errors, tx_errors, rx_nombuf;
};

struct lr_xstat {
	char name[LR_XSTAT_NAME_BYTES];
	uint64_t value;
};

/* EAL and logging */
int lr_eal_init(int argc, char **argv);
int lr_eal_cleanup(void);
/* Directory of the files that EAL shares with other processes; valid while EAL is up. */
const char *lr_runtime_dir(void);
const char *lr_version(void);
int lr_errno(void);
const char *lr_strerror(int error);
/* Sends DPDK's log to standard error from now on; keeps its first 16 KB and its first message of level error or more
 * severe. */
int lr_log_capture(void);
/* The kept messages, or empty strings. Valid until the process ends. */
const char *lr_log_first_error(void);
const char *lr_log_early(void);

/* lcores */
unsigned int lr_main_lcore(void);
/* The worker lcore after `lcore` (UINT32_MAX: the first), or UINT32_MAX when there is none. */
unsigned int lr_next_worker(unsigned int lcore);
int lr_launch(int (*function)(void *), void *argument, unsigned int lcore);
int lr_wait(unsigned int lcore);
int lr_lcore_idle(unsigned int lcore);
/* The CPU an lcore runs on; the first of several. */
int lr_lcore_cpu(unsigned int lcore);

/* clock */
uint64_t lr_ticks(void);
uint64_t lr_tick_hz(void);

/* interfaces of the kernel */
struct lr_channels {
	/* All receive queues, and those of them that share an interrupt with a transmit queue. */
	uint32_t receive;
	uint32_t combined;
};
/* 0, or a negative errno when the interface's driver does not tell its channels. EAL need not be up. */
int lr_interface_channels(const char *interface, struct lr_channels *channels);

/* ports; functions that return int give 0 or a negative errno */
/* The first port from `from` on, or UINT16_MAX. */
uint16_t lr_port_next(uint16_t from);
/* 1 when the link is up, and the kernel's interface behind the port, if there is one, runs; else 0. */
int lr_port_link_up(uint16_t port);
/* 1 when the kernel has no interface of the index that the port's driver gives for the one behind it; else 0, also
 * without such an index. */
int lr_port_lacks_interface(uint16_t port);
int lr_port_get_info(uint16_t port, struct lr_port_info *info);
/* At least one RX and one TX queue. MTU 0 leaves the port's default. As far as the port supports it, RSS over addresses
 * and ports is set up for several RX queues, and the port verifies checksums; `setup` returns what was set up.
 * `free_in_bulk` promises that every buffer of a transmit queue comes from one pool and has one owner. */
int lr_port_configure(uint16_t port, uint16_t rx_queues, uint16_t tx_queues, uint16_t mtu, _Bool free_in_bulk,
		      struct lr_port_setup *setup);
/* The port may round the numbers of descriptors; its choice is written back. */
int lr_port_adjust_descriptors(uint16_t port, uint16_t *rx, uint16_t *tx);
int lr_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, struct rte_mempool *pool);
int lr_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, _Bool free_in_bulk);
/* Frees sent buffers that the port still keeps; -ENOTSUP when the driver cannot. */
int lr_tx_done_cleanup(uint16_t port, uint16_t queue);
int lr_port_start(uint16_t port);
/* Makes the port pass frames to these groups, `count` Ethernet addresses one after the other; -ENOTSUP when its driver has no such list. */
int lr_port_join(uint16_t port, const uint8_t *groups, uint32_t count);
/* Makes the port pass every multicast frame, as far as it supports it. */
int lr_port_take_multicast(uint16_t port);
int lr_port_stop(uint16_t port);
int lr_port_close(uint16_t port);
int lr_port_get_stats(uint16_t port, struct lr_port_stats *stats);
/* Number of extended statistics, or negative errno. Fills at most `capacity`. */
int lr_port_get_xstats(uint16_t port, struct lr_xstat *stats, unsigned int capacity);

/* buffers */
struct rte_mempool *lr_pool_create(const char *name, unsigned int buffers, unsigned int cache, uint16_t data_room,
				   int numa_node);
void lr_pool_free(struct rte_mempool *pool);
unsigned int lr_pool_available(const struct rte_mempool *pool);
unsigned int lr_pool_size(const struct rte_mempool *pool);
/* Copies the bytes into every buffer of the pool, behind the headroom. The pool must be at rest. */
void lr_pool_stamp(struct rte_mempool *pool, const void *bytes, uint32_t length);
/* Takes all `count` buffers or none (then -ENOENT). Lengths and flags are not initialised. */
int lr_buffers_take(struct rte_mempool *pool, struct rte_mbuf **buffers, unsigned int count);
void lr_buffers_free(struct rte_mbuf **buffers, unsigned int count);

/* packets */
uint16_t lr_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **buffers, uint16_t count);
uint16_t lr_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **buffers, uint16_t count);
/* Sends one frame of `length` bytes in a buffer of `pool`, which is not the queue's own; 0, or a negative errno when no
 * buffer is free, the frame does not fit a buffer, or the port does not accept it. */
int lr_send_frame(uint16_t port, uint16_t queue, struct rte_mempool *pool, const void *bytes, uint16_t length);
/* Bare transmit loop: allocates, sends, and frees the buffers that the port did not accept, `bursts` times. Returns the
 * frames sent. The reference of the benchmarks. */
uint64_t lr_bare_tx_loop(uint16_t port, uint16_t queue, struct rte_mempool *pool, uint16_t length, uint16_t burst,
			 uint64_t bursts);

#endif
