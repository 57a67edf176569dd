-- Pktgen's own defaults: 64 bytes of TCP, which do not hold the probe.
pktgen.start("0")
