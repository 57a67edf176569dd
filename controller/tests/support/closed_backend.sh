#!/bin/bash
# In place of `linerate-hostplane`: the backend b1 refuses connections of clients, and counts them, until the table is deleted. It is the program
# beside this file's link, under the link's name.
case " $* " in
    *" --http-name b1 "*)
        nft -f - <<'END_OF_RULES' || exit
table ip late {
    counter refused { }
    chain in { type filter hook input priority 0; tcp dport 8080 counter name refused reject with tcp reset; }
}
END_OF_RULES
        ;;
esac
exec -a "$0" "${0%/*}/hostplane" "$@"
