pktgen.set("0", "size", 128)
pktgen.teleport("0", "on")
