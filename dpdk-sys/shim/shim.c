#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mempool.h>
#include <rte_version.h>

#if RTE_VERSION < RTE_VERSION_NUM(22, 11, 0, 0)
#error "DPDK 22.11 or later is required"
#endif

/* ---- EAL and logging ---- */

int lr_eal_init(int argc, char **argv) { return rte_eal_init(argc, argv); }
int lr_eal_cleanup(void) { return rte_eal_cleanup(); }
const char *lr_runtime_dir(void) { return rte_eal_get_runtime_dir(); }
const char *lr_version(void) { return rte_version(); }
int lr_errno(void) { return rte_errno; }
const char *lr_strerror(int error) { return rte_strerror(error); }

static char first_error[512];
static char early_log[16384];
static size_t early_log_used;

/* Appends the part of the text that fits; the buffer stays NUL-terminated at any time. */
static size_t keep(char *buffer, size_t size, size_t used, const char *text, size_t length)
{
	size_t room = size - 1 - used;
	size_t kept = length < room ? length : room;
	memcpy(buffer + used, text, kept);
	buffer[used + kept] = '\0';
	return used + kept;
}

static ssize_t log_write(void *cookie, const char *text, size_t length)
{
	(void)cookie;
	int level = rte_log_cur_msg_loglevel();
	if (first_error[0] == '\0' && level > 0 && level <= (int)RTE_LOG_ERR)
		keep(first_error, sizeof(first_error), 0, text, length);
	early_log_used = keep(early_log, sizeof(early_log), early_log_used, text, length);
	size_t done = 0;
	while (done < length) {
		ssize_t n = write(STDERR_FILENO, text + done, length - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	/* A closed standard error must not stop DPDK. */
	return (ssize_t)length;
}

int lr_log_capture(void)
{
	cookie_io_functions_t functions = { .write = log_write };
	FILE *stream = fopencookie(NULL, "w", functions);
	if (stream == NULL)
		return -errno;
	setvbuf(stream, NULL, _IOLBF, BUFSIZ);
	return rte_openlog_stream(stream);
}

const char *lr_log_first_error(void) { return first_error; }
const char *lr_log_early(void) { return early_log; }

/* ---- lcores ---- */

unsigned int lr_main_lcore(void) { return rte_get_main_lcore(); }

unsigned int lr_next_worker(unsigned int lcore)
{
	unsigned int next = rte_get_next_lcore(lcore, 1, 0);
	return next < RTE_MAX_LCORE ? next : UINT32_MAX;
}

int lr_launch(int (*function)(void *), void *argument, unsigned int lcore)
{
	return rte_eal_remote_launch(function, argument, lcore);
}

int lr_wait(unsigned int lcore) { return rte_eal_wait_lcore(lcore); }
int lr_lcore_cpu(unsigned int lcore)
{
	rte_cpuset_t cpus = rte_lcore_cpuset(lcore);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &cpus))
			return cpu;
	return -1;
}

int lr_lcore_idle(unsigned int lcore) { return rte_eal_get_lcore_state(lcore) == WAIT; }

/* ---- clock ---- */

uint64_t lr_ticks(void) { return rte_get_tsc_cycles(); }
uint64_t lr_tick_hz(void) { return rte_get_tsc_hz(); }

/* ---- ports ---- */

uint16_t lr_port_next(uint16_t from)
{
	uint64_t port = rte_eth_find_next(from);
	return port < RTE_MAX_ETHPORTS ? (uint16_t)port : UINT16_MAX;
}

/* The largest MTU that a driver accepts, computed as ethdev does from the longest frame: drivers differ in the overhead
 * that they add to the MTU. 0 when the driver states no limit. */
static uint16_t max_mtu(const struct rte_eth_dev_info *info)
{
	uint32_t overhead = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
	uint32_t most = info->max_mtu;
	if (most != UINT16_MAX && info->max_rx_pktlen > most)
		overhead = info->max_rx_pktlen - most;
	if (info->max_rx_pktlen > overhead && info->max_rx_pktlen - overhead < most)
		most = info->max_rx_pktlen - overhead;
	return most < UINT16_MAX ? (uint16_t)most : 0;
}

/* Queries the kernel about the interface behind a port. The query uses a socket, because sysfs may show another network
 * namespace. False when there is no interface, or no answer. */
static _Bool ask_interface(unsigned int index, unsigned long what, struct ifreq *request)
{
	int fd, rc;
	memset(request, 0, sizeof(*request));
	if (index == 0 || if_indextoname(index, request->ifr_name) == NULL)
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	rc = ioctl(fd, what, request);
	close(fd);
	return rc == 0;
}

int lr_interface_channels(const char *interface, struct lr_channels *channels)
{
	struct ethtool_channels told = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq request = {.ifr_data = (void *)&told};
	int rc, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	rc = ioctl(fd, SIOCETHTOOL, &request) == 0 ? 0 : -errno;
	close(fd);
	channels->receive = told.rx_count + told.combined_count;
	channels->combined = told.combined_count;
	return rc;
}

/* Drivers that send through a kernel interface report "up" regardless of the interface's state. */
static _Bool link_is_up(uint16_t port, unsigned int index)
{
	struct rte_eth_link link;
	struct ifreq request;
	if (rte_eth_link_get_nowait(port, &link) != 0 || link.link_status == RTE_ETH_LINK_DOWN)
		return 0;
	return !ask_interface(index, SIOCGIFFLAGS, &request) || (request.ifr_flags & IFF_RUNNING) != 0;
}

int lr_port_link_up(uint16_t port)
{
	struct rte_eth_dev_info info;
	return rte_eth_dev_info_get(port, &info) == 0 && link_is_up(port, info.if_index);
}

int lr_port_lacks_interface(uint16_t port)
{
	struct rte_eth_dev_info info;
	char name[IF_NAMESIZE];
	if (rte_eth_dev_info_get(port, &info) != 0 || info.if_index == 0)
		return 0;
	return if_indextoname(info.if_index, name) == NULL && errno == ENXIO;
}

int lr_port_get_info(uint16_t port, struct lr_port_info *out)
{
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	struct rte_eth_link link;
	struct ifreq request;
	int rc = rte_eth_dev_info_get(port, &info);
	if (rc != 0)
		return rc;
	memset(out, 0, sizeof(*out));
	snprintf(out->device, sizeof(out->device), "%s", rte_dev_name(info.device));
	snprintf(out->driver, sizeof(out->driver), "%s", info.driver_name);
	if (rte_eth_dev_fw_version_get(port, out->firmware, sizeof(out->firmware)) != 0)
		out->firmware[0] = 0;
	rc = rte_eth_macaddr_get(port, &mac);
	if (rc != 0)
		return rc;
	memcpy(out->mac, mac.addr_bytes, sizeof(out->mac));
	if (rte_eth_link_get_nowait(port, &link) == 0) {
		/* Mbit/s; UINT32_MAX is "unknown". */
		if (link.link_speed != 0 && link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN)
			out->link_bps = (uint64_t)link.link_speed * 1000000;
	}
	out->numa_node = rte_eth_dev_socket_id(port);
	out->max_rx_queues = info.max_rx_queues;
	out->max_tx_queues = info.max_tx_queues;
	rte_eth_dev_get_mtu(port, &out->mtu);
	out->rx_desc_min = info.rx_desc_lim.nb_min;
	out->rx_desc_max = info.rx_desc_lim.nb_max;
	out->tx_desc_min = info.tx_desc_lim.nb_min;
	out->tx_desc_max = info.tx_desc_lim.nb_max;
	out->max_mtu = max_mtu(&info);
	out->link_up = link_is_up(port, info.if_index);
	if (ask_interface(info.if_index, SIOCGIFMTU, &request) && request.ifr_mtu > 0) {
		snprintf(out->interface, sizeof(out->interface), "%s", request.ifr_name);
		out->interface_mtu = (uint32_t)request.ifr_mtu;
	}
	return 0;
}

int lr_port_configure(uint16_t port, uint16_t rx_queues, uint16_t tx_queues, uint16_t mtu, _Bool free_in_bulk,
		      struct lr_port_setup *setup)
{
	struct rte_eth_dev_info info;
	struct rte_eth_conf conf;
	int rc = rte_eth_dev_info_get(port, &info);
	if (rc != 0)
		return rc;
	memset(&conf, 0, sizeof(conf));
	memset(setup, 0, sizeof(*setup));
	if (mtu != 0)
		conf.rxmode.mtu = mtu;
	if (rx_queues > 1) {
		uint64_t wanted = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP;
		uint64_t used = wanted & info.flow_type_rss_offloads;
		conf.rx_adv_conf.rss_conf.rss_hf = used;
		if (used != 0)
			conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		setup->rss_ip = (used & RTE_ETH_RSS_IP) != 0;
		setup->rss_udp = (used & RTE_ETH_RSS_UDP) != 0;
		setup->rss_tcp = (used & RTE_ETH_RSS_TCP) != 0;
	}
	if ((info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_CHECKSUM) == RTE_ETH_RX_OFFLOAD_CHECKSUM) {
		conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_CHECKSUM;
		setup->rx_checksums = 1;
	}
	if (free_in_bulk && (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE))
		conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	return rte_eth_dev_configure(port, rx_queues, tx_queues, &conf);
}

int lr_port_adjust_descriptors(uint16_t port, uint16_t *rx, uint16_t *tx)
{
	return rte_eth_dev_adjust_nb_rx_tx_desc(port, rx, tx);
}

int lr_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, struct rte_mempool *pool)
{
	return rte_eth_rx_queue_setup(port, queue, descriptors, rte_eth_dev_socket_id(port), NULL, pool);
}

int lr_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, _Bool free_in_bulk)
{
	struct rte_eth_dev_info info;
	struct rte_eth_txconf conf;
	int rc = rte_eth_dev_info_get(port, &info);
	if (rc != 0)
		return rc;
	conf = info.default_txconf;
	if (free_in_bulk && (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE))
		conf.offloads |= RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	return rte_eth_tx_queue_setup(port, queue, descriptors, rte_eth_dev_socket_id(port), &conf);
}

int lr_tx_done_cleanup(uint16_t port, uint16_t queue) { return rte_eth_tx_done_cleanup(port, queue, 0); }
int lr_port_start(uint16_t port) { return rte_eth_dev_start(port); }

int lr_port_join(uint16_t port, const uint8_t *groups, uint32_t count)
{
	struct rte_ether_addr *list = calloc(count, sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		memcpy(list[i].addr_bytes, groups + (size_t)i * RTE_ETHER_ADDR_LEN, RTE_ETHER_ADDR_LEN);
	int rc = rte_eth_dev_set_mc_addr_list(port, list, count);
	free(list);
	return rc;
}

int lr_port_take_multicast(uint16_t port) { return rte_eth_allmulticast_enable(port); }
int lr_port_stop(uint16_t port) { return rte_eth_dev_stop(port); }
int lr_port_close(uint16_t port) { return rte_eth_dev_close(port); }

int lr_port_get_stats(uint16_t port, struct lr_port_stats *out)
{
	struct rte_eth_stats stats;
	int rc = rte_eth_stats_get(port, &stats);
	if (rc != 0)
		return rc;
	out->rx_packets = stats.ipackets;
	out->tx_packets = stats.opackets;
	out->rx_bytes = stats.ibytes;
	out->tx_bytes = stats.obytes;
	out->rx_missed = stats.imissed;
	out->rx_errors = stats.ierrors;
	out->tx_errors = stats.oerrors;
	out->rx_nombuf = stats.rx_nombuf;
	return 0;
}

int lr_port_get_xstats(uint16_t port, struct lr_xstat *out, unsigned int capacity)
{
	int count = rte_eth_xstats_get(port, NULL, 0);
	if (count <= 0 || capacity == 0)
		return count;
	struct rte_eth_xstat *values = calloc((size_t)count, sizeof(*values));
	struct rte_eth_xstat_name *names = calloc((size_t)count, sizeof(*names));
	int rc = -ENOMEM;
	if (values != NULL && names != NULL) {
		rc = rte_eth_xstats_get_names(port, names, (unsigned int)count);
		if (rc > 0 && rc <= count)
			rc = rte_eth_xstats_get(port, values, (unsigned int)rc);
	}
	for (int i = 0; i < rc && i < count && (unsigned int)i < capacity; i++) {
		uint64_t id = values[i].id;
		snprintf(out[i].name, sizeof(out[i].name), "%s", id < (uint64_t)count ? names[id].name : "");
		out[i].value = values[i].value;
	}
	free(values);
	free(names);
	return rc > count ? count : rc;
}

/* ---- buffers ---- */

struct rte_mempool *lr_pool_create(const char *name, unsigned int buffers, unsigned int cache, uint16_t data_room,
				   int numa_node)
{
	return rte_pktmbuf_pool_create(name, buffers, cache, 0, data_room, numa_node);
}

void lr_pool_free(struct rte_mempool *pool) { rte_mempool_free(pool); }
unsigned int lr_pool_available(const struct rte_mempool *pool) { return rte_mempool_avail_count(pool); }
unsigned int lr_pool_size(const struct rte_mempool *pool) { return pool->size; }

struct stamp {
	const void *bytes;
	uint32_t length;
};

static void stamp_one(struct rte_mempool *pool, void *opaque, void *object, unsigned int index)
{
	const struct stamp *stamp = opaque;
	struct rte_mbuf *buffer = object;
	(void)pool;
	(void)index;
	memcpy((char *)buffer->buf_addr + RTE_PKTMBUF_HEADROOM, stamp->bytes, stamp->length);
}

void lr_pool_stamp(struct rte_mempool *pool, const void *bytes, uint32_t length)
{
	struct stamp stamp = { bytes, length };
	rte_mempool_obj_iter(pool, stamp_one, &stamp);
}

int lr_buffers_take(struct rte_mempool *pool, struct rte_mbuf **buffers, unsigned int count)
{
	return rte_mempool_get_bulk(pool, (void **)buffers, count);
}

void lr_buffers_free(struct rte_mbuf **buffers, unsigned int count) { rte_pktmbuf_free_bulk(buffers, count); }

/* ---- packets ---- */

uint16_t lr_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **buffers, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, buffers, count);
}

uint16_t lr_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **buffers, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, buffers, count);
}

int lr_send_frame(uint16_t port, uint16_t queue, struct rte_mempool *pool, const void *bytes, uint16_t length)
{
	struct rte_mbuf *buffer = rte_pktmbuf_alloc(pool);
	if (buffer == NULL) {
		/* Some ports keep sent buffers until they reuse the ring slot. */
		rte_eth_tx_done_cleanup(port, queue, 0);
		buffer = rte_pktmbuf_alloc(pool);
	}
	if (buffer == NULL)
		return -ENOBUFS;
	char *data = rte_pktmbuf_append(buffer, length);
	if (data != NULL)
		memcpy(data, bytes, length);
	if (data == NULL || rte_eth_tx_burst(port, queue, &buffer, 1) != 1) {
		rte_pktmbuf_free(buffer);
		return data == NULL ? -EMSGSIZE : -EAGAIN;
	}
	return 0;
}

uint64_t lr_bare_tx_loop(uint16_t port, uint16_t queue, struct rte_mempool *pool, uint16_t length, uint16_t burst,
			 uint64_t bursts)
{
	struct rte_mbuf *buffers[512];
	uint64_t sent = 0;
	if (burst > RTE_DIM(buffers))
		burst = RTE_DIM(buffers);
	for (uint64_t i = 0; i < bursts; i++) {
		if (rte_pktmbuf_alloc_bulk(pool, buffers, burst) != 0)
			continue;
		for (uint16_t k = 0; k < burst; k++) {
			buffers[k]->pkt_len = length;
			buffers[k]->data_len = length;
		}
		uint16_t done = rte_eth_tx_burst(port, queue, buffers, burst);
		sent += done;
		if (done < burst)
			rte_pktmbuf_free_bulk(buffers + done, burst - done);
	}
	return sent;
}
