# Follows a script that was begun before: its output from the bytes on that the caller has not seen, as it comes, then what
# became of it: `never`, `open <why>`, `finished <code or signal>`, `stopped` where its time was over, `overdue` where it is
# over and the script still runs, or `lost <why>`.
fl_find_place
fl_find_fate
fl_go
[ "$fl_fate" = taken ] || fl_end "$fl_fate"
fl_keep

# $1: file. Its size; a file that is not there yet is empty.
fl_size() {
  { echo $(($(wc -c <"$fl_place/$1"))); } 2>/dev/null || echo 0
}

# $1: file, $2: from which byte, $3: to which.
fl_print() {
  [ "$3" -gt "$2" ] || return 0
  tail -c "+$(($2 + 1))" "$fl_place/$1" | head -c "$(($3 - $2))"
}

fl_print_both() {
  fl_print out "$fl_out" "$1"
  fl_print err "$fl_err" "$2" >&2
  [ "$1" -gt "$fl_out" ] && fl_out=$1
  [ "$2" -gt "$fl_err" ] && fl_err=$2
}

# $1: file. Its size without the mark that stands behind the output of a script that has ended; nothing where there is none yet.
fl_whole() {
  fl_line=$(tail -c 80 "$fl_place/$1" 2>/dev/null | tail -n 1)
  case $fl_line in
    *"-end $fl_how") fl_bytes=$(($(fl_size "$1") - 34 - 5 - ${#fl_how} - 1)) ;;
    *) return 1 ;;
  esac
  echo "$fl_bytes"
}

# The rest of the output, and the end.
fl_tell_finished() {
  { read -r fl_how <"$fl_place/exit"; } 2>/dev/null || return 0
  fl_polls=0
  fl_o=
  fl_e=
  # What writes the files needs a moment after the end. A disk that was full has no mark: then all that is there is told.
  while [ "$fl_polls" -lt 30 ]; do
    fl_o=$(fl_whole out) && fl_e=$(fl_whole err) && break
    fl_nap
    fl_polls=$((fl_polls + 1))
  done
  fl_print_both "${fl_o:-$(fl_size out)}" "${fl_e:-$(fl_size err)}"
  [ -e "$fl_place/stopped" ] && fl_end stopped
  fl_end "finished $fl_how"
}

# Whether its time is over, by this host's own count: a controller may have slept meanwhile, or be another one.
fl_is_overdue() {
  fl_now=
  { read -r fl_now fl_rest </proc/uptime; } 2>/dev/null || :
  [ -n "$fl_limit" ] && [ -n "$fl_born" ] && [ -n "$fl_now" ] || return 1
  # Births are told in hundredths of a second of this boot, whatever the kernel counts in.
  [ "$((${fl_now%%.*} - fl_born / 100))" -gt "$fl_limit" ]
}

fl_gone=0
fl_rounds=0
while :; do
  fl_rounds=$((fl_rounds + 1))
  if [ "$fl_rounds" -ge 50 ]; then
    fl_rounds=0
    fl_keep
  fi
  # Sizes first: while there is no exit code after them, no mark can stand within them.
  fl_o=$(fl_size out)
  fl_e=$(fl_size err)
  fl_tell_finished
  fl_print_both "$fl_o" "$fl_e"
  fl_find_pid
  [ -n "$fl_pid" ] || fl_end "$fl_fate"
  if [ "$fl_boot" != "$fl_then" ]; then
    fl_tell_finished
    fl_end "lost the host was started anew since"
  fi
  if [ "$fl_alive" = yes ]; then
    fl_gone=0
    fl_is_overdue && fl_end overdue
  else
    # What records its end needs a moment after it.
    fl_gone=$((fl_gone + 1))
    if [ "$fl_gone" -ge 30 ]; then
      fl_tell_finished
      fl_end "lost its process is gone, and it left no result"
    fi
  fi
  fl_nap
done
