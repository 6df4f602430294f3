# Leaves a host: it has ended in this run, or rests. Ended, nothing is begun below its folder any more, whoever asks.
fl_find_place
fl_find_locks
fl_find_boot
fl_clock
fl_go
if [ "$fl_leave" != rests ] && [ -d "$fl_place" ]; then
  # Before anything is removed: what is gone must never look like what has not begun.
  { printf '%s\n' "$fl_epoch" >"$fl_place/ended"; } 2>/dev/null || fl_leave=keeps
fi
set --
if [ "$fl_leave" = clean ] && [ -d "$fl_place" ]; then
  for fl_one in "$fl_place"/*; do
    case $fl_one in
      */ended) ;;
      *) set -- "$@" "$fl_one" ;;
    esac
  done
fi
# What is at work still says there how it ends.
for fl_one in "$@"; do
  if [ -e "$fl_one/script" ] && fl_is_alive "$fl_one"; then
    set --
    break
  fi
done
[ "$#" = 0 ] || rm -rf -- "$@" 2>/dev/null
fl_read_lock
# What a controller before this one had locked and could not give back any more is this run's, too.
if [ "$fl_high" = 0 ] || [ "$fl_owner" != "$fl_run" ] || [ "$fl_times" -gt "$fl_epoch" ]; then
  fl_end 0
fi
if [ "$fl_leave" != rests ] && [ -n "$fl_shared" ]; then
  # Other names of this machine may be in the same run, and have not ended.
  for fl_one in "$fl_root/$fl_run"/* "$fl_root/$fl_run".*/*; do
    if [ -d "$fl_one" ] && [ ! -e "$fl_one/ended" ]; then
      fl_end 0
    fi
  done
fi
fl_renew 0
fl_end 0
