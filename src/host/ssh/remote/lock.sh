# The host's own lock, held by a run and its controller. Behind `common.sh`, after `fl_find_place`.
#
# A lock is a file `lock/<machine id>/<number>`, and the highest number counts. It is made by one `ln`, whole, so that a number is given
# once; its holder writes the lease anew over the first bytes of the line, which is one `write` of the same length; lower
# numbers are removed upwards, so that a number that is there without its next is the highest. Times are this host's own:
# seconds of this boot, and only where a host does not say those, of its clock.
#
# Fields: until, boot id, run, how often the run was taken over, since, controller. `until` 0: given back.

# Sets fl_locks: a home directory may be that of many machines.
fl_find_locks() {
  fl_locks=
  { read -r fl_locks </etc/machine-id; } 2>/dev/null || :
  case $fl_locks in
    '' | *[!0-9A-Za-z]*) fl_locks=host ;;
  esac
  fl_locks=$fl_root/lock/$fl_locks
}

# Sets fl_now, and fl_at to what it counts from.
fl_clock() {
  fl_at=$fl_boot
  fl_now=
  { read -r fl_now fl_rest </proc/uptime; } 2>/dev/null || :
  fl_now=${fl_now%%.*}
  if [ -z "$fl_now" ] || [ -z "$fl_at" ]; then
    fl_now=$(date +%s)
    fl_at=-
  fi
}

# Sets fl_high to the highest number, fl_low to the lowest, and the fields of the highest lock; 0 where there is none.
fl_read_lock() {
  fl_polls=0
  while :; do
    fl_high=0
    fl_low=0
    for fl_file in "$fl_locks"/[0-9]*; do
      fl_one=${fl_file##*/}
      [ -e "$fl_file" ] || continue
      [ "$fl_one" -gt "$fl_high" ] && fl_high=$fl_one
      if [ "$fl_low" = 0 ] || [ "$fl_one" -lt "$fl_low" ]; then
        fl_low=$fl_one
      fi
    done
    [ "$fl_high" = 0 ] && return 0
    # Gone since: another has taken the next number, and removed this one.
    { read -r fl_until fl_then fl_owner fl_times fl_since fl_holder <"$fl_locks/$fl_high"; } 2>/dev/null && return 0
    fl_polls=$((fl_polls + 1))
    if [ "$fl_polls" -ge 50 ]; then
      [ -s "$fl_locks/$fl_high" ] && fl_no "cannot read $fl_locks/$fl_high"
      # A power cut left it empty, and nobody knows whose it was: whoever comes may take it.
      fl_until=0
      fl_then=-
      fl_owner=$fl_run
      fl_times=-1
      fl_since=-
      fl_holder=-
      return 0
    fi
  done
}

# Sets fl_first to when this boot began, in the seconds that fl_clock counts: 0 on a machine; a container counts those of its
# machine, and begins with its first process.
fl_find_first() {
  fl_first=0
  fl_line=
  { read -r fl_line </proc/1/stat; } 2>/dev/null || :
  # shellcheck disable=SC2086 # The fields are numbers.
  set -- ${fl_line##*) }
  [ -z "${20:-}" ] || fl_first=$((${20} / 100))
}

# Sets fl_left to the seconds that the lease that was read has left. After a reboot it begins again: its holder may have
# asked for that.
fl_find_left() {
  fl_left=$((fl_until - fl_now))
  if [ "$fl_until" -gt 0 ] && [ "$fl_then" != "$fl_at" ]; then
    fl_find_first
    fl_left=$((fl_lease - fl_now + fl_first))
    [ "$fl_at" = - ] && fl_left=$fl_lease
  fi
  [ "$fl_left" -gt 0 ] || fl_left=0
}

# Whether the lock that was read is this very controller's.
fl_is_mine() {
  [ "$fl_high" -gt 0 ] && [ "$fl_owner $fl_times $fl_holder" = "$fl_run $fl_epoch $fl_who" ]
}

# $1: seconds of lease. Only its holder writes a lock, and only the first two fields.
fl_renew() {
  { printf '%-12s %-36s' "$1" "$fl_at" 1<>"$fl_locks/$fl_high"; } 2>/dev/null
}

# Whether a script of another run may still be at work; sets fl_busy to its directory. Of any run: who held the lock last may
# have died before it had looked itself.
fl_is_at_work() {
  for fl_busy in "$fl_root"/*/*/*; do
    case $fl_busy in
      "$fl_root/$fl_run"/* | "$fl_root/$fl_run".*) continue ;;
    esac
    if [ -e "$fl_busy/script" ] && fl_is_alive "$fl_busy"; then
      return 0
    fi
  done
  return 1
}

# Whether the script of the directory $1 has begun, or may yet, and has not ended. One that does not begin, and of which no
# process is left that we know of, is kept from it.
fl_is_alive() {
  fl_polls=0
  while [ "$fl_polls" -lt 20 ]; do
    fl_is_denied "$1" script && return 1
    fl_is_denied "$1" began && return 1
    [ -s "$1/exit" ] && return 1
    fl_line=
    fl_pid=
    fl_born=
    { { read -r fl_line && read -r fl_pid; } <"$1/boot"; } 2>/dev/null || :
    [ "$fl_line" = "$fl_boot" ] || return 1
    # Its own process; before that has said its number, the launcher.
    { read -r fl_pid fl_born <"$1/pid"; } 2>/dev/null || :
    [ -n "$fl_pid" ] && fl_is_process "$fl_pid" "$fl_born" && return 0
    fl_nap
    fl_polls=$((fl_polls + 1))
  done
  [ -e "$1/began" ] && return 1
  fl_deny "$1" began
  # Where it was faster, or nothing can be written, it may be at work.
  ! fl_is_denied "$1" began
}

# Makes the next number this controller's. Fails where another was faster.
fl_take() {
  fl_said=$(mkdir -p -- "$fl_locks" 2>&1) || fl_no "cannot make $fl_locks: $fl_said"
  fl_next=$((fl_high + 1))
  fl_new=$fl_locks/new.$$
  # It may be the second name of a lock, after a power cut.
  rm -f -- "$fl_new"
  fl_since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  # Root may write it where its login user must read it.
  umask 022
  { printf '%-12s %-36s %s %s %s %s\n' "$((fl_now + fl_lease))" "$fl_at" "$fl_run" "$fl_epoch" "$fl_since" "$fl_who" \
    >"$fl_new"; } 2>/dev/null || fl_no "cannot write $fl_new"
  umask 077
  ln -- "$fl_new" "$fl_locks/$fl_next" 2>/dev/null
  fl_code=$?
  rm -f -- "$fl_new"
  [ "$fl_code" = 0 ] || return 1
  # While the numbers were read, others may have taken this one and the next, and removed this one.
  fl_read_lock
  if [ "$fl_high" != "$fl_next" ]; then
    rm -f -- "$fl_locks/$fl_next"
    return 1
  fi
}

fl_remove_lower() {
  while [ "$fl_low" -lt "$fl_high" ]; do
    rm -f -- "$fl_locks/$fl_low"
    fl_low=$((fl_low + 1))
  done
}

# Says whose the lock is, and refuses. $1: why it cannot be taken.
fl_locked() {
  fl_no "locked by run $fl_owner of $fl_holder since $fl_since by this host's clock, $1"
}

# Takes the lock of another run that has given it back, or whose lease has run out, or refuses.
fl_take_from_other() {
  if [ -d "$fl_root/$fl_home" ]; then
    fl_no "lost to run $fl_owner of $fl_holder, which has had this host since run $fl_run was here"
  fi
  fl_find_left
  [ "$fl_left" = 0 ] || fl_locked "for $fl_left s more unless it is renewed"
  fl_note=
  [ "$fl_until" = 0 ] || fl_note="run $fl_owner of $fl_holder had locked the host since $fl_since, and its lease has run out"
  fl_is_at_work && fl_locked "and $fl_busy is still at work"
  fl_take || return 1
  # Its launcher makes its script, then looks for our number; we have made our number, now we look for its script.
  if fl_is_at_work; then
    rm -f -- "$fl_locks/$fl_high"
    fl_read_lock
    fl_locked "and $fl_busy is still at work"
  fi
  [ -z "$fl_note" ] || printf '%s-took %s\n' "$fl_mark" "$fl_note" >&2
}

# Takes the lock or renews it, or refuses. Without a run there is none.
fl_hold() {
  [ -n "$fl_run" ] || return 0
  if [ -e "$fl_root/$fl_home/ended" ]; then
    fl_no "run $fl_run has ended with this host"
  fi
  fl_find_locks
  fl_find_boot
  fl_clock
  fl_tries=0
  while :; do
    fl_read_lock
    if fl_is_mine; then
      fl_renew "$((fl_now + fl_lease))"
      return 0
    fi
    if [ "$fl_high" = 0 ]; then
      fl_take && return 0
    elif [ "$fl_owner" != "$fl_run" ]; then
      fl_take_from_other && break
    elif [ "$fl_times" -lt "$fl_epoch" ]; then
      # The journal has one writer: whoever drove this run before drives it no more.
      fl_take && break
    else
      fl_locked "which has taken this run over"
    fi
    fl_tries=$((fl_tries + 1))
    [ "$fl_tries" -lt 10 ] || fl_locked "and others want it, too"
  done
  fl_remove_lower
}

# Whether the lock is still the one that fl_hold has taken or renewed. Not by the next number alone: a lease that is renewed
# late makes its file anew, and by then the next number may be removed, and another one be there.
fl_still_held() {
  [ -z "$fl_run" ] && return 0
  [ -e "$fl_locks/$fl_high" ] || return 1
  for fl_file in "$fl_locks"/[0-9]*; do
    [ "${fl_file##*/}" -gt "$fl_high" ] && return 1
  done
  return 0
}

# Takes over what was this run's, and renews what is ours; refuses nothing. For who looks after a script that was begun.
fl_keep() {
  [ -n "$fl_run" ] || return 0
  fl_find_locks
  fl_find_boot
  fl_clock
  fl_read_lock
  if fl_is_mine; then
    fl_renew "$((fl_now + fl_lease))"
  elif [ "$fl_high" -gt 0 ] && [ "$fl_owner" = "$fl_run" ] && [ "$fl_times" -lt "$fl_epoch" ]; then
    fl_take && fl_remove_lower
  fi
}
