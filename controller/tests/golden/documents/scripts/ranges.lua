-- Ranges as generators of scripts write them: every bound spelled out, those that do not vary with an increment of nothing.
package.path = package.path .. ";?.lua;test/?.lua;app/?.lua;"
require "Pktgen"

local port, flows = "0", 24
pktgen.screen("off")
pktgen.delay(100)
pktgen.set(port, "rate", 50)
pktgen.set(port, "count", 0)
pktgen.set(port, "burst", 32)
pktgen.set(port, "size", 128)
pktgen.set_mac(port, "dst", "02:00:00:00:00:0b")
pktgen.set_proto(port, "udp")
local function ends(field, start, inc, last)
    pktgen.range[field](port, "start", start)
    pktgen.range[field](port, "inc", inc)
    pktgen.range[field](port, "min", start)
    pktgen.range[field](port, "max", last)
end
ends("src_ip", "10.1.0.1", "0.0.0.1", "10.1.0." .. flows)
ends("dst_ip", "10.2.0.1", "0.0.0.1", "10.2.0." .. flows)
ends("src_port", 3000, 1, 3000 + flows - 1)
ends("dst_port", 53, 0, 53)
ends("pkt_size", 128, 0, 128)
pktgen.latency(port, "enable")
pktgen.set_range(port, "on")
pktgen.start(port)
pktgen.stop(port)
