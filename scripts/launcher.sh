#!/bin/sh
':' /*
# This file is a shell script and, from the end of this comment on, a JavaScript program.
#
# Node resets ignored signals and raises the soft limit of open files as it starts (node.cc, PlatformInit), and makes
# descriptors close-on-exec (libuv, uv_disable_stdio_inheritance), so the shell notes what there is first, and
# `holdfast run` gives it back to the command. Builtins where they do it, because a
# fork costs half a millisecond. Without /proc nothing is noted, and the command gets what Node has. Variables are
# named so that none of the user's is overwritten.
unset HOLDFAST_LAUNCH HOLDFAST_ENVIRON _holdfast_open
case ${1-} in run)
{
  # dash drops what is no shell variable's name, such as the functions that bash exports (BASH_FUNC_name%%). Looked for
  # beside all else: it is the one program that has to be started here.
  LC_ALL=C grep -qzvE '^[A-Za-z_][A-Za-z0-9_]*=' /proc/$$/environ &
  while read -r _holdfast_1 _holdfast_2 _holdfast_3 _holdfast_soft _holdfast_4; do
    case "$_holdfast_1 $_holdfast_2 $_holdfast_3" in 'Max open files') break ;; esac
  done </proc/$$/limits
  # proc(5): behind the name in parentheses the third field follows; field 33 are the ignored signals, in decimal.
  # bash ignores SIGQUIT itself, whatever it inherited; what it starts gets the inherited one.
  case ${BASH_VERSION-} in
    ?*) _holdfast_ignored=$(cat /proc/self/stat) ;;
    *) read -r _holdfast_ignored </proc/$$/stat ;;
  esac
  _holdfast_ignored=${_holdfast_ignored##*) }
  for _holdfast_1 in 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32; do
    _holdfast_ignored=${_holdfast_ignored#* }
  done
  _holdfast_ignored=${_holdfast_ignored%% *}
  # proc(5): the second line of fdinfo has the flags, in octal. With O_CLOEXEC (02000000) it is the shell's own.
  for _holdfast_1 in /proc/$$/fd/*; do
    _holdfast_1=${_holdfast_1#/proc/$$/fd/}
    case $_holdfast_1 in [0-2]) continue ;; esac
    { read -r _holdfast_2 && read -r _holdfast_2 _holdfast_3; } </proc/$$/fdinfo/$_holdfast_1 || continue
    case $_holdfast_3 in *[2367]??????) ;; *) _holdfast_open=${_holdfast_open-}$_holdfast_1, ;; esac
  done
  if wait $!; then
    _holdfast_1=$(LC_ALL=C grep -zvE '^[A-Za-z_][A-Za-z0-9_]*=' /proc/$$/environ | base64 -w0)
    # 131072 bytes are the kernel's limit of one variable (execve(2), MAX_ARG_STRLEN).
    [ "${#_holdfast_1}" -lt 130000 ] && export HOLDFAST_ENVIRON="$_holdfast_1"
  fi
} 2>/dev/null
case $_holdfast_soft:$_holdfast_ignored in ?*:?*) export HOLDFAST_LAUNCH="$_holdfast_soft:$_holdfast_ignored:${_holdfast_open-}" ;; esac
esac
command -v node >/dev/null || { echo 'holdfast: needs Node 20.19 or later, and there is no node in PATH' >&2; exit 127; }
# V8's own threads compile and collect for programs that run longer than this one: without them it starts 2 ms earlier.
exec node --v8-pool-size=0 -- "$0" "$@"
*/
