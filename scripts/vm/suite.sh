# shellcheck shell=bash
run_suite() { :; }
