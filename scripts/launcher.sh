#!/bin/sh
':' /*
# This file is a shell script and, from the end of this comment on, a JavaScript program.
# Node resets ignored signals and raises the soft limit of open files as it starts (node.cc, PlatformInit), so the
# shell notes both first; `holdfast run` gives them back to the command. Builtins only: each fork costs half a
# millisecond. Without /proc nothing is noted, and the command gets what Node has.
launch=
{
  while read -r max open files soft rest; do
    case "$max $open $files" in 'Max open files') launch=$soft; break ;; esac
  done </proc/$$/limits
} 2>/dev/null
{
  while read -r key value rest; do
    case $key in SigIgn:) launch=$launch:$value; break ;; esac
  done </proc/$$/status
} 2>/dev/null
case $launch in ?*:?*) export HOLDFAST_LAUNCH="$launch" ;; *) unset HOLDFAST_LAUNCH ;; esac
command -v node >/dev/null || { echo 'holdfast: needs Node 20.19 or later, and there is no node in PATH' >&2; exit 127; }
exec node -- "$0" "$@"
*/
